"""`rollout stack setup|up|down`: the demo stack of this folder."""

from __future__ import annotations

import argparse

from rollout.install.setup import command as setup
from rollout.stack.down import down
from rollout.stack.up import up

__all__ = ["stack"]

_COMMANDS = {
    "setup": (setup, "install what the stack needs into this folder"),
    "up": (up, "check, start everything under supervisord, and wait until it is ready"),
    "down": (down, "stop everything: load, workers, the rest, then Temporal; 20 s at most"),
}


def stack(parser: argparse.ArgumentParser) -> None:
    """Add the commands of ``rollout stack``."""
    parser.epilog = "examples:\n  rollout stack up\n  rollout stack down"
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (add_arguments, text) in _COMMANDS.items():
        add_arguments(
            commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        )
