"""`rollout deploy`: what a pipeline wants: add a build, make it the target, and wait for it."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Awaitable, Callable
from functools import partial

from rollout.commands import answers
from rollout.commands.command_table import COMMANDS
from rollout.commands.following import add_timeout, refuse_to_wait
from rollout.commands.intent import make_target
from rollout.commands.world import refuse_elsewhere, refuse_own_file
from rollout.core.config_file import load

__all__ = ["deploy"]

Run = Callable[[argparse.Namespace], Awaitable[int]]


def deploy(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout deploy``: those of ``rollout add``, and the time to wait."""
    add = getattr(importlib.import_module(COMMANDS["add"].module), "add")  # noqa: B009 - by name
    add(parser)
    add_timeout(parser)
    parser.set_defaults(run=partial(_deploy, parser.get_default("run")), goes_on=True)


async def _deploy(add: Run, arguments: argparse.Namespace) -> int:
    """Add the build, make it the target, and wait; what is done already is success."""
    refuse_elsewhere("program")
    refuse_own_file(arguments.config)
    answers.note(outcome="failed")  # until it is known better
    await refuse_to_wait(load(arguments.config))
    if code := await add(arguments):
        return code
    answers.hand_out()
    await make_target(arguments.config, arguments.build_id, wait=arguments.timeout)
    return 0
