"""rollout.toml as text: its tables, what makes it no TOML, and changes that keep its comments.

tomlkit knows where everything stands and keeps what a person wrote, and takes fifteen times as long
as the standard library's reader, which Python 3.10 has not. So it is left for where that counts.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

__all__ = ["NotToml", "changed", "tables"]


class NotToml(Exception):  # noqa: N818
    """What makes a text no TOML, in a few words, and its line, from 1, where that is certain."""

    def __init__(self, said: str, line: int | None) -> None:
        super().__init__(said)
        self.line = line


def tables(text: str) -> dict[str, Any]:
    """What ``text`` says, as plain dicts and values. Raises `NotToml`."""
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415

        with suppress(tomllib.TOMLDecodeError):
            return tomllib.loads(text)
    import tomlkit  # noqa: PLC0415 - see above
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    from rollout.core.config_lines import line_of_mistake, without_place  # noqa: PLC0415

    try:
        return tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        said = without_place(error)
        twice = re.fullmatch(r'Key "(.+)" already exists', said)
        line = line_of_mistake(text, error)
        raise NotToml(f"{twice[1]} is there twice" if twice else said, line) from error


def changed(text: str, table: str, values: Mapping[str, str | bool | None]) -> str:
    """``text`` with keys of one table set, or removed where they are None; the rest as it was."""
    import tomlkit  # noqa: PLC0415 - see above

    document = tomlkit.parse(text)
    section: Any = document.setdefault(table, tomlkit.table())
    for key, value in values.items():
        if value is None:
            section.pop(key, None)
        else:
            section[key] = value
    return tomlkit.dumps(document)
