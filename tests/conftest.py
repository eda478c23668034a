"""What several test modules share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.temporal_server import DevServer

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Begun in the background of a script, where Ctrl-C is ignored and every child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def temporal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One real Temporal server for the whole test run; take a task queue of your own on it."""
    server = DevServer(tmp_path_factory.mktemp("temporal"))
    server.start()
    yield server
    server.stop()
