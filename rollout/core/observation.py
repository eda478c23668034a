"""What was read of a deployment at one moment, as plain data.

All times are timezone-aware UTC datetimes. ``None`` means *not known* or *never*, as each
field says; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from rollout.core.host_notes import Host

__all__ = [
    "STARTABLE",
    "STATUSES",
    "STRATEGIES",
    "STUCK",
    "BuildSample",
    "CheckResult",
    "GateRun",
    "Measurements",
    "Observation",
    "Processes",
    "Ramp",
    "Status",
    "Strategy",
    "Told",
    "Version",
]

Strategy = Literal["compatible", "incompatible", "new-default-set"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


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
STATUSES: tuple[Status, ...] = get_args(Status)
"""Every status, in the order in which dashboards number them."""

STUCK = 10.0
"""Seconds after which a new run without a version waits for something that does not come."""

STARTABLE = ("STOPPED", "EXITED", "FATAL")
"""The states of a program that does not run, and could be started."""


@dataclass(frozen=True)
class Told:
    """What the programs of a version here say of it; None: nothing, or its workers say it."""

    strategy: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Processes:
    """How many processes a version has here, as supervisord sees them."""

    total: int
    """All of them, stopped ones too."""
    running: int
    up: int
    """Those that run, or will by themselves."""
    changing: bool = False
    """Whether one is between two states, or nobody knows in which."""
    scalable: bool = True
    """Whether each has a program of its own, as `rollout add` writes it."""


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
    """Tasks waiting in its queues, approximately; None where the server did not say."""
    waiting_age: float | None = None
    """Seconds for which the oldest of them has waited, approximately; None: not known."""
    open_pinned: int | None = None
    """Of `open_runs` those that cannot go on elsewhere; None where the count failed."""
    zero_since: datetime | None = None
    """When `holding` was first seen to be 0, with nothing else seen since; None while it is not."""
    started: int | None = None
    """Runs that began since the routing last changed and are on it, children left out; None where
    that was not counted."""
    counted_at: datetime | None = None
    """When its open runs were asked for, where older than the rest; None: with it."""
    described_at: datetime | None = None
    """When its metadata and its backlog were asked for; None: with the rest."""
    workers: int | None = None
    """Worker processes whose heartbeat goes on; None where the list failed."""
    returning: int = 0
    """Worker processes that said goodbye moments ago: a restart brings them back."""
    worker_hosts: Mapping[str, int] = field(default_factory=dict)
    """How many of them live on each machine, by the name that they give it."""
    worker_processes: Mapping[str, int] = field(default_factory=dict)
    """How many processes these are on each machine: one may have a worker for each task queue."""
    queues: frozenset[str] | None = None
    """Task queues that its live workers poll; None where the list failed."""
    process: str | None = None
    """Its program's state in supervisord (RUNNING, STOPPED, ...), RUNNING if any of several
    runs; None where there is none."""
    processes: Processes | None = None
    """How many it has here; None where there is none, or supervisord was not read."""
    partly_stopped: bool = False
    """Whether one of several programs could be started, while another runs."""
    started_at: datetime | None = None
    """When the last of its programs here was started; None where none ever was."""
    behavior: str | None = None
    """What its workers declared for workflows that say nothing: pinned or auto-upgrade."""
    behavior_exceptions: str | None = None
    """Its workflows that say something else, as in ``Poll auto-upgrade``; None without any."""
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
    workflows: tuple[str, ...] | None = None
    """What its workers declared that they can run; None: not known."""
    told: Told = Told()
    """What is declared for workers that declare nothing themselves."""

    @property
    def holding(self) -> int | None:
        """The open runs that need its workers; all of them where they cannot be told apart."""
        if self.open_runs is None or self.open_pinned is None:
            return self.open_runs
        return self.open_pinned

    @property
    def auto_upgrading(self) -> int | None:
        """The open runs that go on elsewhere at their next task; None where not known."""
        if self.open_runs == 0:
            return 0
        if self.open_runs is None or self.open_pinned is None:
            return None
        return max(0, self.open_runs - self.open_pinned)

    @property
    def gate_only(self) -> bool:
        """Whether nothing but its gate has ever run on it."""
        routed_once = (self.first_activated_at, self.last_current_at, self.deactivated_at)
        return self.status in ("draining", "drained") and not any(routed_once)

    @property
    def shown_status(self) -> str:
        """Its status for a person: the server calls what only a gate ran on drained."""
        return "gate only" if self.gate_only else self.status

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
    lacks_workflow: bool = False
    """Whether it failed because the build has no such workflow: no other try can pass."""


@dataclass(frozen=True)
class BuildSample:
    """What Prometheus, or the server, has of one build, over the times of `Measurements`."""

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
    """Seconds a workflow task waits for a worker; None with too few samples."""
    end_to_end_p95: float | None = None
    """Seconds from start to end of the runs of `Measurements.compared_type`; None without one."""


@dataclass(frozen=True)
class CheckResult:
    """The value of one of rollout.toml's own queries; None where it gave none."""

    name: str
    value: float | None


@dataclass(frozen=True)
class Measurements:
    """Target against current, from Prometheus or by the server's counts."""

    window: float
    """Seconds back to which latencies were compared."""
    target: BuildSample
    current: BuildSample
    counted: float = 0.0
    """Seconds back to which work and its failures were counted: to the last change of traffic,
    for bounds that hold at all looks need a beginning that stays."""
    compared_type: str | None = None
    """The workflow type whose end-to-end latency speaks most against the target, of those that
    both builds closed often enough."""
    checks: tuple[CheckResult, ...] = ()
    check_problems: tuple[str, ...] = ()
    """Why checks have no value, a sentence each."""
    problem: str | None = None
    """Why nothing could be asked; the numbers mean nothing then."""
    source: Literal["prometheus", "server"] = "prometheus"
    """Who was asked. The server counts runs that ended, and nothing else."""


@dataclass(frozen=True)
class Observation:
    """Everything that was read at one moment."""

    deployment: str
    namespace: str
    at: datetime
    """When its first question was asked, after which the routing was read: nothing of that is newer
    than it claims to be."""
    parts_at: datetime | None = None
    """When everything beside the routing was asked for, where that is older; None: at `at`."""
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
    modifier: str = ""
    """Who changed its routing last, as the server noted it; empty: not known."""
    versions: tuple[Version, ...] = ()
    gates: tuple[GateRun, ...] = ()
    """The tries of the target's gate, of its current round and code."""
    measurements: Measurements | None = None
    """None where nothing ramps, or no analysis is configured."""
    unassigned: int | None = None
    """Running workflows on the deployment's task queues that have no version yet: their first
    task has not been completed; None where the count failed."""
    stuck: int | None = None
    """Of those the ones that have been due for more than `STUCK` seconds."""
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    """Open runs on versions that the server has forgotten, by build id."""
    hosts: tuple[Host, ...] | None = ()
    """The worker hosts with a `rollout host`; None: not known."""
    here: str = ""
    """What the machine is called whose supervisord was asked; empty: none was."""
    wanted: str | None = None
    """What the hosts were told last; see `rollout.core.host_notes`."""
    skewed: tuple[str, ...] = ()
    """Whose clocks are far from ours, a sentence each."""
    throttled: bool = False
    """Whether the server refused questions of this look, because there were too many."""
    problems: tuple[str, ...] = ()
    """What could not be read, a sentence each."""

    @property
    def oldest(self) -> datetime:
        """When its oldest part was asked for, but for versions that say so themselves."""
        return min(self.at, self.parts_at or self.at)

    def version(self, build_id: str) -> Version:
        """The version ``build_id``, `unregistered` where the server does not know it."""
        for version in self.versions:
            if version.build_id == build_id:
                return version
        return Version(build_id, "unregistered")
