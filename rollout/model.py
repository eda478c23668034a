"""The plain data that observing, planning and acting pass to each other.

All times are timezone-aware UTC datetimes. ``None`` means *not known* or *never*,
as each field says; nothing here decides anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

__all__ = [
    "ClaimManager",
    "ClearRamp",
    "Evidence",
    "JoinSet",
    "MoveRuns",
    "Observation",
    "Phase",
    "Plan",
    "Ramp",
    "SetCurrent",
    "SetRamp",
    "Status",
    "Strategy",
    "Verdict",
    "Version",
]

Strategy = Literal["compatible", "incompatible", "new-default-set"]

Status = Literal[
    "unregistered",  # the server does not know it: no worker of it has polled yet
    "created",
    "inactive",
    "ramping",
    "current",
    "draining",
    "drained",
    "unknown",  # the server gives no clear status; never safe
]


@dataclass(frozen=True)
class Version:
    """One build of a worker deployment, as the server, visibility and supervisord see it."""

    build_id: str
    status: Status
    strategy: str | None = None
    version_set: str | None = None
    fingerprint: str | None = None
    created_at: datetime | None = None
    first_activated_at: datetime | None = None
    """When it first became current or ramping: from then on it has its place."""
    drained_since: datetime | None = None
    """When the server last changed its drainage to DRAINED; None while it is not drained."""
    drainage_checked_at: datetime | None = None
    open_runs: int | None = None
    """Running workflows on it by visibility; None where the count failed."""
    backlog: int | None = None
    """Tasks waiting in its queues; None where the server did not say."""
    workers: int | None = None
    """Worker processes whose heartbeat is fresh; None where the list failed."""
    process: str | None = None
    """Its program's state in supervisord (RUNNING, STOPPED, ...); None where there is none."""


@dataclass(frozen=True)
class Ramp:
    """The version that a part of new runs goes to."""

    build_id: str
    percentage: float
    """0 to 100."""


@dataclass(frozen=True)
class Observation:
    """Everything that was read at one moment."""

    deployment: str
    namespace: str
    at: datetime
    exists: bool = True
    """Whether the server knows the deployment."""
    current: str | None = None
    ramping: Ramp | None = None
    current_changed_at: datetime | None = None
    ramping_changed_at: datetime | None = None
    """When the ramping version or its percentage last changed."""
    routing_settled: bool = True
    """Whether the last routing change has reached every task queue (or took longer than the
    server ever needs, and is taken as settled)."""
    conflict_token: bytes = b""
    manager: str = ""
    versions: tuple[Version, ...] = ()
    problems: tuple[str, ...] = ()
    """What could not be read, a sentence each."""

    def version(self, build_id: str) -> Version:
        """The version ``build_id``, `unregistered` where the server does not know it."""
        for version in self.versions:
            if version.build_id == build_id:
                return version
        return Version(build_id, "unregistered")


@dataclass(frozen=True)
class Evidence:
    """One point of a verdict."""

    check: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Verdict:
    """Whether a version's workers may be stopped, and why."""

    build_id: str
    evidence: tuple[Evidence, ...]

    @property
    def safe_to_stop(self) -> bool:
        """True where every point holds; anything unknown is a point that does not."""
        return bool(self.evidence) and all(point.ok for point in self.evidence)


@dataclass(frozen=True)
class ClaimManager:
    """Become the deployment's manager, so that no other identity can change its routing."""


@dataclass(frozen=True)
class JoinSet:
    """Write into a version's metadata which version set it belongs to, before it is routed to."""

    build_id: str
    version_set: str


@dataclass(frozen=True)
class SetCurrent:
    """All new runs go to ``build_id``; this ends a ramp to it."""

    build_id: str


@dataclass(frozen=True)
class SetRamp:
    """``percentage`` (0 to 100) of new runs go to ``build_id``."""

    build_id: str
    percentage: float


@dataclass(frozen=True)
class ClearRamp:
    """All new runs go to the current version."""


@dataclass(frozen=True)
class MoveRuns:
    """Move the running runs of ``source`` to the compatible ``target`` at their next task."""

    source: str
    target: str


Action = ClaimManager | JoinSet | SetCurrent | SetRamp | ClearRamp | MoveRuns

Phase = Literal[
    "waiting",  # for something outside: a worker, the server
    "paused",
    "manual",
    "blocked",  # a person must act
    "progressing",
    "moving",  # the target is current; compatible runs are on their way to it
    "complete",
]


@dataclass(frozen=True)
class Plan:
    """What to do now, and the one sentence that says why, or why nothing."""

    phase: Phase
    reason: str
    actions: tuple[Action, ...] = field(default=())
