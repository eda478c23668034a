"""What several test modules share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

import tests.support.examples  # noqa: F401 - the profile of the quick tests
from tests.support.temporal_server import DevServer

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Begun in the background of a script, where Ctrl-C is ignored and every child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first; of those that start whole stacks one runs at a time.

    Two stacks under load keep two cores busy, and then wait for each other. The tests of any
    other file stay together, for they share what is started for them.
    """
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for item in items:
        lane = "stack" if item.get_closest_marker("stack") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(lane))


@pytest.fixture(scope="session")
def temporal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One real Temporal server for the whole test run; take a task queue of your own on it."""
    server = DevServer(tmp_path_factory.mktemp("temporal"))
    server.start()
    yield server
    server.stop()
