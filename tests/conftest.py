"""What several test modules share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

import tests.support.examples  # noqa: F401 - the profile of the quick tests
from tests.support.temporal_server import DevServer

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Begun in the background of a script, where Ctrl-C is ignored and every child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


_WITH_LOAD = (*("test_rollouts.py", "test_truth.py", "test_switchover.py", "test_bench.py"),)


class _OneStackAtATime(LoadFileScheduling):  # type: ignore[misc]
    """The tests of a file stay together, and those of whole stacks with load run one by one.

    Two stacks under load keep two cores busy, and then wait for each other.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "stack" if file.endswith(_WITH_LOAD) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Whatever ``--dist`` says."""
    return _OneStackAtATime(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that the rest does not wait for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def temporal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One real Temporal server for the whole test run; take a task queue of your own on it."""
    server = DevServer(tmp_path_factory.mktemp("temporal"))
    server.start()
    yield server
    server.stop()
