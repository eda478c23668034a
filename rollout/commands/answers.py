"""What a command that changes something answers: sentences for a person, JSON for a script.

As JSON the answer is one object, on the last line of what it prints: what it was about, what was
``told``, the ``exit_code``, and the ``error`` where there is one. Whoever waits prints one object a
line before that. What a command prints by itself is among what was ``told``.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TextIO

from rollout.base.exit import Failure, stamp

__all__ = ["answered", "hand_out", "is_json", "line", "note", "say"]

_fields: ContextVar[dict[str, Any] | None] = ContextVar("fields", default=None)
"""What is known of the answer so far; None where a person is answered."""
_stdout: ContextVar[TextIO | None] = ContextVar("stdout", default=None)
"""Where a script reads, while what is printed is kept for the answer."""


def is_json() -> bool:
    """Whether a script is answered."""
    return _fields.get() is not None


def say(sentence: str, **fields: object) -> None:
    """Tell a person ``sentence``, and a script ``fields`` beside it."""
    known = _fields.get()
    if known is None:
        print(sentence)
        return
    known["told"].append(sentence)
    known.update(fields)


def note(**fields: object) -> None:
    """What a script is told, and no person."""
    if (known := _fields.get()) is not None:
        known.update(fields)


def line(**fields: object) -> None:
    """Print an object of its own, before the answer."""
    print(json.dumps({"time": stamp(), **fields}), file=_stdout.get() or sys.stdout, flush=True)


def hand_out() -> None:
    """Print what is known so far as an object of its own: what follows is another answer."""
    known = _fields.get()
    if known and known["told"]:
        line(**known)
        known["told"].clear()


def answered(command: str, run: Callable[[], int], *, as_json: bool) -> int:
    """What ``run`` returns, once its answer is printed; `Failure` is told and raised again."""
    if not as_json:
        return run()
    known: dict[str, Any] = {"command": command, "told": []}
    before, token = _stdout.set(sys.stdout), _fields.set(known)
    try:
        with contextlib.redirect_stdout(_Kept(known["told"])):
            code = run()
        line(**known, exit_code=code)
    except Failure as failure:
        line(**known, error=str(failure), exit_code=failure.code)
        raise
    finally:
        _fields.reset(token)
        _stdout.reset(before)
    return code


class _Kept(io.StringIO):
    """Keeps what is printed, line by line."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        self._lines.extend(filter(None, lines))
        return len(text)
