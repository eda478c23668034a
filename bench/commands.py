"""What the measuring commands share: their parser, and how their options are read."""

from __future__ import annotations

import argparse
import math

from stack.durations import parse_duration

__all__ = ["duration", "positive", "seconds_range", "share"]


def duration(text: str) -> float:
    """``30s`` or ``2m`` in seconds, more than none."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not seconds:
        raise argparse.ArgumentTypeError("there is nothing to measure in no time")
    return seconds


def positive(text: str) -> float:
    """A number above 0."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def share(text: str) -> float:
    """A number from 0 to 1."""
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: give a number from 0 to 1")
    return number


def seconds_range(text: str) -> tuple[float, float]:
    """``4-8``, in seconds."""
    low, _, high = text.partition("-")
    limits = _number(low), _number(high)
    if not 0 <= limits[0] <= limits[1] < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no range: write it like 4-8, in seconds")
    return limits


def _number(text: str) -> float:
    """``text`` as a number, NaN where it is none: every comparison then fails."""
    try:
        return float(text)
    except ValueError:
        return math.nan
