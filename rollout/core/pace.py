"""Pure: how often to look. Each question costs the server something, also when nothing happens.

A server answers 10 questions of visibility a second by default, and 50 about worker deployments
(dynamic config ``frontend.namespaceRPS.visibility``, ``frontend.workerDeploymentReadRPS``), to all
who ask together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.core.observation import Observation

__all__ = ["MOVING", "RESTING", "WAITING", "Pace", "pace"]

_NEWS = timedelta(minutes=10)
"""For so long after a change more may follow at any moment."""

_JUST_NOW = timedelta(seconds=30)
"""For so long after one it is likely: a worker that was started registers, and then beats."""


@dataclass(frozen=True)
class Pace:
    """Seconds from one look to the next."""

    routing: float
    """At the routing and the status of each version: one question."""
    parts: float
    """At workers, counts, metadata and backlogs: some ten questions, however many versions."""


WAITING = Pace(routing=1.0, parts=8.0)
"""The wanted version's workers may come at any moment."""
MOVING = Pace(routing=2.0, parts=8.0)
RESTING = Pace(routing=6.0, parts=20.0)


def pace(seen: Observation, wanted: str | None, asked_at: datetime, now: datetime) -> Pace:
    """How soon to look again after ``seen``, where ``wanted`` has been asked for at ``asked_at``.

    An end that is open, such as a drain of weeks, is looked at as seldom as one that is reached.
    """
    quiet = now - max([asked_at, *_changes(seen)])
    if seen.ramping or not seen.routing_settled:
        return MOVING
    if quiet > _NEWS:
        return RESTING
    if wanted and wanted != seen.current and not seen.version(wanted).workers:
        return WAITING
    return RESTING if _is_over(seen, wanted) and quiet > _JUST_NOW else MOVING


def _is_over(seen: Observation, wanted: str | None) -> bool:
    """Whether all new runs go where they should, and nothing is left to drain."""
    if seen.current is None or wanted not in (None, seen.current):
        return False
    if not seen.version(seen.current).workers or seen.stuck != 0:
        return False
    others = [version for version in seen.versions if version.build_id != seen.current]
    return all(v.holding == 0 and v.status not in ("draining", "unknown") for v in others)


def _changes(seen: Observation) -> list[datetime]:
    """When something happened, as far as it is known."""
    times = [seen.current_changed_at, seen.ramping_changed_at]
    for version in seen.versions:
        times += [version.created_at, version.started_at, version.drained_since]
    return [time for time in times if time is not None]
