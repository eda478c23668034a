"""The one argument parser, and how options are read: one line for a wrong call."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from rollout.base.durations import parse_duration
from rollout.base.exit import Misuse

__all__ = ["Parser", "count", "duration", "port", "positive", "seconds_range", "share"]


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line that names the help, exit code 2."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - argparse's own
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        # What reads a program's command line (`rollout.supervision.programs`) takes no
        # flag's beginning for the whole of it either.
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)

    def parse_known_args(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse does; the words after ``--`` are those of the argument ``verbatim`` names.

        argparse finds no place for them where an option stands before, and takes out each ``--``.
        """
        words = list(sys.argv[1:] if args is None else args)
        name = self.get_default("verbatim")
        if name is None or "--" not in words:
            return super().parse_known_args(words, namespace)
        place = words.index("--")
        found, unknown = super().parse_known_args(words[:place], namespace)
        getattr(found, name).extend(words[place + 1 :])
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Raise `Misuse`, which `rollout.base.exit.run` turns into the line."""
        raise Misuse(f"{message}; see `{self.prog} --help`")


def duration(text: str) -> float:
    """``30s`` or ``2m``, in seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> float:
    """A number above 0."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def count(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: give a number from 0 to 1")
    return number


def seconds_range(text: str) -> tuple[float, float]:
    """``20-60``, or ``20`` alone, in seconds."""
    low, _, high = text.partition("-")
    limits = _number(low), _number(high or low)
    if not 0 <= limits[0] <= limits[1] < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a range: write it like 20-60, in seconds"
        )
    return limits


def port(text: str) -> int:
    """A TCP port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 1 to 65535")
    return int(text)


def _number(text: str) -> float:
    """``text`` as a number, NaN where it is none: every comparison then fails."""
    try:
        return float(text)
    except ValueError:
        return math.nan
