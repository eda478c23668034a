"""The plain data that observing, planning and acting pass to each other.

All times are timezone-aware UTC datetimes. As text, an action is a few words for a
log line or a plan. ``None`` means *not known* or *never*,
as each field says; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

__all__ = [
    "STARTABLE",
    "Action",
    "Block",
    "BuildSample",
    "CheckResult",
    "ClaimManager",
    "ClearRamp",
    "DeleteVersion",
    "Evidence",
    "GateRun",
    "JoinSet",
    "LiftBlock",
    "Measurements",
    "MoveRuns",
    "Observation",
    "Phase",
    "Plan",
    "Ramp",
    "RemoveProgram",
    "SetCurrent",
    "SetRamp",
    "StartGate",
    "StartProgram",
    "Status",
    "StopProgram",
    "Strategy",
    "Verdict",
    "Verify",
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


STARTABLE = ("STOPPED", "EXITED", "FATAL")
"""The states of a program that does not run, and could be started."""


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
    queues: frozenset[str] | None = None
    """Task queues that its live workers poll; None where the list failed."""
    process: str | None = None
    """Its program's state in supervisord (RUNNING, STOPPED, ...), RUNNING if any of several
    runs; None where there is none."""
    partly_stopped: bool = False
    """Whether one of several programs could be started, while another runs."""
    started_at: datetime | None = None
    """When the last of its programs here was started; None where none ever was."""
    behavior: str | None = None
    """What its workers declared for workflows that say nothing: pinned or auto-upgrade."""
    blocked: str | None = None
    """Why it must get no traffic: it was rolled back. A new fingerprint lifts it."""
    unblocked: bool = False
    """Whether rollout.toml's `unblock` has lifted a block of this code once."""
    verified: Mapping[str, str] = field(default_factory=dict)
    """For each build whose runs were replayed: ``passed``, or what broke."""
    described: bool = True
    """Whether its metadata could be read; where not, None above says nothing at all."""
    gate_round: int = 0
    """How many times an operator has asked for its gate to be tried again."""
    last_current_at: datetime | None = None
    """When it last became current; None where it never was."""
    deactivated_at: datetime | None = None
    """When it last stopped being current or ramping; None where it is, or never was."""

    @property
    def stopped(self) -> bool:
        """Whether it has a program here that does not run, and could be started."""
        return self.process in STARTABLE


@dataclass(frozen=True)
class Ramp:
    """The version that a part of new runs goes to."""

    build_id: str
    percentage: float
    """0 to 100."""


@dataclass(frozen=True)
class GateRun:
    """One try of the smoke run that is pinned to the target."""

    task_queue: str
    attempt: int
    """Counted from 1."""
    outcome: Literal["running", "passed", "failed"]
    detail: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class BuildSample:
    """What Prometheus has of one build, over the window of `Measurements`."""

    build_id: str
    tasks: float = 0.0
    """Workflow tasks executed, failed ones too."""
    task_failures: float = 0.0
    """A workflow whose code raises, or that cannot be replayed, fails its task again and again
    and never closes."""
    activities: float = 0.0
    """Activities executed, each try by itself, local ones too."""
    activity_failures: float = 0.0
    workflows: float = 0.0
    """Workflows closed, or continued as new."""
    workflow_failures: float = 0.0
    non_determinism: float = 0.0
    """Workflow tasks that failed because the code does not match the history."""
    schedule_to_start_p95: float | None = None
    """Seconds a workflow task waits for a worker; None without samples."""
    end_to_end_p95: float | None = None
    """Seconds from start to end of the runs of `Measurements.compared_type`; None without one."""


@dataclass(frozen=True)
class CheckResult:
    """The value of one of rollout.toml's own queries; None where it gave none."""

    name: str
    value: float | None


@dataclass(frozen=True)
class Measurements:
    """Target against current, from Prometheus, over the last ``window`` seconds."""

    window: float
    target: BuildSample
    current: BuildSample
    compared_type: str | None = None
    """The workflow type whose end-to-end latency speaks most against the target, of those that
    both builds closed often enough."""
    checks: tuple[CheckResult, ...] = ()
    check_problems: tuple[str, ...] = ()
    """Why checks have no value, a sentence each."""
    problem: str | None = None
    """Why Prometheus could not be asked; the numbers mean nothing then."""


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
    gates: tuple[GateRun, ...] = ()
    """The tries of the target's gate, of its current round and code."""
    measurements: Measurements | None = None
    """None where nothing ramps, or no analysis is configured."""
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

    def __str__(self) -> str:
        return "claim the deployment"


@dataclass(frozen=True)
class JoinSet:
    """Write into a version's metadata which version set it belongs to, before it is routed to."""

    build_id: str
    version_set: str

    def __str__(self) -> str:
        return f"put {self.build_id} into the version set {self.version_set}"


@dataclass(frozen=True)
class SetCurrent:
    """All new runs go to ``build_id`` (empty: workers without a version); ends a ramp to it."""

    build_id: str
    ignore_missing_task_queues: bool = False
    """Whether it may be without workers on a task queue that the current version serves."""

    def __str__(self) -> str:
        if not self.build_id:
            return "send new runs to workers without a version"
        return f"make {self.build_id} current"


@dataclass(frozen=True)
class SetRamp:
    """``percentage`` (0 to 100) of new runs go to ``build_id``."""

    build_id: str
    percentage: float
    ignore_missing_task_queues: bool = False

    def __str__(self) -> str:
        return f"ramp {self.build_id} to {self.percentage:g} %"


@dataclass(frozen=True)
class ClearRamp:
    """All new runs go to the current version."""

    def __str__(self) -> str:
        return "end the ramp"


@dataclass(frozen=True)
class MoveRuns:
    """Move the running runs of ``source`` to the compatible ``target`` at their next task."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"move the runs of {self.source} to {self.target}"


@dataclass(frozen=True)
class StartGate:
    """Start a smoke run that is pinned to ``build_id``."""

    build_id: str
    task_queue: str
    attempt: int

    def __str__(self) -> str:
        return f"start the gate of {self.build_id} on {self.task_queue}, try {self.attempt}"


@dataclass(frozen=True)
class Verify:
    """Replay runs of ``source`` on the code of ``build_id``, and note the outcome."""

    build_id: str
    source: str

    def __str__(self) -> str:
        return f"replay runs of {self.source} on {self.build_id}"


@dataclass(frozen=True)
class Block:
    """Note in a version's metadata that it must get no traffic, and why."""

    build_id: str
    reason: str

    def __str__(self) -> str:
        return f"block {self.build_id}"


@dataclass(frozen=True)
class LiftBlock:
    """Take a version's block away, as rollout.toml asks; once for the same code."""

    build_id: str

    def __str__(self) -> str:
        return f"lift the block of {self.build_id}"


@dataclass(frozen=True)
class StopProgram:
    """Stop the workers of a build that is safe to stop."""

    build_id: str

    def __str__(self) -> str:
        return f"stop the workers of {self.build_id}"


@dataclass(frozen=True)
class StartProgram:
    """Start the workers of a build whose runs need them again."""

    build_id: str

    def __str__(self) -> str:
        return f"start the workers of {self.build_id}"


@dataclass(frozen=True)
class RemoveProgram:
    """Remove the program file of a build whose workers are stopped, and unload it."""

    build_id: str

    def __str__(self) -> str:
        return f"remove the program of {self.build_id}"


@dataclass(frozen=True)
class DeleteVersion:
    """Delete the server's record of a version that has neither runs nor workers."""

    build_id: str

    def __str__(self) -> str:
        return f"delete the version {self.build_id}"


Action = (
    ClaimManager
    | JoinSet
    | SetCurrent
    | SetRamp
    | ClearRamp
    | MoveRuns
    | StartGate
    | Verify
    | Block
    | LiftBlock
    | StopProgram
    | StartProgram
    | RemoveProgram
    | DeleteVersion
)

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
