"""Every command and flag, from the parsers themselves."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from client.command_line import command_line
from docs.source.markdown import code, sentence, table
from rollout.commands.command_table import COMMANDS, command_parser

__all__ = ["commands", "variables_of_flags"]


def commands() -> str:
    """A section a command, with its arguments."""
    return "\n\n".join(part for parser in parsers() for part in _sections(parser))


def parsers() -> Iterator[argparse.ArgumentParser]:
    """The parser of each command of ``rollout``, and of the demo's client."""
    for name in COMMANDS:
        yield command_parser(name)
    yield command_line()


def variables_of_flags() -> dict[str, str]:
    """The environment variables that give a worker's flags their defaults, with what they mean."""
    found: dict[str, str] = {}
    for action in command_parser("worker")._actions:  # noqa: SLF001
        match = re.fullmatch(r"(.*) \[([A-Z_]+)\]", action.help or "", re.DOTALL)
        if match:
            found[match[2]] = f"default of `{action.option_strings[0]}`: {sentence(match[1])}"
    return found


def _sections(parser: argparse.ArgumentParser) -> Iterator[str]:
    text = sentence((parser.description or "").partition("\n\n")[0])
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    rows = [_row(parser, action) for action in parser._actions if _is_told(action)]  # noqa: SLF001
    parts = [f"### `{parser.prog}`", f"{text}."]
    if rows:
        parts.append(table(("argument", "meaning"), rows))
    yield "\n\n".join(parts)
    for each in below:
        for inner in each.choices.values():
            yield from _sections(inner)


def _is_told(action: argparse.Action) -> bool:
    return not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))  # noqa: SLF001


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    text = parser._get_formatter()._expand_help(action) if action.help else ""  # noqa: SLF001
    default = action.default
    told = "default" in text or action.nargs == 0 or default in (None, argparse.SUPPRESS, [], ())
    if not told:
        text = f"{text}; default: {_plain(default)}".removeprefix("; ")
    return code(_name(action)), sentence(text)


def _name(action: argparse.Action) -> str:
    """The argument as a person types it, with what it takes."""
    taken = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None:
        taken = "|".join(map(str, action.choices))
    if not action.option_strings:
        return f"{taken} ..." if action.nargs in ("*", "+") else taken
    flags = ", ".join(action.option_strings)
    return flags if action.nargs == 0 else f"{flags} {taken}"


def _plain(default: object) -> str:
    """A default as a person would give it."""
    return f"{default:g}" if isinstance(default, float) else str(default)
