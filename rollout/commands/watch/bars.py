"""Shares as bars and counts as trend lines, in block characters or in plain ASCII."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ASCII", "BLOCKS", "Glyphs", "bar", "glyphs_for", "trend"]


@dataclass(frozen=True)
class Glyphs:
    """The characters that a picture is made of."""

    fills: str
    """The last cell of a bar, from nearly empty to full."""
    empty: str
    levels: str
    """A count, from none to the most."""
    done: str
    here: str
    ahead: str


BLOCKS = Glyphs(fills="▏▎▍▌▋▊▉█", empty="░", levels="▁▂▃▄▅▆▇█", done="✓", here="▶", ahead="·")
ASCII = Glyphs(fills="#", empty=".", levels="_.:-=+*#", done="x", here=">", ahead="-")


def glyphs_for(encoding: str) -> Glyphs:
    """What a terminal of this encoding can show."""
    try:
        (BLOCKS.fills + BLOCKS.levels + BLOCKS.empty + BLOCKS.done + BLOCKS.here).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def bar(share: float, width: int, glyphs: Glyphs = BLOCKS) -> str:
    """``share`` (0 to 1) of ``width`` cells; any share above 0 shows, and only 1 fills it."""
    parts = len(glyphs.fills)
    cells = min(max(share, 0.0), 1.0) * width * parts
    # Rounded up at the low end and down at the high one: 0.1 % is not nothing, 99.9 % not all.
    filled = math.ceil(cells) if cells < width * parts / 2 else math.floor(cells)
    whole, rest = divmod(filled, parts)
    text = glyphs.fills[-1] * whole + (glyphs.fills[rest - 1] if rest else "")
    return text.ljust(width, glyphs.empty)


def trend(counts: Sequence[int | None], width: int, glyphs: Glyphs = BLOCKS) -> str:
    """``counts``, oldest first, in at most ``width`` characters, the highest of them at the top.

    More counts than characters are taken together, each group at its highest; a count that
    is not known leaves a blank.
    """
    groups = _groups(counts, width)
    most = max((count for count in groups if count is not None), default=0)
    top = len(glyphs.levels) - 1
    return "".join(
        " " if count is None else glyphs.levels[math.ceil(count / most * top) if most else 0]
        for count in groups
    )


def _groups(counts: Sequence[int | None], width: int) -> list[int | None]:
    size = max(1, math.ceil(len(counts) / width))
    # From the newest backwards, so that the last group is always whole.
    ends = range(len(counts), 0, -size)
    groups = [counts[max(0, end - size) : end] for end in ends]
    return [max((c for c in group if c is not None), default=None) for group in reversed(groups)]
