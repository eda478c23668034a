"""`rollout completion`: what a shell needs to complete our words, and completing them.

The parsers themselves say what may follow (argcomplete), so nothing here is to be kept in step.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

import argcomplete
from argcomplete.shell_integration import shellcode

from rollout.base.command_line import Parser
from rollout.base.exit import Failure, Misuse
from rollout.base.server import asked_server
from rollout.commands.command_table import COMMANDS, command_parser
from rollout.controller.last_good import follow
from rollout.controller.snapshot import Unanswered, read

__all__ = ["complete", "completion"]

_SHELLS = ("bash", "zsh", "fish")


def completion(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout completion``."""
    parser.description = (
        "Print what a shell needs to complete commands, options and build ids: "
        "source <(rollout completion bash), the same for zsh after compinit, or "
        "rollout completion fish | source."
    )
    parser.add_argument("shell", choices=_SHELLS, metavar="bash|zsh|fish")
    parser.set_defaults(run=_completion)


def _completion(arguments: argparse.Namespace) -> int:
    print(shellcode(["rollout"], shell=arguments.shell))
    return 0


def complete() -> None:
    """Complete the line that the shell gives in its environment, and end this process."""
    argcomplete.autocomplete(_parser(os.environ.get("COMP_LINE", "")), always_complete_options=True)
    sys.exit(1)


def _parser(line: str) -> argparse.ArgumentParser:
    """Of the whole command line, with the arguments of the one command that it names."""
    parser = Parser(prog="rollout")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--config", metavar="FILE")
    commands = parser.add_subparsers(metavar="COMMAND")
    named = {word for word in _words(line) if word in COMMANDS}
    for name, command in COMMANDS.items():
        # The others would take long to import, and are not asked for.
        parents = [_with_builds(command_parser(name))] if name in named else []
        commands.add_parser(name, help=command.text, parents=parents, add_help=not parents)
    return parser


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quote that is not closed yet
        return line.split()


def _with_builds(parser: Parser) -> Parser:
    """``parser``, in which each BUILD is completed by those that the controller here knows."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        if action.metavar == "BUILD":
            action.completer = _builds  # type: ignore[attr-defined]
    return parser


def _builds(parsed_args: argparse.Namespace, **_others: object) -> Iterable[str]:
    """The build ids that the controller here saw last; none where it does not answer."""
    from rollout.base.settings import ROLLOUT_FILE  # noqa: PLC0415 - it may refuse the home's files

    try:
        name = follow(Path(parsed_args.config or ROLLOUT_FILE)).config.deployment.name
        _, seen = read(name, asked_server())
    except (Unanswered, Failure, Misuse):
        return ()
    return [version.build_id for version in seen.versions]
