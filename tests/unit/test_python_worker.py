"""The worker of a build that `rollout worker` runs in the Python of its release."""

from __future__ import annotations

import sys
import venv
from pathlib import Path

import pytest

from rollout.base.exit import Misuse
from rollout.supervision.fleet.python_worker import (
    found_python,
    is_runner,
    release_of,
    runner_words,
)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of a virtual environment, which is a link as a rule."""
    venv.create(tmp_path / "r1" / ".venv", symlinks=True)
    return tmp_path / "r1" / ".venv" / "bin" / "python"


def test_its_links_are_kept(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Followed to its end, a Python would not know its environment any more."""
    assert found_python(str(python), None) == python
    monkeypatch.chdir(tmp_path)
    assert found_python("r1/.venv/bin/python", None) == python
    assert found_python(".venv/bin/python", tmp_path / "r1") == python
    assert python.resolve() != python


def test_the_release_is_around_its_environment(python: Path, tmp_path: Path) -> None:
    """A Python that is of no environment says nothing of where the release is."""
    assert release_of(python) == tmp_path / "r1"
    assert release_of(Path(sys.base_prefix) / "bin" / "python") is None


@pytest.mark.parametrize("told", ["r1/.venv/bin", "r2/bin/python", "python-of-no-name"])
def test_what_is_none_is_refused(
    told: str, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder, a path that leads nowhere, and a name that is not in PATH."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Misuse, match=f"^{told} is no Python that can be run here"):
        found_python(told, tmp_path)


def test_its_command_is_a_runner(python: Path) -> None:
    """It is known for one that declares itself, and a worker with a `main()` is not."""
    words = runner_words(
        python, app="shop", build_id="b", strategy="compatible", deployment="d", task_queue="q",
        more=["--drain", "2m"],
    )  # fmt: skip
    assert is_runner(words)
    assert words[-2:] == ("--drain", "2m")
    assert not is_runner([str(python), "-m", "shop.worker"])
