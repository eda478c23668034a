"""What several test modules share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.temporal_server import DevServer


@pytest.fixture(scope="session")
def temporal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One real Temporal server for the whole test run; take a task queue of your own on it."""
    server = DevServer(tmp_path_factory.mktemp("temporal"))
    server.start()
    yield server
    server.stop()
