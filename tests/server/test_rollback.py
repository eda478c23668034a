"""`rollout rollback`, which is in a hurry."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import pytest

from rollout.commands.shared import see
from rollout.core.config_file import parse
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually
from tests.support.worker_process import worker

pytestmark = pytest.mark.temporal


async def test_it_does_not_wait_for_prometheus(
    temporal_server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During a ramp that is analysed, what a rollback needs is read without asking Prometheus."""
    name = f"r{secrets.token_hex(4)}"
    config = parse(f'[deployment]\nname = "{name}"\nbaseline = "v1"\ntarget = "v2"\n[analysis]\n')

    def route(command: str, *flags: str) -> bool:
        words = ("worker", "deployment", command, "--yes", "--deployment-name", name, *flags)
        return temporal_server.cli(*words).returncode == 0

    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    with (
        worker(temporal_server, tmp_path, name, "v1", "compatible", "--managed") as v1,
        worker(temporal_server, tmp_path, name, "v2", "incompatible", "--managed") as v2,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        silent.setblocking(False)
        monkeypatch.setenv("PROMETHEUS_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        eventually(lambda: v1.records("declared") and v2.records("declared"), seconds=60)
        eventually(lambda: route("set-current-version", "--build-id", "v1"))
        eventually(lambda: route("set-ramping-version", "--build-id", "v2", "--percentage", "10"))
        _, seen = await see(config)
        assert seen.ramping is not None
        assert (seen.current, seen.ramping.build_id) == ("v1", "v2")
        with pytest.raises(BlockingIOError):  # nobody has knocked
            silent.accept()
