"""The sentence that a process of ours ended with, read from what it wrote, in either form.

`rollout.base.exit.finish` writes it as ``name: sentence``, or where logs are JSON as a record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

__all__ = ["last_words", "sentence"]

_PLAIN = re.compile(r"(?:rollout|workers|metrics|client|connect|launch): (.+)")


def last_words(lines: Iterable[str]) -> str | None:
    """The last of the sentences in ``lines``; None where there is none."""
    return next((told for line in reversed(list(lines)) if (told := sentence(line))), None)


def sentence(line: str) -> str | None:
    """The sentence in ``line``; None where it is any other line."""
    if not line.startswith("{"):
        plain = _PLAIN.fullmatch(line.strip())
        return plain[1] if plain else None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return str(record["event"]) if {"event", "exit_code"} <= record.keys() else None
