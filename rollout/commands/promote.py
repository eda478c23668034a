"""`rollout promote`: a person decides that a ramp goes on."""

from __future__ import annotations

import argparse
from pathlib import Path

from temporalio.service import RPCError

from rollout.base.connect import connect
from rollout.base.exit import Failure
from rollout.base.waiting import until
from rollout.commands import answers
from rollout.commands.shared import observe
from rollout.commands.world import followed_here
from rollout.controller.last_good import change, follow
from rollout.controller.lock import is_running
from rollout.controller.refusals import last_refusals
from rollout.core.config import Promotion
from rollout.core.observation import Observation
from rollout.core.promotion import has_arrived, promotion
from rollout.temporal.observer import Observer

__all__ = ["promote"]

_FOLLOWED = 30.0
"""Seconds in which a running controller follows."""


def promote(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout promote``."""
    parser.add_argument(
        "--full",
        action="store_true",
        help="let the target take all new runs at once, without the steps that are left",
    )
    parser.set_defaults(run=_promote)


async def _promote(arguments: argparse.Namespace) -> int:
    """Write into rollout.toml how far the target goes, and wait until it is there."""
    followed = followed_here(arguments.config)
    seen, decided = await observe(followed.config)
    wanted = promotion(followed.config, seen, decided, full=arguments.full)
    answers.note(deployment=seen.deployment, build_id=wanted.build_id, percentage=wanted.percentage)
    change(arguments.config, promote=str(wanted))
    after = await _followed(seen.deployment, wanted)
    if after is None:
        why = "; ".join(last_refusals(seen.deployment)) or "see `rollout status`"
        if not is_running(seen.deployment):
            why = "no controller runs here (`supervisorctl start rollout`)"
        raise Failure(f'not yet: {why}; promote = "{wanted}" stays in {arguments.config.name}')
    _forget(arguments.config, wanted)
    if not has_arrived(wanted, after):
        blocked = after.version(wanted.build_id).blocked
        raise Failure(f"{wanted.build_id} was rolled back meanwhile: {blocked}")
    answers.say(_told(wanted))
    return 0


async def _followed(deployment: str, wanted: Promotion) -> Observation | None:
    """What is seen once the build has arrived or was rolled back; None where it is neither."""
    observer = Observer(await connect(), deployment, at_once=False)

    async def ended() -> Observation | None:
        try:
            seen = await observer.observe(wanted.build_id)
        except RPCError:
            return None
        blocked = seen.version(wanted.build_id).blocked
        return seen if blocked or has_arrived(wanted, seen) else None

    return await until(ended, _FOLLOWED, period=0.5)


def _forget(path: Path, wanted: Promotion) -> None:
    """Take it out of the file again: left there it would speak to this build's next ramp, too."""
    if follow(path).config.deployment.promote == wanted:
        change(path, promote=None)


def _told(wanted: Promotion) -> str:
    if wanted.percentage == 100:
        return f"{wanted.build_id} takes all new runs"
    return f"{wanted.build_id} gets {wanted.percentage:g} % of new runs"
