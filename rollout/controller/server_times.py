"""Pure: the times that the server keeps of a deployment's versions, as events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rollout.controller.past import Event
from rollout.core.observation import Observation

__all__ = ["events_of"]


def events_of(seen: Observation, deeds: Iterable[Event]) -> list[Event]:
    """The events of all versions that the server still knows, and ``deeds``, oldest first.

    The server keeps the latest time of each kind, so a version that was current
    twice shows its last time.
    """
    events = list(deeds)

    def add(at: datetime | None, build_id: str, name: str, text: str) -> None:
        if at is not None:
            events.append(Event(at, text, build_id, f"version.{name}", "server"))

    for version in seen.versions:
        build_id = version.build_id
        add(version.created_at, build_id, "registered", "registered")
        if version.first_activated_at != version.last_current_at:
            add(version.first_activated_at, build_id, "activated", "first got new runs")
        add(version.last_current_at, build_id, "current", "became current")
        add(version.deactivated_at, build_id, "deactivated", "got no more new runs")
        add(version.drained_since, build_id, "drained", "drained")
    if seen.ramping:
        share = f"ramp set to {seen.ramping.percentage:g} %"
        add(seen.ramping_changed_at, seen.ramping.build_id, "ramping", share)
    return sorted(events, key=lambda event: event.at)
