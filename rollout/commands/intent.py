"""`rollout to`, `pause` and `resume`: intent, which the controller follows."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from rollout.base.exit import Failure, Misuse
from rollout.base.names import UNVERSIONED, valid_build_id
from rollout.commands.shared import see, written
from rollout.commands.world import refuse_own_file
from rollout.controller.last_good import change, follow
from rollout.core.config import RolloutConfig
from rollout.core.config_file import edit, load
from rollout.temporal.unversioned import without_unversioned_worker

__all__ = ["pause", "resume", "to"]


def to(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout to``."""
    parser.add_argument("build_id", metavar="BUILD")
    parser.add_argument(
        "--ahead",
        action="store_true",
        help="even if neither the server nor a program here knows the build yet",
    )
    parser.set_defaults(run=_to)


def pause(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout pause``."""
    parser.set_defaults(run=_pause)


def resume(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout resume``."""
    parser.set_defaults(run=_resume)


async def _to(arguments: argparse.Namespace) -> int:
    """Make a build the target."""
    refuse_own_file(arguments.config)
    config = load(arguments.config)
    if arguments.build_id == UNVERSIONED:
        client, seen = await see(config)
        if missing := await written(seen.deployment, without_unversioned_worker(client, seen)):
            raise Failure(
                f"no worker without a version polls {', '.join(missing)}, and new runs would "
                "wait: start one with `python -m workers --versioning none`"
            )
    else:
        valid_build_id(arguments.build_id)
        await _refuse_a_stranger(config, arguments.build_id, ahead=arguments.ahead)
    edit(arguments.config, "deployment", target=arguments.build_id, rollback=None, promote=None)
    print(f"target is {arguments.build_id}; `rollout watch` shows how traffic moves to it")
    return 0


async def _refuse_a_stranger(config: RolloutConfig, build_id: str, *, ahead: bool) -> None:
    """Say so where nobody knows the build: a typo must not end a ramp that is under way.

    Raises `Failure`, unless it is meant to come later (``ahead``).
    """
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
    version = seen.version(build_id)
    if version.status != "unregistered" or version.process is not None:
        return
    stranger = f"no worker of {build_id} has polled, and no program here runs it"
    if not ahead:
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
    print("paused: traffic stays as it is; `rollout resume` goes on")
    return 0


async def _resume(arguments: argparse.Namespace) -> int:
    """Go on."""
    _change(arguments.config, paused=False)
    print("resumed")
    return 0


def _change(path: Path, *, paused: bool) -> None:
    """Write it down where the controller reads it, and say first where that is not the file."""
    refuse_own_file(path)
    if warning := follow(path).warning:
        print(f"! {warning}, and now says paused = {str(paused).lower()}", file=sys.stderr)
    change(path, paused=paused)
