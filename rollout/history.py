"""What has happened to a deployment's versions, from the times that the server keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.table import Table

from rollout.model import Observation

__all__ = ["Event", "as_json", "as_table", "history"]


@dataclass(frozen=True)
class Event:
    """One thing that happened to one version."""

    at: datetime
    build_id: str
    what: str


def history(seen: Observation) -> list[Event]:
    """The events of all versions that the server still knows, oldest first.

    The server keeps the latest time of each kind, so a version that was current
    twice shows its last time.
    """
    events: list[Event] = []

    def add(at: datetime | None, build_id: str, what: str) -> None:
        if at is not None:
            events.append(Event(at, build_id, what))

    for version in seen.versions:
        build_id = version.build_id
        add(version.created_at, build_id, "registered")
        if version.first_activated_at != version.last_current_at:
            add(version.first_activated_at, build_id, "first got new runs")
        add(version.last_current_at, build_id, "became current")
        add(version.deactivated_at, build_id, "got no more new runs")
        add(version.drained_since, build_id, "drained")
    if seen.ramping:
        share = f"ramp set to {seen.ramping.percentage:g} %"
        add(seen.ramping_changed_at, seen.ramping.build_id, share)
    return sorted(events, key=lambda event: (event.at, event.build_id))


def as_json(events: list[Event]) -> list[dict[str, Any]]:
    """The events as scripts read them; times in RFC 3339."""
    return [
        {"at": event.at.isoformat(), "build_id": event.build_id, "event": event.what}
        for event in events
    ]


def as_table(events: list[Event]) -> Table:
    """The events for a person, in local time."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("TIME", "BUILD", "EVENT"):
        table.add_column(name)
    for event in events:
        local = event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(local, event.build_id, event.what)
    return table
