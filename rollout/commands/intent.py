"""`rollout to`, `pause` and `resume`: intent, which the controller follows."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timezone
from pathlib import Path

from rollout.base.exit import Failure, Misuse
from rollout.base.names import UNVERSIONED, valid_build_id
from rollout.base.server import asked_server
from rollout.commands import answers
from rollout.commands.following import Goal, add_timeout, refuse_to_wait, wait_for
from rollout.commands.looking import from_controller
from rollout.commands.world import refuse_own_file
from rollout.controller.last_good import change, follow
from rollout.controller.nudge import nudge
from rollout.controller.snapshot import Unanswered
from rollout.core.config import RolloutConfig
from rollout.core.config_file import edit, load
from rollout.core.observation import Observation

__all__ = ["make_target", "pause", "resume", "to"]


def to(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout to``."""
    parser.add_argument("build_id", metavar="BUILD")
    parser.add_argument(
        "--ahead",
        action="store_true",
        help="even if neither the server nor a program here knows the build yet",
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="until it takes all new runs, or is rolled back or blocked: exit 4",
    )
    add_timeout(parser)
    parser.set_defaults(run=_to)


def pause(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout pause``."""
    parser.set_defaults(run=_pause)


def resume(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout resume``."""
    parser.set_defaults(run=_resume)


async def _to(arguments: argparse.Namespace) -> int:
    """Make a build the target, and wait for it where that is wanted."""
    refuse_own_file(arguments.config)
    if arguments.wait:
        await refuse_to_wait(load(arguments.config))
    wait = arguments.timeout if arguments.wait else None
    await make_target(arguments.config, arguments.build_id, wait=wait, ahead=arguments.ahead)
    return 0


async def make_target(
    path: Path, build_id: str, *, wait: float | None = None, ahead: bool = False
) -> None:
    """Make a build the target of the file at ``path``; it may be that already.

    ``wait`` is for how many seconds at most its rollout is waited for; None: not at all. Raises
    what `wait_for` does, and `Failure` for a build that nobody knows unless it may come later
    (``ahead``).
    """
    config = load(path)
    wanted, since = config.deployment, datetime.now(timezone.utc)
    already = wanted.target == build_id and not wanted.rolls_back
    answers.note(deployment=wanted.name, target=build_id, changed=not already)
    if not already:
        await _refuse_target(config, build_id, ahead=ahead)
        since = datetime.now(timezone.utc)
        edit(path, "deployment", target=build_id, rollback=None, promote=None)
    if wanted.paused:
        print("! paused in rollout.toml: `rollout resume` lets traffic move", file=sys.stderr)
    is_or_was = f"target is {build_id}{' already' if already else ''}"
    if wait is None:
        answers.say(f"{is_or_was}; `rollout watch` shows how traffic moves to it")
        return
    answers.say(is_or_was)
    nudge(wanted.name, build_id)
    await wait_for(Goal(build_id, path, since, wait))


async def _refuse_target(config: RolloutConfig, build_id: str, *, ahead: bool) -> None:
    """Raise `Failure` or `Misuse` where new runs would wait for a worker that nobody knows."""
    if build_id != UNVERSIONED:
        valid_build_id(build_id)
        if not await _is_known_here(config, build_id):
            await _refuse_a_stranger(config, build_id, ahead=ahead)
        return
    from rollout.commands.shared import see, written  # noqa: PLC0415 - they import a client
    from rollout.temporal.unversioned import without_unversioned_worker  # noqa: PLC0415

    client, seen = await see(config)
    if missing := await written(seen.deployment, without_unversioned_worker(client, seen)):
        raise Failure(
            f"no worker without a version polls {', '.join(missing)}, and new runs would "
            "wait: start one with `python -m workers --versioning none`"
        )


async def _is_known_here(config: RolloutConfig, build_id: str) -> bool:
    """Whether the controller here saw the build moments ago: then the server need not be asked."""
    try:
        _, seen = await from_controller(config.deployment.name, asked_server())
    except Unanswered:
        return False
    return _is_known(seen, build_id)


def _is_known(seen: Observation, build_id: str) -> bool:
    """Whether the server knows the build, or a program here runs it."""
    version = seen.version(build_id)
    return version.status != "unregistered" or version.process is not None


async def _refuse_a_stranger(config: RolloutConfig, build_id: str, *, ahead: bool) -> None:
    """Say so where nobody knows the build: a typo must not end a ramp that is under way.

    Raises `Failure`, unless it is meant to come later (``ahead``).
    """
    from rollout.commands.shared import see  # noqa: PLC0415 - it imports a client

    try:
        _, seen = await see(config, known=False)
    except Misuse:
        raise
    except Failure as failure:
        unknown = f"whether anybody knows {build_id} could not be found out ({failure})"
        if not ahead:
            raise Failure(f"{unknown}; --ahead makes it the target all the same") from failure
        print(unknown, file=sys.stderr)
        return
    if _is_known(seen, build_id):
        return
    stranger = f"no worker of {build_id} has polled, and no program here runs it"
    if not ahead:
        import difflib  # noqa: PLC0415 - mistakes are rare

        near = difflib.get_close_matches(build_id, [v.build_id for v in seen.versions], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise Failure(
            f"{stranger}{hint or ':'} `rollout add {build_id}` starts a worker, and --ahead makes "
            "it the target before one comes"
        )
    print(f"{stranger}: until one does, traffic stays as it is", file=sys.stderr)


async def _pause(arguments: argparse.Namespace) -> int:
    """Leave traffic as it is."""
    _change(arguments.config, paused=True)
    answers.say("paused: traffic stays as it is; `rollout resume` goes on", paused=True)
    return 0


async def _resume(arguments: argparse.Namespace) -> int:
    """Go on."""
    _change(arguments.config, paused=False)
    answers.say("resumed", paused=False)
    return 0


def _change(path: Path, *, paused: bool) -> None:
    """Write it down where the controller reads it, and say first where that is not the file."""
    refuse_own_file(path)
    followed = follow(path)
    answers.note(deployment=followed.config.deployment.name)
    if warning := followed.warning:
        print(f"! {warning}, and now says paused = {str(paused).lower()}", file=sys.stderr)
    change(path, paused=paused)
