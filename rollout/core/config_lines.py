"""Where in a TOML text a key stands: its line, where that is certain, and None where it is not.

A place is found by marking it in the parsed document and writing that out again: the mark's line
is the place's. So quoted and dotted keys, inline tables, and tables of any order are found as
TOML reads them, and the answer counts only where the mark has changed no line before it.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Item, Table

__all__ = ["line_of", "line_of_mistake", "without_place"]

_MARK = "~ this place ~"


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line, from 1, of the key or the table header at ``path``; ``("a", "steps", 1)``.

    None where there is no such place, or more than one: a table whose parts lie apart, or one
    that is nowhere begun.
    """
    if not path:
        return None
    document = tomlkit.parse(text)
    try:
        _mark(document, path)
    except (KeyError, IndexError, TypeError, TOMLKitError):
        return None
    before, mark, _ = tomlkit.dumps(document).partition(_MARK)
    line = before.count("\n")
    unmarked = tomlkit.dumps(tomlkit.parse(text)).split("\n")  # blanks in headers are not kept
    same = before.split("\n")[:line] == unmarked[:line] and len(unmarked) == text.count("\n") + 1
    return line + 1 if mark and same else None


def _mark(document: Any, path: Sequence[str | int]) -> None:  # noqa: ANN401 - any container
    *parents, last = path
    place = document
    for part in parents:
        place = place[part]
    found = place[last]
    if isinstance(found, AoT):
        found = found[0]
    if isinstance(found, Table):
        found.comment(_MARK)  # behind its header, where it has one
    elif isinstance(found, Item):
        place[last] = _MARK
    else:
        raise KeyError(last)  # a table whose parts lie apart


def line_of_mistake(text: str, error: TOMLKitError) -> int | None:
    """The line that makes ``text`` fail to parse with ``error``.

    The parser does not tell the line of a key that is there twice, and for a table's it tells
    where that ends: it is the first line with which the text fails in the same way.
    """
    if not re.search(r"already exists|existing", str(error)):
        line: int | None = getattr(error, "line", None)
        return line
    lines = text.splitlines(keepends=True)
    wanted = without_place(error)

    def fails(count: int) -> bool:
        try:
            tomlkit.parse("".join(lines[:count]))
        except TOMLKitError as found:
            return without_place(found) == wanted
        return False

    first = bisect.bisect_left(range(len(lines)), x=True, key=fails)
    key = re.search(r'Key "(.+?)"', str(error))
    certain = first > 0 and (key is None or key[1] in lines[first - 1])
    return first if certain and (first == len(lines) or fails(first)) else None


def without_place(error: TOMLKitError) -> str:
    """What ``error`` says, without the line and column that it may name."""
    return re.sub(r" at line \d+ col \d+$", "", str(error)).rstrip(".")
