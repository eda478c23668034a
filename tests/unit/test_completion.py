"""Completion in a real shell."""

from __future__ import annotations

import os
import shutil
import subprocess

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


def run(*words: str) -> str:
    """What a program says, with our command in its PATH."""
    path = f"{VENV_BIN}:{os.environ['PATH']}"
    done = subprocess.run(
        words, env={"PATH": path}, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_in_bash() -> None:
    """Commands, options, and words to choose from."""
    told = [line.split() for line in run("bash", "--norc", "-c", SCRIPT).splitlines()]
    assert {"resume", "retry", "retire", "release"} <= set(told[0])
    assert told[1:] == [["--timeout"], ["incompatible"]]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_it(shell: str) -> None:
    """What is printed is right for that shell, so far as it is here to say so."""
    script = run("rollout", "completion", shell)
    assert "rollout" in script
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    run(shell, "-n", "-c", script)
