"""`rollout plan`: what the controller would do now, and why."""

from __future__ import annotations

import argparse
import json

from rollout.commands.shared import observe
from rollout.core.config_file import load

__all__ = ["plan"]


def plan(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout plan``."""
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(run=_plan)


async def _plan(arguments: argparse.Namespace) -> int:
    """What the controller would do now, and why; 3 where that is anything."""
    _, decided = await observe(load(arguments.config))
    actions = [str(action) for action in decided.actions]
    if arguments.json:
        print(json.dumps({"phase": decided.phase, "reason": decided.reason, "actions": actions}))
    else:
        print(f"{decided.phase}: {decided.reason}")
        for action in actions:
            print(f"  would {action}")
    return 3 if actions else 0
