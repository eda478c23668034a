"""Pure: which time a report is about: from the wish for a build to its end, or so far back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rollout.controller.past import Event
from rollout.core.report import Outcome

__all__ = ["Period", "period", "since_the_wish"]

_USUALLY = timedelta(hours=1)
_ROUTED = ("routing.ramp-set", "routing.current-set")
_ENDS = ("rollback.begun", "version.blocked", "version.blocked-seen")
_TARGET = re.compile(r'target = "(?P<now>[^"]+)"(?: \(was "(?P<before>[^"]+)"\))?')


@dataclass(frozen=True)
class Period:
    """One rollout, or a time."""

    target: str
    previous: str | None
    began: datetime
    ended: datetime
    outcome: Outcome
    reason: str


def period(
    events: Sequence[Event], target: str, reason: str, now: datetime, since: float | None = None
) -> Period:
    """The last rollout to ``target`` that the ``events`` tell of; with ``since`` so many seconds.

    ``reason`` is what the plan says now, which counts while it is under way.
    """
    wish = _wish(events, target)
    routed = next((e for e in events if e.name in _ROUTED and e.build_id == target), None)
    previous = wish[1] if wish else None
    began = wish[0].at if wish else routed.at if routed else now - _USUALLY
    if since is not None:
        began = now - timedelta(seconds=since)
    for event in events:
        if event.at < began:
            continue
        if event.name in _ENDS and event.build_id == target:
            return Period(target, previous, began, event.at, "rolled back", event.text)
        if event.name == "plan.changed" and event.text.startswith("complete: "):
            reason = event.text.removeprefix("complete: ")
            return Period(target, previous, began, event.at, "complete", reason)
    return Period(target, previous, began, now, "under way", reason)


def since_the_wish(way: Period, events: Sequence[Event]) -> Period:
    """``way`` from when somebody wanted its target, where the ``events`` tell of that."""
    wish = _wish(events, way.target)
    if wish is None or wish[0].at > way.began:
        return way
    return replace(way, began=wish[0].at, previous=way.previous or wish[1])


def _wish(events: Sequence[Event], target: str) -> tuple[Event, str | None] | None:
    """The last change of rollout.toml that has made ``target`` the target, and what was before."""
    for event in reversed(events):
        if event.name == "config.changed" and (found := _TARGET.search(event.text)):
            return (event, found["before"]) if found["now"] == target else None
    return None
