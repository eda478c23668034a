"""Pure: what a report of one rollout says, as plain data; its JSON is what scripts read.

Times are in UTC, shares from 0 to 1, durations in seconds. None means that it is not known, and
stands in the page as a question mark.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from rollout.core.observation import Observation
from rollout.core.verdict import safe_to_stop

__all__ = [
    "Build",
    "Curve",
    "Failed",
    "Figures",
    "Happened",
    "Point",
    "Report",
    "Stopping",
    "builds_of",
]

Outcome = Literal["complete", "rolled back", "under way"]


class Happened(msgspec.Struct, frozen=True):
    """One thing that has happened."""

    at: datetime
    name: str
    """One of `rollout.core.event_names.EVENTS`."""
    text: str
    source: str
    build_id: str | None = None
    who: str = ""


class Figures(msgspec.Struct, frozen=True):
    """One build over one part of the time."""

    part: Literal["before", "during", "after"]
    build_id: str
    seconds: float
    completed: float | None = None
    """Runs that closed well."""
    failed: float | None = None
    """Runs that failed."""
    activity_failures: float | None = None
    """Activities that failed, each try by itself."""
    task_failures: float | None = None
    """Workflow tasks that failed."""
    p50: float | None = None
    p95: float | None = None
    """Seconds from start to end, of the workflow type that completes most often."""


class Point(msgspec.Struct, frozen=True):
    """A point of evidence."""

    check: str
    ok: bool
    detail: str


class Stopping(msgspec.Struct, frozen=True):
    """Whether a build may be stopped, as of when the report was made."""

    build_id: str
    safe_to_stop: bool
    evidence: tuple[Point, ...]


class Build(msgspec.Struct, frozen=True):
    """One build that took part."""

    build_id: str
    status: str
    strategy: str | None
    open_runs: int | None
    workers: int | None
    blocked: str | None


class Failed(msgspec.Struct, frozen=True):
    """One run that failed, as the server has it."""

    workflow_id: str
    run_id: str
    workflow_type: str
    build_id: str
    status: str
    closed_at: datetime | None


class Curve(msgspec.Struct, frozen=True):
    """One line of a graph."""

    kind: Literal["meant", "real", "open", "p95", "failures"]
    build_id: str
    values: tuple[tuple[float, float], ...]
    """Seconds since 1970, and the value: a share, runs, or seconds."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout, or a time of a deployment."""

    deployment: str
    namespace: str
    target: str
    previous: str | None
    """The build that got new runs when it began; None where that is not known."""
    outcome: Outcome
    reason: str
    began: datetime
    ended: datetime
    """When it was complete or rolled back; else when the report was made."""
    made_at: datetime
    builds: tuple[Build, ...] = ()
    figures: tuple[Figures, ...] = ()
    curves: tuple[Curve, ...] = ()
    analysis: tuple[tuple[datetime, str, str, int, int], ...] = ()
    """What was counted at each news of the plan: when, build, kind of work, failed, executed."""
    failed: tuple[Failed, ...] = ()
    stopping: tuple[Stopping, ...] = ()
    events: tuple[Happened, ...] = ()
    missing: tuple[str, ...] = ()
    """What could not be found out, a sentence each."""


def builds_of(
    seen: Observation, target: str, now: datetime
) -> tuple[tuple[Build, ...], tuple[Stopping, ...]]:
    """Every build of a look, and what speaks for and against stopping each but the target."""
    builds = tuple(
        Build(v.build_id, v.shown_status, v.strategy, v.open_runs, v.workers, v.blocked)
        for v in seen.versions
    )
    verdicts = (
        safe_to_stop(seen, v.build_id, target, now) for v in seen.versions if v.build_id != target
    )
    stopping = tuple(
        Stopping(
            verdict.build_id,
            verdict.safe_to_stop,
            tuple(Point(p.check, p.ok, p.detail) for p in verdict.evidence),
        )
        for verdict in verdicts
    )
    return builds, stopping
