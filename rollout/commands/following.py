"""Waiting for a rollout, by what the controller here saw: the server is asked nothing."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rollout.base.command_line import duration
from rollout.base.exit import Blocked, Failure, Misuse, Unfinished
from rollout.base.server import asked_server
from rollout.base.waiting import until
from rollout.commands import answers
from rollout.commands.looking import from_controller
from rollout.commands.progress import Progress, State, progress
from rollout.commands.world import is_elsewhere
from rollout.controller.intent import Intent
from rollout.controller.lock import is_running
from rollout.controller.snapshot import NO_ANSWER, OTHER_VERSION, Unanswered
from rollout.core.config import RolloutConfig
from rollout.core.outcome import Ending, Outcome, Told, outcome, time_is_up

__all__ = ["Goal", "add_timeout", "refuse_to_wait", "wait_for"]

_PERIOD = 1.0
"""Seconds between two looks at what the controller serves."""
_PATIENCE = 30.0
"""Seconds for which no controller may answer, as while it is restarted."""
_NOBODY = "no controller runs here, so nothing would be done: `supervisorctl start rollout`"
_FAILURES: dict[Outcome, type[Failure]] = {
    "rolled back": Blocked,
    "blocked": Blocked,
    "superseded": Failure,
    "unfinished": Unfinished,
}


@dataclass(frozen=True)
class Goal:
    """The build to wait for, which has been the target of the file at ``path`` since ``since``."""

    build_id: str
    path: Path
    since: datetime
    timeout: float
    """In seconds."""


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """Add the argument that bounds the waiting."""
    parser.add_argument(
        "--timeout",
        type=duration,
        default=duration("30m"),
        metavar="30s|10m|2h",
        help="wait so long at most, then exit 5; the rollout goes on; default: 30m",
    )


async def refuse_to_wait(config: RolloutConfig) -> None:
    """Raise `Misuse` or `Failure` where nothing would happen that could be waited for."""
    if is_elsewhere():
        raise Misuse("--elsewhere asks no controller, and without one there is nothing to wait for")
    if config.deployment.pace == "manual":
        raise Misuse('pace is "manual" in rollout.toml: nobody here moves traffic to wait for')

    async def runs() -> bool:
        return is_running(config.deployment.name)

    if not await until(runs, _PATIENCE, period=_PERIOD):  # it may be about to be started
        raise Failure(f"{_NOBODY}; nothing was changed")


async def wait_for(goal: Goal) -> None:
    """Return once all new runs go to the build and nothing is left to do.

    Raises `Blocked` where it was rolled back or a person must act, `Unfinished` when the time was
    up, and `Failure` where somebody changed the target, or no controller answers. What goes on is
    the same whatever becomes of this command: Ctrl-C and SIGTERM end the waiting alone.
    """
    with closing(progress(goal.build_id)) as told, _saying_that_it_goes_on(goal.build_id):
        ending = await _Follower(goal, told).ending()
    answers.note(outcome=ending.outcome, reason=ending.reason)
    if ending.outcome != "complete":
        raise _FAILURES[ending.outcome](ending.reason)
    answers.say(f"{goal.build_id} is complete: {ending.reason}")


class _Follower:
    """One wait: what is known so far of the way of a build."""

    def __init__(self, goal: Goal, told: Progress) -> None:
        self._goal = goal
        self._progress = told
        self._intent = Intent(goal.path)
        self._name = self._intent.config.deployment.name
        self._server = asked_server()
        self._answered = time.monotonic()
        self._last: Told | None = None

    async def ending(self) -> Ending:
        """How it ends. Raises `Failure` without a controller."""
        ending = await until(self._look, self._goal.timeout, period=_PERIOD)
        return ending or time_is_up(self._goal.build_id, self._goal.timeout, self._last)

    async def _look(self) -> Ending | None:
        try:
            snapshot, seen = await from_controller(self._name, self._server)
        except Unanswered as none:
            self._without_controller(str(none))
            return None
        self._answered = time.monotonic()
        decided = snapshot.decided
        if decided is None:
            return None
        wanted = self._intent.refresh().deployment
        told = Told(seen, decided.target, decided.phase, decided.reason)
        ending = outcome(self._goal.build_id, self._goal.since, wanted, told)
        if decided.target == self._goal.build_id and seen.at >= self._goal.since:
            self._last = told
            state = State.of(self._goal.build_id, told, decided.news, snapshot.refusals)
            self._progress.tell(state)
        return ending

    def _without_controller(self, why: str) -> None:
        """Say so. Raises `Failure` where it is not worth waiting for one."""
        self._progress.tell(State.unknown(self._name, self._goal.build_id, why))
        if time.monotonic() - self._answered < _PATIENCE:
            return
        if not is_running(self._name):
            raise Failure(f"{_NOBODY}; {self._goal.build_id} stays the target")
        if why == NO_ANSWER:
            raise Failure("the controller here serves nothing: `rollout run` needs --metrics-port")
        if why == OTHER_VERSION:
            raise Failure(f"{why}: `supervisorctl restart rollout`")


@contextmanager
def _saying_that_it_goes_on(build_id: str) -> Iterator[None]:
    """Whoever ends the waiting, by Ctrl-C or SIGTERM, is told that it was only that."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    terminated = []

    def terminate() -> None:
        terminated.append(True)
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        yield
    except asyncio.CancelledError:
        print(
            f"no longer waiting; the rollout of {build_id} goes on: `rollout watch` shows it, "
            f"`rollout abort {build_id}` ends it",
            file=sys.stderr,
        )
        if terminated:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
