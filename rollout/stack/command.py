"""`rollout stack setup|up|down`: the demo stack of this folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rollout.base.exit import Failure
from rollout.base.settings import HOME
from rollout.install.setup import command as setup
from rollout.stack.down import down
from rollout.stack.up import up

__all__ = ["stack"]

Run = Callable[[argparse.Namespace], object]

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
        own = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        add_arguments(own)
        own.set_defaults(run=_unless_set_up(own.get_default("run")))


def _unless_set_up(run: Run) -> Run:
    """``run``; in a home of one's own it is refused, for the supervisord there is not the demo's.

    It has other people's programs in it.
    """

    def guarded(given: argparse.Namespace) -> object:
        if HOME.is_set_up:
            raise Failure(
                f"{HOME.folder} is no checkout with the demo in it, and its supervisord stays "
                "as it is: use supervisorctl"
            )
        return run(given)

    return guarded
