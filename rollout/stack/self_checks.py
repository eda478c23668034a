"""What our own commands say before the stack starts: of rollout.toml, the workers, Temporal.

Each is asked in a process of its own, all of them at once: none may be imported
here, and the slowest takes a second.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollout.base.exit import Misuse
from rollout.base.last_words import last_words
from rollout.base.names import UNVERSIONED
from rollout.base.settings import ROLLOUT_FILE, ROOT
from rollout.core.config import Deployment
from rollout.core.config_file import load
from rollout.stack.problem import Problem
from rollout.supervision.programs import Command

__all__ = ["answers"]

_SECONDS = 30


@dataclass(frozen=True)
class _Question:
    about: str
    """What a problem's text begins with: a program's name, or nothing."""
    process: subprocess.Popen[str]


def answers(started: Sequence[Command]) -> list[Problem]:
    """What keeps the programs ``started`` from doing their work, by our commands' own account."""
    asked = [*_of_temporal(started), *_of_workers(started)]
    try:
        answered = [problem for question in asked for problem in _answer(question)]
        return [*answered, *_of_rollout(started)]
    finally:
        for question in asked:  # after Ctrl-C
            question.process.kill()


def _of_temporal(started: Sequence[Command]) -> Iterator[_Question]:
    """Whether the server that this stack does not run itself is there."""
    ours = [start for start in started if start.is_ours]
    if ours and not any(start.kind == "temporal" for start in started):
        words = (sys.executable, "-m", "rollout.temporal.namespace")
        yield _Question("", _ask(ours[0].environ, ROOT, words))


def _of_rollout(started: Sequence[Command]) -> Iterator[Problem]:
    for start in started:
        if start.kind == "controller":
            config = start.flag("--config")
            try:
                deployment = load(ROOT / config if config else ROLLOUT_FILE).deployment
            except Misuse as misuse:
                yield Problem(f"{start.name}: {misuse}", misuse.code)
            else:
                yield from _differences(started, deployment)


def _of_workers(started: Sequence[Command]) -> Iterator[_Question]:
    for start in started:
        if start.is_runner:
            folder = start.program.directory or ROOT
            process = _ask(start.environ, folder, start.invocation("--check"))
            yield _Question(f"{start.name}: ", process)


def _ask(environ: Mapping[str, str], folder: Path, words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words,
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _answer(question: _Question) -> Iterator[Problem]:
    process = question.process
    try:
        _, complaint = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        yield Problem(f"{question.about}its check did not end within {_SECONDS} s", 1)
        return
    if process.returncode:
        lines = complaint.strip().splitlines() or [f"exit code {process.returncode}"]
        text = last_words(lines) or lines[-1]
        yield Problem(f"{question.about}{text}", 2 if process.returncode == 2 else 1)


def _differences(started: Sequence[Command], wanted: Deployment) -> Iterator[Problem]:
    """What rollout.toml names and no worker program has.

    A version may have its workers on another machine; the deployment of workers
    that wait here to be routed may not.
    """
    by_deployment: dict[str, set[str | None]] = {}
    for start in started:
        if start.kind == "worker" and start.managed:
            by_deployment.setdefault(start.deployment, set()).add(start.build_id)
    if not by_deployment:
        return
    builds = by_deployment.get(wanted.name)
    if builds is None:
        have = ", ".join(sorted(by_deployment))
        yield Problem(
            f"rollout.toml routes the deployment {wanted.name!r}, and no worker program "
            f"is of it: theirs is {have}"
        )
        return
    for key, build_id in (("baseline", wanted.baseline), ("target", wanted.target)):
        if build_id not in (None, *builds, UNVERSIONED):
            yield Problem(
                f"warning: no worker program here runs {build_id!r}, the {key} in rollout.toml",
                code=0,
            )
