"""Every command: its name, where it is, and what it is for. A command is imported when it is used.

A command is a function that adds its arguments to a parser and sets ``run``, what is done with
them: a coroutine or a plain function, which returns the exit code.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path

from rollout import __version__
from rollout.base.command_line import Parser
from rollout.base.settings import ROLLOUT_FILE

__all__ = ["COMMANDS", "command_parser", "dispatch"]

_LOOK, _STEER, _VERSIONS, _RUN = "look", "steer", "versions", "run"

COMMANDS: dict[str, tuple[str, str, str]] = {
    # name: group, module (of a function called as the command), what it is for
    "status": (_LOOK, "rollout.commands.status", "show versions, runs, and what is safe to stop"),
    "watch": (_LOOK, "rollout.commands.watch.live", "show the rollout live, until Ctrl-C"),
    "plan": (_LOOK, "rollout.commands.plan", "say what would be done now; exit 3: changes pending"),
    "history": (_LOOK, "rollout.commands.history", "say what has happened, and when"),
    "logs": (_LOOK, "rollout.commands.logs", "show every process's log, merged by time"),
    "check": (_LOOK, "rollout.stack.check", "find what is wrong before anything is started"),
    "to": (_STEER, "rollout.commands.intent", "make a build the target of new runs"),
    "pause": (_STEER, "rollout.commands.intent", "leave traffic as it is"),
    "resume": (_STEER, "rollout.commands.intent", "go on after a pause"),
    "rollback": (_STEER, "rollout.commands.rollback", "send new runs back, at once"),
    "add": (_VERSIONS, "rollout.commands.versions", "start workers of a new build"),
    "verify": (
        _VERSIONS,
        "rollout.commands.versions",
        "replay the current build's runs on another",
    ),
    "retry": (_VERSIONS, "rollout.commands.versions", "lift a block; try gate and replay again"),
    "retire": (_VERSIONS, "rollout.commands.versions", "stop and remove what is safe to stop"),
    "adopt": (_VERSIONS, "rollout.commands.owners", "become the deployment's manager"),
    "release": (_VERSIONS, "rollout.commands.owners", "let anybody change the routing"),
    "run": (_RUN, "rollout.commands.run", "run the controller until SIGTERM or Ctrl-C"),
    "worker": (_RUN, "rollout.commands.worker", "run a worker of one build"),
    "exporter": (_RUN, "rollout.commands.exporter", "serve processes and versions as metrics"),
    "launch": (_RUN, "rollout.supervision.launch", "start a program, tied to supervisord's life"),
    "stack": (_RUN, "rollout.stack.command", "set up, start and stop the demo stack"),
}

_TITLES = {
    _LOOK: "to look",
    _STEER: "to steer",
    _VERSIONS: "versions and their owners",
    _RUN: "to run, mostly under supervisord",
}

_EXAMPLES = """\
examples:
  rollout status              versions, runs, and what may be stopped
  rollout watch               the same, live, until Ctrl-C
  rollout add v3 --strategy incompatible --app shop.workflows
  rollout verify v3           would runs of the current build replay on v3?
  rollout to v3               send new runs to v3, as fast as rollout.toml says
  rollout rollback            back to the version before, at once
  rollout retire v2           stop and remove a version that is no longer needed

`rollout COMMAND --help` says more. Inside supervisorctl: `versions` for the status,
`rollout COMMAND` for the others. `python -m rollout` is the same command.

exit codes: 0 done, 1 failed or refused, 2 wrong call or rollout.toml, 3 `plan` has changes
"""


def dispatch(words: Sequence[str]) -> int:
    """Run the command that ``words`` begin with, and return its exit code."""
    parser = _parser()
    given = parser.parse_args(words)
    command = command_parser(given.command)
    arguments = command.parse_args(given.rest, argparse.Namespace(config=given.config))
    outcome = arguments.run(arguments)
    code: int = asyncio.run(outcome) if inspect.iscoroutine(outcome) else outcome
    return code


def command_parser(name: str, prog: str | None = None) -> Parser:
    """The parser of one command, with its arguments; ``prog`` where another name leads to it."""
    _, module, text = COMMANDS[name]
    parser = Parser(
        prog=prog or f"rollout {name}",
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"example: rollout {name}",
    )
    getattr(importlib.import_module(module), name)(parser)
    return parser


def _parser() -> Parser:
    width = max(map(len, COMMANDS)) + 2
    groups = "\n\n".join(
        f"{title}:\n"
        + "\n".join(
            f"  {name:<{width}}{text}" for name, (of, _, text) in COMMANDS.items() if of == group
        )
        for group, title in _TITLES.items()
    )
    parser = Parser(
        prog="rollout",
        description=f"Move new workflow runs from build to build.\n\n{groups}",
        epilog=_EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"rollout {__version__}")
    parser.add_argument(
        "--config", type=Path, default=ROLLOUT_FILE, metavar="FILE", help="default: rollout.toml"
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...")
    return parser
