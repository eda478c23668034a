"""`rollout abort`: end what is on its way; no build is blocked, and the current one stays."""

from __future__ import annotations

import argparse

from temporalio.service import RPCError

from rollout.base.connect import connect
from rollout.base.exit import Failure
from rollout.base.waiting import until
from rollout.commands import answers
from rollout.commands.shared import own, see
from rollout.commands.world import followed_here
from rollout.controller.last_good import change
from rollout.controller.lock import is_running
from rollout.controller.refusals import last_refusals
from rollout.core.observation import Observation
from rollout.temporal.observer import Observer

__all__ = ["abort"]

_FOLLOWED = 30.0
"""Seconds in which a running controller follows."""


def abort(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout abort``."""
    parser.add_argument(
        "build_id",
        nargs="?",
        metavar="BUILD",
        help="only if it is this build that is on its way; default: the target",
    )
    parser.set_defaults(run=_abort)


async def _abort(arguments: argparse.Namespace) -> int:
    """Make the current build the target again, and wait until it gets all new runs."""
    followed = followed_here(arguments.config)
    wanted = followed.config.deployment
    if wanted.pace == "manual":
        raise Failure('pace is "manual" in rollout.toml: route with the `temporal` CLI')
    _, seen = await see(followed.config)
    current, given_up = _current(seen), arguments.build_id or wanted.target
    answers.note(deployment=seen.deployment, build_id=given_up, current=current, changed=False)
    if current == given_up:
        if arguments.build_id or seen.ramping is None:
            _say_that_nothing_is_on_its_way(given_up, asked=bool(arguments.build_id))
            return 0
        given_up = seen.ramping.build_id  # its ramp is about to be ended already
    elif given_up != wanted.target:
        answers.say(f"{given_up} is not on its way: the target is {wanted.target}")
        return 0
    own(seen, current)
    change(arguments.config, target=current, rollback=None, promote=None, paused=False)
    answers.note(changed=True, target=current)
    await _until_ended(seen.deployment, current)
    answers.say(f"target is {current} again, which gets all new runs; {given_up} is not blocked")
    stranded = seen.version(given_up).open_runs
    if stranded:
        answers.say(f"{stranded} runs that began on {given_up} stay there", stranded_runs=stranded)
    return 0


def _current(seen: Observation) -> str:
    if seen.current is None:
        raise Failure("nothing is current yet, so there is nothing to go back to")
    return seen.current


def _say_that_nothing_is_on_its_way(build_id: str, *, asked: bool) -> None:
    if asked:
        raise Failure(f"{build_id} takes all new runs already: `rollout rollback` leaves it")
    answers.say(f"nothing is on its way: {build_id} is the target and takes all new runs")


async def _until_ended(deployment: str, current: str) -> None:
    """Wait until nothing ramps any more. Raises `Failure` where nobody sees to it."""
    observer = Observer(await connect(), deployment, at_once=False)

    async def ended() -> bool:
        try:
            return (await observer.observe(current)).ramping is None
        except RPCError:
            return False

    if await until(ended, _FOLLOWED, period=0.5):
        return
    why = "; ".join(last_refusals(deployment)) or "see `rollout status`"
    if not is_running(deployment):
        why = "no controller runs here (`supervisorctl start rollout`)"
    raise Failure(f"target is {current} again, but the ramp has not ended yet: {why}")
