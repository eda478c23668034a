"""`rollout to`, `pause` and `resume`: intent, which the controller follows."""

from __future__ import annotations

import argparse
import sys

from rollout.base.exit import Failure
from rollout.base.names import UNVERSIONED, valid_build_id
from rollout.commands.shared import see, written
from rollout.core.config import RolloutConfig
from rollout.core.config_file import edit, load
from rollout.temporal.unversioned import without_unversioned_worker

__all__ = ["pause", "resume", "to"]


def to(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout to``."""
    parser.add_argument("build_id", metavar="BUILD")
    parser.set_defaults(run=_to)


def pause(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout pause``."""
    parser.set_defaults(run=_pause)


def resume(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout resume``."""
    parser.set_defaults(run=_resume)


async def _to(arguments: argparse.Namespace) -> int:
    """Make a build the target."""
    config = load(arguments.config)
    if arguments.build_id == UNVERSIONED:
        client, seen = await see(config)
        if missing := await written(without_unversioned_worker(client, seen)):
            raise Failure(
                f"no worker without a version polls {', '.join(missing)}, and new runs would "
                "wait: start one with `python -m workers --versioning none`"
            )
    else:
        valid_build_id(arguments.build_id)
    edit(arguments.config, "deployment", target=arguments.build_id, rollback=None, promote=None)
    print(f"target is {arguments.build_id}; `rollout watch` shows how traffic moves to it")
    if arguments.build_id != UNVERSIONED:
        await _warn_of_a_stranger(config, arguments.build_id)
    return 0


async def _warn_of_a_stranger(config: RolloutConfig, build_id: str) -> None:
    """Say so where nobody knows the build; it may still be about to come."""
    try:
        _, seen = await see(config)
    except Failure:
        return
    version = seen.version(build_id)
    if version.status == "unregistered" and version.process is None:
        print(
            f"no worker of {build_id} has polled, and no program here runs it: "
            f"until one does, traffic stays as it is (`rollout add {build_id}` starts one)",
            file=sys.stderr,
        )


async def _pause(arguments: argparse.Namespace) -> int:
    """Leave traffic as it is."""
    edit(arguments.config, "deployment", paused=True)
    print("paused: traffic stays as it is; `rollout resume` goes on")
    return 0


async def _resume(arguments: argparse.Namespace) -> int:
    """Go on."""
    edit(arguments.config, "deployment", paused=False)
    print("resumed")
    return 0
