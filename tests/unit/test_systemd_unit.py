"""The example of a systemd unit, read by systemd itself."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rollout.base.settings import ROOT, VENV_BIN

UNIT = ROOT / "examples" / "systemd" / "rollout-supervisord.service"


def test_systemd_accepts_it(tmp_path: Path) -> None:
    """Every line is understood, and the program is where `uv tool install` would have put it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("NOT TESTED, the systemd unit: no systemd-analyze here (Debian: systemd)")
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    program = Path(unit["Service"]["ExecStart"].split()[0].replace("%h", str(tmp_path)))
    program.parent.mkdir(parents=True)
    program.symlink_to(VENV_BIN / "supervisord")
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(UNIT)],
        env={**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(run)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
