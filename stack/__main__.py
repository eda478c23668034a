"""``python -m stack setup|check|up|down|logs``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from stack.command_line import Parser
from stack.exit import finish

_COMMANDS = {
    "setup": ("setup", "install what the stack needs into this folder"),
    "check": ("check", "find what would keep the stack from coming up; start nothing"),
    "up": ("up", "check, start everything, and wait until it is ready"),
    "down": ("down", "stop everything, in order"),
    "logs": ("logs_command", "every process's log, merged by time"),
}
_EPILOG = """\
examples:
  python -m stack up
  python -m stack logs -f --build-id v2 --level warning
  python -m stack down

`python -m stack COMMAND --help` says more.
"""


def _main(argv: Sequence[str]) -> int:
    width = max(map(len, _COMMANDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{what}" for name, (_, what) in _COMMANDS.items())
    parser = Parser(
        prog="python -m stack",
        description=f"Bring the stack up and down, and read its logs.\n\ncommands:\n{commands}",
        epilog=_EPILOG,
    )
    parser.add_argument("command", choices=_COMMANDS, metavar="COMMAND")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...")
    given = parser.parse_args(argv)
    # Imported when asked for: each command needs modules of its own, and some are slow.
    module = importlib.import_module(f"stack.{_COMMANDS[given.command][0]}")
    code: int = module.main(given.rest)
    return code


if __name__ == "__main__":
    finish("stack", lambda: _main(sys.argv[1:]))
