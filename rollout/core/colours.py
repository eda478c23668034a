"""Pure: the one map of colours, so that a build has the same one wherever it is drawn.

The colours are told apart with any of the common colour blindnesses, by hue and by lightness; yet
nothing is ever told by colour alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["COLOURS", "NAMED", "Colour", "build_colours"]


@dataclass(frozen=True)
class Colour:
    """One colour, as hexadecimal RGB on a light and on a dark ground."""

    light: str
    dark: str


COLOURS: Mapping[str, Colour] = {
    "blue": Colour("#0b62b8", "#5aa9f5"),
    "orange": Colour("#b85c00", "#f59b38"),
    "purple": Colour("#8a3ab9", "#c79bf2"),
    "green": Colour("#00755a", "#3fc79a"),
    "red": Colour("#a8324a", "#f08a93"),
    "yellow": Colour("#7d6a00", "#e6d04d"),
}
"""By the names that Grafana's palette has, too. Each has a contrast of 4.5 or more on its ground
(WCAG 2, AA), so that words can be written in it."""

NAMED: Mapping[str, str] = {"v1": "blue", "v1.1": "purple", "v2": "orange"}
"""The demo's builds; every other has its colour by its name."""


def build_colours(build_ids: Iterable[str]) -> dict[str, str]:
    """The name of each build's colour, of builds that are shown together, the oldest first.

    A name leads to the same colour anywhere and at any time; where an older build beside it has
    that colour, the younger takes the next that is free.
    """
    names, found = tuple(COLOURS), dict[str, str]()
    for build_id in build_ids:
        usual = NAMED.get(build_id) or names[zlib.crc32(build_id.encode()) % len(names)]
        place = names.index(usual)
        in_turn = (*names[place:], *names[:place])
        taken = set(found.values())
        found[build_id] = next((name for name in in_turn if name not in taken), usual)
    return found
