"""Whether supervisord could load its files again, told before anybody reloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.supervision.survey import Surveyor

CONF = "[supervisord]\n\n[include]\nfiles = workers/programs/*.ini\n"
PROGRAM = "[program:one]\ncommand = sleep 60\n"
HALF = "[program:worker-v9]\ncommand = \n[oops\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stack that runs, with one program."""
    (tmp_path / "supervisord.conf").write_text(CONF)
    (tmp_path / "socket").touch()
    programs = tmp_path / "workers" / "programs"
    programs.mkdir(parents=True)
    (programs / "one.ini").write_text(PROGRAM)
    return tmp_path


def test_a_file_saved_half_way(folder: Path) -> None:
    """It is named with what a reload would do, for as long as it stays so, and no longer."""
    surveyor = Surveyor(folder / "supervisord.conf", folder / "socket")
    assert surveyor.look() == ()
    broken = folder / "workers" / "programs" / "worker-v9.ini"
    broken.write_text(HALF)
    (said,) = surveyor.look()
    assert said.startswith("supervisord could not load its files again (")
    assert "worker-v9.ini" in said
    assert said.endswith("): `supervisorctl reload` would take everything down")
    assert surveyor.look() == (said,)
    broken.unlink()
    assert surveyor.look() == ()


def test_where_nothing_runs_nothing_is_taken_down(folder: Path) -> None:
    """Without a supervisord there is no warning: `rollout check` looks at files."""
    (folder / "workers" / "programs" / "worker-v9.ini").write_text(HALF)
    assert Surveyor(folder / "supervisord.conf", folder / "none").look() == ()
