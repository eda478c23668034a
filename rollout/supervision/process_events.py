"""Pure: what supervisord's own log tells of the processes that it runs.

The sentences are those of Supervisor 4 (``supervisor/process.py``); others are no events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from rollout.base.log_records import Record, parse

__all__ = ["ProcessEvent", "process_event", "process_events", "restarts"]

_PROGRAM = "supervisord"
_SENTENCES = {
    "started": re.compile(r"spawned: '(?P<name>.+)' with pid (?P<detail>\d+)"),
    "ready": re.compile(r"success: (?P<name>.+) entered RUNNING state, .*"),
    "exited": re.compile(r"exited: (?P<name>.+) \((?P<detail>.+)\)"),
    "stopped": re.compile(r"stopped: (?P<name>.+) \((?P<detail>.+)\)"),
    "killed": re.compile(r"killing '(?P<name>.+)' \(\d+\) with (?P<detail>SIGKILL)"),
    "gave-up": re.compile(r"gave up: (?P<name>.+) entered FATAL state, (?P<detail>.*)"),
}

Kind = Literal["started", "ready", "exited", "stopped", "killed", "gave-up"]


@dataclass(frozen=True)
class ProcessEvent:
    """One thing that happened to a process."""

    at: datetime
    process: str
    """As its program is called, without its group."""
    kind: Kind
    detail: str = ""
    """Its process id, or how it ended, in supervisord's words."""

    @property
    def is_bad(self) -> bool:
        """Whether nobody meant it to happen."""
        return self.kind in ("killed", "gave-up") or self.detail.endswith("not expected")

    @property
    def text(self) -> str:
        """As a sentence."""
        return {
            "started": f"{self.process} was started (pid {self.detail})",
            "ready": f"{self.process} runs",
            "exited": f"{self.process} has ended by itself ({self.detail})",
            "stopped": f"{self.process} was stopped ({self.detail})",
            "killed": f"{self.process} did not stop in time, and is killed",
            "gave-up": f"{self.process} is FATAL: supervisord has given it up ({self.detail})",
        }[self.kind]


def process_event(record: Record) -> ProcessEvent | None:
    """The event that a record of supervisord's log tells of; None where it tells of none."""
    said = record.fields["event"]
    for kind, sentence in _SENTENCES.items():
        if found := sentence.fullmatch(said):
            at = datetime.fromtimestamp(record.time, tz=timezone.utc)
            detail = found.groupdict().get("detail", "")
            return ProcessEvent(at, found["name"], kind, detail)  # type: ignore[arg-type]
    return None


def process_events(log: str) -> Iterator[ProcessEvent]:
    """The events in the text of supervisord's log, oldest first."""
    for line in log.splitlines():
        record = parse(_PROGRAM, line)
        if record is not None and (event := process_event(record)):
            yield event


def restarts(events: Iterable[ProcessEvent]) -> dict[str, int]:
    """How often each process has been started again since it was last stopped on purpose.

    A process that is not named has not been seen; of a log whose beginning is missing it is the
    least number.
    """
    found: dict[str, int] = {}
    ended: set[str] = set()
    for event in events:
        found.setdefault(event.process, 0)
        if event.kind == "stopped":
            found[event.process] = 0
            ended.discard(event.process)
        elif event.kind == "exited":
            ended.add(event.process)
        elif event.kind == "started" and event.process in ended:
            found[event.process] += 1
            ended.discard(event.process)
    return found
