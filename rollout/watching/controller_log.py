"""The controller's last actions, read from the end of its log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from rollout.watching.view import Event
from stack.log_records import Record, parse

__all__ = ["ControllerLog"]

_TAIL = 64 * 1024
"""So many bytes from the end are read; a record is about 200."""
_LAST = 5


class ControllerLog:
    """The log of the program `rollout` in ``folder``, for one deployment."""

    def __init__(self, folder: Path, deployment: str) -> None:
        self._file = folder / "rollout.log"
        self._deployment = deployment
        self._read: tuple[int, int] | None = None
        self._events: tuple[Event, ...] = ()

    def events(self) -> tuple[Event, ...]:
        """The last actions, oldest first; none where the log cannot be read."""
        try:
            state = self._file.stat()
            if self._read != (state.st_ino, state.st_size):
                self._events = tuple(self._actions())[-_LAST:]
                self._read = (state.st_ino, state.st_size)
        except OSError:  # not written yet, being rotated, or somebody else's
            return self._events
        return self._events

    def _actions(self) -> Iterator[Event]:
        with self._file.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL))
            lines = log.read().decode("utf-8", errors="replace").splitlines()
        for line in lines:
            record = parse("rollout", line)
            if record and record.fields.get("deployment_name") in (None, self._deployment):
                text = _sentence(record)
                if text:
                    yield Event(datetime.fromtimestamp(record.time, tz=timezone.utc), text)


def _sentence(record: Record) -> str | None:
    """What the controller did, or could not do; None for a record of anything else."""
    fields = record.fields
    if fields["event"] == "done":
        return f"rollout: {fields.get('action')}"
    if fields["event"] == "refused":
        return str(fields.get("reason"))
    return None
