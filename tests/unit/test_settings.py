"""Where things are, and how a command ends that is interrupted early."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rollout.base.settings import ROOT, metrics_address


class TestMetricsAddress:
    """Where this machine scrapes what METRICS_HOST serves."""

    @pytest.mark.parametrize(
        ("host", "address"),
        [
            (None, "127.0.0.1:9101"),
            ("", "127.0.0.1:9101"),
            ("0.0.0.0", "127.0.0.1:9101"),  # noqa: S104
            ("192.0.2.2", "192.0.2.2:9101"),
            ("::", "[::1]:9101"),
            ("[::]", "[::1]:9101"),
            ("fd00::2", "[fd00::2]:9101"),
        ],
    )
    def test_by_host(self, host: str | None, address: str) -> None:
        """It is loopback, unless metrics are served on one other address."""
        assert metrics_address(9101, {} if host is None else {"METRICS_HOST": host}) == address


@pytest.mark.parametrize(
    "room", ["rollout.base.interrupts", "rollout.__main__", "client.__main__", "workers.__main__"]
)
def test_ctrl_c_while_it_imports(room: str) -> None:
    """Ctrl-C before a command has begun ends it with 130 and not a word."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {room}; raise KeyboardInterrupt"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
