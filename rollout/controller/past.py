"""The controller's deeds, read back from its log."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from rollout.base.log_files import LogFile
from rollout.base.log_records import Record, parse
from rollout.controller.events import sentence

__all__ = ["Event", "LogTail", "Source", "all_deeds", "deeds"]

_PROGRAM = "rollout"
_TAIL = 64 * 1024
"""So many bytes from the end are read; a record is about 200."""
_LAST = 5

Source = Literal["controller", "server", "supervisord", "person"]


@dataclass(frozen=True)
class Event:
    """Something that happened, in one sentence."""

    at: datetime
    text: str
    build_id: str | None = None
    """The version that it happened to, where that is known."""
    name: str = ""
    """One of `rollout.core.event_names.EVENTS`; empty in the logs of older releases."""
    source: Source = "controller"
    """Who tells it."""
    percentage: float | None = None
    """Of new runs, where a ramp was set."""
    who: str = ""
    """Which person, where it was one."""


def all_deeds(folder: Path, deployment: str, *, seen: bool = False) -> Iterator[Event]:
    """Everything that the logs in ``folder`` still tell of one deployment, oldest first.

    ``seen`` says whether what the controller only saw is told, too.
    """
    return deeds(LogFile(folder, _PROGRAM).history(), deployment, seen=seen)


class LogTail:
    """The last deeds in the log in ``folder``, for one deployment."""

    def __init__(self, folder: Path, deployment: str) -> None:
        self._file = folder / f"{_PROGRAM}.log"
        self._deployment = deployment
        self._read: tuple[int, int] | None = None
        self._events: tuple[Event, ...] = ()

    def events(self) -> tuple[Event, ...]:
        """A few events, oldest first; none where the log cannot be read."""
        try:
            state = self._file.stat()
            if self._read != (state.st_ino, state.st_size):
                self._events = tuple(self._last_deeds())[-_LAST:]
                self._read = (state.st_ino, state.st_size)
        except OSError:  # not written yet, being rotated, or somebody else's
            return self._events
        return self._events

    def _last_deeds(self) -> Iterator[Event]:
        """Without what is waited for: whoever looks on has the plan itself."""
        return deeds(self._last_records(), self._deployment, waits=False)

    def _last_records(self) -> list[Record]:
        with self._file.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL))
            lines = log.read().decode("utf-8", errors="replace").splitlines()
        return [record for line in lines if (record := parse(_PROGRAM, line))]


def deeds(
    found: Iterable[Record], deployment: str, *, waits: bool = True, seen: bool = False
) -> Iterator[Event]:
    """What the records ``found`` tell of one deployment."""
    for record in found:
        text = sentence(record, waits=waits, seen=seen)
        fields = record.fields
        if text and fields.get("deployment_name") in (None, deployment):
            at = datetime.fromtimestamp(record.time, tz=timezone.utc)
            build_id, name = fields.get("build_id"), str(fields.get("event_name", ""))
            share = fields.get("percentage")
            percentage = float(share) if isinstance(share, (int, float)) else None
            build = str(build_id) if build_id else None
            who = str(fields.get("who", ""))
            yield Event(at, text, build, name, percentage=percentage, who=who)
