"""Who has given which command here: a record for each that changes something, in commands.log."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rollout.base import settings
from rollout.base.exit import Failure, stamp
from rollout.base.log_files import COMMANDS_LOG

__all__ = ["noted", "shown"]

_MOST = 1024 * 1024
"""Bytes; then it is put aside as commands.log.1, in the place of the one before."""
_TELLING = ("--to", "--from", "--strategy", "--timeout")
"""Options whose value is written down; another's may be a secret, as what follows ``--``."""


@contextlib.contextmanager
def noted(command: str, words: Sequence[str], deployment: str | None) -> Iterator[list[int]]:
    """Leave a record of ``command`` with its ``words`` once it has ended, whatever it came to.

    Its exit code is put into the list that this yields. What cannot be written down is not: a
    command is for what it does.
    """
    code: list[int] = []
    error: str | None = None
    try:
        yield code
    except Failure as failure:
        code, error = [failure.code], str(failure)
        raise
    finally:
        _write(
            {
                "timestamp": stamp(),
                "level": "info",
                "event": "command",
                "event_name": "command.done",
                "service.name": "command",
                "deployment_name": deployment,
                "command": shown(command, words),
                "who": _person(os.environ),
                "exit_code": code[0] if code else None,
                **({"error": error} if error else {}),
            }
        )


def shown(command: str, words: Sequence[str]) -> str:
    """``command`` with those of its ``words`` that are surely no secret."""
    told = [command]
    before: str | None = None
    for word in words:
        if word == "--":
            break
        if word.startswith("-"):
            name, has_value, _ = word.partition("=")
            told.append(word if not has_value or name in _TELLING else f"{name}=...")
        elif before is None or not before.startswith("-") or before in _TELLING:
            told.append(word)
        before = word
    return " ".join(told)


def _person(environ: Mapping[str, str]) -> str:
    """Who has typed it, as far as anybody here can know."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without that user
        user = str(os.getuid())
    behind = environ.get("SUDO_USER")
    return f"{behind} (as {user})" if behind and behind != user else user


def _write(record: Mapping[str, object]) -> None:
    path: Path = settings.LOG_DIR / f"{COMMANDS_LOG}.log"
    with contextlib.suppress(OSError):
        if not path.parent.is_dir():
            return
        if path.exists() and path.stat().st_size > _MOST:
            path.replace(path.with_name(f"{path.name}.1"))
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{json.dumps(record)}\n")
