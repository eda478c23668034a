"""`rollout adopt` and `release`: who may change the deployment's routing."""

from __future__ import annotations

import argparse

from rollout.commands import answers
from rollout.commands.shared import see, writer, written
from rollout.controller.identity import own_identity
from rollout.core.config_file import load
from rollout.core.observation import Observation
from rollout.temporal.routing import DeploymentRouting

__all__ = ["adopt", "release"]


def adopt(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout adopt``."""
    parser.set_defaults(run=_adopt)


def release(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout release``."""
    parser.set_defaults(run=_release)


async def _adopt(arguments: argparse.Namespace) -> int:
    """Make this checkout's controller the deployment's manager."""
    client, seen = await see(load(arguments.config))
    routing = DeploymentRouting(client, seen.deployment, writer(seen))
    await written(seen.deployment, routing.set_manager(own_identity()))
    _tell(seen, own_identity())
    return 0


async def _release(arguments: argparse.Namespace) -> int:
    """Let anybody change the routing."""
    client, seen = await see(load(arguments.config))
    routing = DeploymentRouting(client, seen.deployment, writer(seen))
    await written(seen.deployment, routing.set_manager(""))
    _tell(seen, "")
    answers.say("a running controller claims it again when it next has to act: stop or pause it")
    return 0


def _tell(before: Observation, manager: str) -> None:
    answers.say(
        f"{manager or 'nobody'} manages {before.deployment} now "
        f"(before: {before.manager or 'nobody'})",
        deployment=before.deployment,
        manager=manager or None,
        manager_before=before.manager or None,
        changed=manager != before.manager,
    )
