"""What our own commands say before the stack starts: of rollout.toml, the workers, Temporal.

Each is asked in a process of its own, all of them at once: none may be imported
here, and the slowest takes a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from stack.launches import Launch
from stack.problem import Problem
from stack.settings import DEFAULT_DEPLOYMENT, ROOT

__all__ = ["answers"]

_SECONDS = 30
_OURS = ("workers", "rollout", "client", "metrics")  # each of them needs Temporal
_NO_BUILD = "__unversioned__"  # rollout.toml's name of workers without a version


@dataclass(frozen=True)
class _Question:
    about: str
    """What a problem's text begins with: a program's name, or nothing."""
    module: str
    process: subprocess.Popen[str]
    judge: Callable[[str], Iterator[Problem]] | None = None
    """What is wrong with the answer of a command that ended well."""


def answers(started: Sequence[Launch]) -> list[Problem]:
    """What keeps the programs ``started`` from doing their work, by our commands' own account."""
    asked = [*_of_temporal(started), *_of_rollout(started), *_of_workers(started)]
    try:
        return [problem for question in asked for problem in _answer(question)]
    finally:
        for question in asked:  # after Ctrl-C
            question.process.kill()


def _of_temporal(started: Sequence[Launch]) -> Iterator[_Question]:
    """Whether the server that this stack does not run itself is there."""
    ours = [start for start in started if start.module() in _OURS]
    if ours and not any(start.name == "temporal" for start in started):
        yield _Question("", "connect", _ask(ours[0].environ, "stack.connect"))


def _of_rollout(started: Sequence[Launch]) -> Iterator[_Question]:
    for start in started:
        if start.module() == "rollout":
            config = start.flag("--config")
            words = [*(("--config", config) if config else ()), "check", "--json"]
            process = _ask(start.environ, "rollout", *words)
            yield _Question(f"{start.name}: ", "rollout", process, partial(_differences, started))


def _of_workers(started: Sequence[Launch]) -> Iterator[_Question]:
    for start in started:
        if start.module() == "workers":
            process = _ask(start.environ, *start.command[2:], "--check")
            yield _Question(f"{start.name}: ", "workers", process)


def _ask(environ: Mapping[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _answer(question: _Question) -> Iterator[Problem]:
    process = question.process
    try:
        said, complaint = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        yield Problem(f"{question.about}its check did not end within {_SECONDS} s", 1)
        return
    if process.returncode:
        lines = complaint.strip().splitlines() or [f"exit code {process.returncode}"]
        text = lines[-1].removeprefix(f"{question.module}: ")
        yield Problem(f"{question.about}{text}", 2 if process.returncode == 2 else 1)
    elif question.judge:
        yield from question.judge(said)


def _differences(started: Sequence[Launch], said: str) -> Iterator[Problem]:
    """What rollout.toml names and no worker program has.

    A version may have its workers on another machine; the deployment of workers
    that wait here to be routed may not.
    """
    names = json.loads(said)
    managed = [s for s in started if s.module() == "workers" and "--managed" in s.command]
    by_deployment: dict[str, set[str | None]] = {}
    for start in managed:
        deployment = start.flag("--deployment") or DEFAULT_DEPLOYMENT
        by_deployment.setdefault(deployment, set()).add(
            start.flag("--build-id") or start.environ.get("BUILD_ID")
        )
    if not by_deployment:
        return
    builds = by_deployment.get(names["deployment"])
    if builds is None:
        have = ", ".join(sorted(by_deployment))
        yield Problem(
            f"rollout.toml routes the deployment {names['deployment']!r}, and no worker program "
            f"is of it: theirs is {have}"
        )
        return
    for key in ("baseline", "target"):
        if names[key] not in (*builds, _NO_BUILD):
            yield Problem(
                f"warning: no worker program here runs {names[key]!r}, the {key} in rollout.toml",
                code=0,
            )
