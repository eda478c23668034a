"""What the words of a command start: a worker, the exporter, Prometheus, or something else.

The words alone tell, whatever stands before them (``/usr/bin/env``, ``nice -n 5``, ``uv run``)
and whichever options Python itself is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

__all__ = ["OURS", "Kind", "Start", "find_start", "last_value"]

Kind = Literal[
    "worker",
    "exporter",
    "controller",
    "load",
    "prometheus",
    "alertmanager",
    "temporal",
    "grafana",
    "other",
]

OURS: tuple[Kind, ...] = ("worker", "exporter", "controller", "load")
"""Those of this project: each serves metrics and needs Temporal."""

_INTERPRETER = re.compile(r"(?:python|pypy)\d*(?:\.\d+)*t?(?:-\w+)?")
_WITH_VALUE = "XW"  # Python's own options, a letter each, that take a word
_LONG_WITH_VALUE = "--check-hash-based-pycs"
_COMMANDS: Mapping[str, Kind | Literal["launcher"]] = {
    "worker": "worker",
    "exporter": "exporter",
    "run": "controller",
    "launch": "launcher",
}
_MODULES: Mapping[str, Kind | Literal["launcher"]] = {
    "workers": "worker",
    "metrics": "exporter",
    "rollout.supervision.launch": "launcher",
    # Program files that were written before have it.
    "stack.launch": "launcher",
}
_SERVERS: Mapping[str, Kind] = {
    "prometheus": "prometheus",
    "alertmanager": "alertmanager",
    "prometheus-alertmanager": "alertmanager",
    "temporal": "temporal",
    "grafana": "grafana",
    "grafana-server": "grafana",
}


@dataclass(frozen=True)
class Start:
    """Which program a command's words start, and what it is told."""

    kind: Kind | Literal["launcher"]
    program: str
    """The word that names what is executed: an interpreter, or a program itself."""
    options: tuple[str, ...]
    """The words after those that say what it is."""


def find_start(words: Sequence[str]) -> Start:
    """The first known program among ``words``; ``other``, by its first word, where there is none.

    What stands behind an interpreter is that interpreter's own: nothing is looked for in it.
    """
    for index, word in enumerate(words):
        name, rest = PurePath(word).name, words[index + 1 :]
        if _INTERPRETER.fullmatch(name):
            return _of_python(word, rest)
        if name == "rollout":
            return _of_rollout(word, rest)
        if name in _SERVERS:
            return Start(_SERVERS[name], word, tuple(rest))
    return Start("other", words[0] if words else "", tuple(words[1:]))


def last_value(words: Sequence[str], flag: str) -> str | None:
    """The value of ``flag VALUE`` or ``flag=VALUE``; the last one counts, as for argparse."""
    value = None
    for index, word in enumerate(words):
        following = words[index + 1 : index + 2]
        if word == "--":
            break
        if word == flag and following and not following[0].startswith("-"):
            value = following[0]
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value


def _of_python(python: str, words: Sequence[str]) -> Start:
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            script = PurePath(word).name
            return _of_rollout(python, tuple(rest)) if script == "rollout" else _other(python, rest)
        if word == _LONG_WITH_VALUE:
            next(rest, None)
        module = None if word.startswith("--") else _module(word, rest)
        if module is not None:
            return _of_module(python, module, tuple(rest))
    return _other(python, rest)


def _module(word: str, rest: Iterator[str]) -> str | None:
    """The module where ``word``, an option or several in one, holds ``-m``; empty for ``-c``."""
    for place, letter in enumerate(word[1:], start=2):
        if letter == "c":
            return ""
        if letter == "m":
            return word[place:] or next(rest, "")
        if letter in _WITH_VALUE:
            if place == len(word):
                next(rest, None)
            return None
    return None


def _of_module(python: str, module: str, words: tuple[str, ...]) -> Start:
    if module == "rollout":
        return _of_rollout(python, words)
    if module == "client" and words[:1] == ("load",):
        return Start("load", python, words[1:])
    return Start(_MODULES.get(module, "other"), python, words)


def _of_rollout(program: str, words: Sequence[str]) -> Start:
    """`rollout COMMAND`; options of `rollout` itself, as --config, may stand before COMMAND."""
    rest = iter(words)
    before: list[str] = []
    for word in rest:
        if word == "--config":
            before += [word, next(rest, "")]
        elif word.startswith("-"):
            before.append(word)
        else:
            return Start(_COMMANDS.get(word, "other"), program, (*before, *rest))
    return Start("other", program, tuple(before))


def _other(program: str, rest: Iterator[str]) -> Start:
    return Start("other", program, tuple(rest))
