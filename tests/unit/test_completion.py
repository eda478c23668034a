"""Completion in a real shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rollout.base.settings import VENV_BIN

SCRIPT = """
source <(rollout completion bash)
try() {
    COMP_LINE="$1" COMP_POINT=${#1} COMP_TYPE=9 COMPREPLY=()
    _python_argcomplete rollout
    echo "${COMPREPLY[*]}"
}
for line in "rollout re" "rollout deploy --ti" "rollout add v3 --strategy in"; do
    try "$line"
done
"""


def run(*words: str, **environ: str) -> str:
    """What a program says, with our command in its PATH."""
    path = f"{VENV_BIN}:{os.environ['PATH']}"
    done = subprocess.run(
        words, env={"PATH": path, **environ}, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_in_bash() -> None:
    """Commands, options, and words to choose from."""
    told = [line.split() for line in run("bash", "--norc", "-c", SCRIPT).splitlines()]
    assert {"resume", "retry", "retire", "release"} <= set(told[0])
    assert told[1:] == [["--timeout"], ["incompatible"]]


FISH = """
source (rollout completion fish | psub)
for line in "rollout ret" "rollout deploy --ti" "rollout add v3 --strategy in"
    complete --do-complete "$line"
end
"""


def test_in_fish(tmp_path: Path) -> None:
    """The same, with what each is about."""
    if shutil.which("fish") is None:
        pytest.skip("NOT TESTED, completion in fish: no fish on this machine")
    told = run("fish", "--no-config", "-c", FISH, HOME=str(tmp_path)).splitlines()
    assert [line.split("\t")[0] for line in told] == [
        *("retire", "retry"), "--timeout", "incompatible"
    ]  # fmt: skip


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_it(shell: str) -> None:
    """What is printed is right for that shell, so far as it is here to say so."""
    script = run("rollout", "completion", shell)
    assert "rollout" in script
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    run(shell, "-n", "-c", script)
