"""How a command ends that is interrupted before it has begun."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rollout.base.settings import ROOT


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
