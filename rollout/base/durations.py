"""The one reading of durations such as ``30s``, ``10m`` and ``1h30m``, and how one is told."""

from __future__ import annotations

import math
import re

__all__ = ["about", "parse_duration"]

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER = r"\d+(?:\.\d+)?"
_SHAPE = re.compile("".join(rf"(?:({_NUMBER}){unit}(?![a-z]))?" for unit in _UNITS), re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds in ``text``: numbers with the units d, h, m, s and ms, the largest first.

    Raises `ValueError` with a sentence that says what is wrong. A number needs
    its unit: whether ``5`` means seconds or minutes is not guessed.
    """
    shape = _SHAPE.fullmatch(text.strip())
    if shape is None or shape.lastindex is None:
        raise ValueError(f"{text!r} is not a duration: write it like 30s, 10m or 1h30m")
    return sum(
        float(number) * seconds
        for number, seconds in zip(shape.groups(), _UNITS.values(), strict=True)
        if number is not None
    )


def about(seconds: float) -> str:
    """A length of time in its largest unit, of which it has two or more: ``3 min``, ``90 s``."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{math.ceil(seconds)} s"
