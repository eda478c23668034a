"""Pure: names and label values put into PromQL, whatever characters they have."""

from __future__ import annotations

import re

__all__ = ["Pattern", "pattern", "quoted", "selector"]


class Pattern(str):
    """A regular expression, where a plain text means just itself."""

    __slots__ = ()


def pattern(text: str) -> Pattern:
    """What the regular expression ``text`` matches as a whole."""
    return Pattern(text)


def quoted(text: str) -> str:
    """``text`` for the inside of a PromQL string, in double or in single quotes."""
    return re.sub(r"[\\\"'\n]", lambda found: f"\\x{ord(found[0]):02x}", text)


def selector(name: str, **labels: str | tuple[str, ...]) -> str:
    """The series called ``name`` whose ``labels`` are as given; of a tuple, one of its texts.

    A `Pattern` is matched.
    """
    matchers = [_matcher(label, wanted) for label, wanted in labels.items()]
    return f"{name}{{{','.join(matchers)}}}" if matchers else name


def _matcher(label: str, wanted: str | tuple[str, ...]) -> str:
    if isinstance(wanted, Pattern):
        return f'{label}=~"{quoted(wanted)}"'
    if isinstance(wanted, str):
        return f'{label}="{quoted(wanted)}"'
    return f'{label}=~"{quoted("|".join(map(re.escape, wanted)))}"'
