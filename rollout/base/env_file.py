"""A file of environment variables, ``NAME=value`` a line, as systemd and Docker read them.

Blank lines, lines that begin with ``#`` and the word ``export`` are passed over; a value may
stand in quotes, which are taken off. Nothing is expanded.
"""

from __future__ import annotations

import re
from pathlib import Path

from rollout.base.exit import Failure

__all__ = ["read_env_file"]

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def read_env_file(path: Path) -> dict[str, str]:
    """The variables in ``path``. Raises `Failure` that names the line, and never its value."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Failure(f"{path} cannot be read: {reason}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None or "\0" in stripped:
            raise Failure(f"{path}, line {number}, is not NAME=value")
        found[match[1]] = _unquoted(match[2])
    return found


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value
