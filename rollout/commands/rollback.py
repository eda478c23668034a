"""`rollout rollback`: back to a version that has worked, at once."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timezone

from temporalio.client import Client
from temporalio.service import RPCError

from rollout.base.exit import Failure
from rollout.base.waiting import until
from rollout.commands import answers
from rollout.commands.shared import own, see, written
from rollout.commands.world import followed_here
from rollout.controller.last_good import change
from rollout.controller.lock import is_running
from rollout.controller.refusals import last_refusals
from rollout.core.observation import Observation, Version
from rollout.core.verdict import warnings
from rollout.replay.verification import summary
from rollout.replay.verify import MOST_RUNS, try_move
from rollout.temporal.interface import Routing
from rollout.temporal.metadata import Metadata, Note
from rollout.temporal.observer import Observer
from rollout.temporal.routing import DeploymentRouting

__all__ = ["rollback"]

_FOLLOWED = 30.0
"""Seconds in which a running controller follows a rollback."""


def rollback(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout rollback``."""
    parser.add_argument(
        "--to", metavar="BUILD", help="default: the version that was current before"
    )
    parser.add_argument(
        "--move-back",
        action="store_true",
        help="also move runs of the bad build, those that replay on the good one",
    )
    parser.set_defaults(run=_rollback)


async def _rollback(arguments: argparse.Namespace) -> int:
    """Send all new runs back to a version that has worked, and block the one that has not."""
    config = followed_here(arguments.config).config
    if config.deployment.pace == "manual":
        raise Failure('pace is "manual" in rollout.toml: route with the `temporal` CLI')
    client, seen = await see(config)
    bad, good = _bad_and_good(seen, arguments.to)
    # The block first: whatever happens to this command, the bad build gets no more traffic.
    routing = DeploymentRouting(client, seen.deployment, own(seen, bad))
    reason = f"rolled back to {good} by command"
    blocked = Metadata(blocked=Note(seen.version(bad).fingerprint, reason))
    await written(seen.deployment, routing.annotate(bad, blocked), bad)
    change(arguments.config, target=good, rollback=good, promote=None, paused=False)
    answers.say(
        f"target is {good}, {bad} is blocked (`rollout retry {bad}` lifts that)",
        deployment=seen.deployment,
        target=good,
        blocked=bad,
    )
    observer = Observer(client, seen.deployment, at_once=False)

    async def is_back() -> bool:
        try:
            now = await observer.observe(bad)
        except RPCError:
            return False
        return now.current == good and now.ramping is None

    if not await until(is_back, _FOLLOWED, period=0.5):
        why = "; ".join(last_refusals(seen.deployment))
        if not is_running(seen.deployment):
            why = "no controller runs here (`supervisorctl start rollout`)"
        raise Failure(f"new runs do not go to {good} yet: {why or 'see `rollout status`'}")
    answers.say(f"all new runs go to {good}", current=good)
    observer.expire()
    after = await observer.observe(bad)
    for warning in warnings(after):
        print(f"! {warning}", file=sys.stderr)
    stranded = after.version(bad).open_runs
    answers.note(stranded_runs=stranded)
    if arguments.move_back:
        await _move_back(client, routing, seen.deployment, bad, good)
    elif stranded:
        stay = f"{stranded} runs that began on {bad} stay there"
        answers.say(f"{stay}; --move-back moves those that can")
    return 0


def _bad_and_good(seen: Observation, wanted: str | None) -> tuple[str, str]:
    """The build to leave, and the one to go back to. Raises `Failure` where there is none."""
    if seen.current is None:
        raise Failure("nothing is current yet, so there is nothing to go back from")
    bad = seen.ramping.build_id if seen.ramping else seen.current
    if wanted is None:
        if seen.ramping:
            return bad, seen.current
        former = [v for v in seen.versions if v.build_id != bad and _may_take_over(v) is None]
        former.sort(key=_last_current)
        if not former:
            raise Failure("no other version that was current could take over: see `rollout status`")
        return bad, former[-1].build_id
    if wanted == bad:
        raise Failure(f"{wanted} is what a rollback would leave: name another build")
    if wanted != seen.current and (why := _may_take_over(seen.version(wanted))):
        raise Failure(f"{wanted} {why}")
    return bad, wanted


def _may_take_over(version: Version) -> str | None:
    """Why a version cannot be gone back to; None where it can."""
    if version.last_current_at is None:
        return f"has never been current: go there with `rollout to {version.build_id}`"
    if version.blocked:
        return f"is blocked ({version.blocked}): `rollout retry {version.build_id}` lifts that"
    if version.workers == 0 and not version.stopped:
        return "has no live worker, and no program here that could be started"
    return None


def _last_current(version: Version) -> datetime:
    return version.last_current_at or datetime.min.replace(tzinfo=timezone.utc)


async def _move_back(
    client: Client, routing: Routing, deployment: str, bad: str, good: str
) -> None:
    """Move the runs of the bad build that the good one's code can go on with."""
    found = await try_move(client, deployment, bad, good)
    answers.say(summary(found))
    moved = await written(deployment, routing.move_these(found.movable, good))
    tried = len(found.runs) + len(found.left_out)
    left = tried - len(found.movable)
    answers.say(
        f"{moved} runs move to {good} at their next task; {left} stay on {bad}",
        moved_runs=moved,
        stranded_runs=left,
    )
    if tried >= MOST_RUNS:
        answers.say(f"only the newest {MOST_RUNS} were looked at; the others stay, too")
