"""A synthetic deployment: server, visibility and supervisord, on a clock of its own.

It follows the rules of the real ones: what a routing change does to statuses,
when a version drains, and what is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from rollout.core.actions import (
    Action,
    Block,
    ClaimManager,
    ClearRamp,
    Declare,
    DeleteVersion,
    JoinSet,
    LiftBlock,
    MoveRuns,
    Plan,
    RemoveProgram,
    ScaleProgram,
    SetCurrent,
    SetRamp,
    StartGate,
    StartProgram,
    StopProgram,
    Verify,
)
from rollout.core.config import RolloutConfig
from rollout.core.config_file import parse
from rollout.core.held import Held
from rollout.core.observation import (
    BuildSample,
    GateRun,
    Measurements,
    Observation,
    Processes,
    Ramp,
    Version,
)
from rollout.core.plan import plan
from rollout.core.verdict import safe_to_stop
from rollout.core.zeros import zeros

__all__ = ["ME", "T0", "SyntheticDeployment", "config", "fresh", "routing", "seen", "version"]

T0 = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)
ME = "rollout@here"


def config(
    pace: str = "progressive",
    *,
    target: str = "v2",
    baseline: str = "v1",
    paused: bool = False,
    rollback: bool | str = False,
    unblock: str = "",
    ignore_missing_task_queues: bool = False,
    more: str = "",
) -> RolloutConfig:
    """The shipped pace, towards ``target``; ``more`` is added to the file."""
    return _parsed(
        f"""
        [deployment]
        name = "d"
        task_queue = "q"
        baseline = "{baseline}"
        target = "{target}"
        pace = "{pace}"
        paused = {str(paused).lower()}
        {f'rollback = "{target if rollback is True else rollback}"' if rollback else ""}
        unblock = [{f'"{unblock}"' if unblock else ""}]
        ignore_missing_task_queues = {str(ignore_missing_task_queues).lower()}
        [progressive]
        settle = "20s"
        steps = [{{ percentage = 10, pause = "30s" }}, {{ percentage = 50, pause = "30s" }}]
        {more}
        """
    )


@functools.cache
def _parsed(text: str) -> RolloutConfig:
    """Read once: properties ask for the same few thousands of times."""
    return parse(text)


def version(build_id: str, status: str = "inactive", **known: object) -> Version:
    """A version with a live worker that has declared itself incompatible."""
    values: dict[str, object] = {
        "strategy": "incompatible",
        "version_set": build_id,
        "created_at": T0 - timedelta(minutes=5),
        "open_runs": 0,
        "backlog": 0,
        "workers": 1,
        "process": "RUNNING",
    }
    values |= {"zero_since": T0 - timedelta(minutes=1), **known}
    return Version(build_id, status, **{"open_pinned": values["open_runs"], **values})  # type: ignore[arg-type]


def fresh(build_id: str, strategy: str = "incompatible") -> Version:
    """A version as it appears, before it belongs to a set."""
    return version(build_id, strategy=strategy, version_set=None)


def seen(*versions: Version, **known: object) -> Observation:
    """An observation at T0 of a deployment that this planner manages."""
    values: dict[str, object] = {"deployment": "d", "namespace": "n", "at": T0, "manager": ME}
    values |= {"unassigned": 0, "stuck": 0}
    return Observation(versions=versions, **{**values, **known})  # type: ignore[arg-type]


def routing(deployment: SyntheticDeployment) -> list[tuple[int, Action]]:
    """What the server was asked to route, and when."""
    routed = (SetCurrent, SetRamp, ClearRamp, MoveRuns)
    return [(at, action) for at, action in deployment.history if isinstance(action, routed)]


def healthy(target: str, current: str) -> Measurements:
    """Many samples, and nothing wrong with any of them."""

    def sample(build_id: str) -> BuildSample:
        return BuildSample(build_id, activities=500, workflows=500)

    return Measurements(60, sample(target), sample(current))


@dataclass
class SyntheticDeployment:
    """What the controller sees and changes; the fields may be set to make things go wrong."""

    now: datetime = T0
    state: Observation = field(default_factory=lambda: seen(exists=False, manager=""))
    history: list[tuple[int, Action]] = field(default_factory=list)
    gate_outcome: Callable[[int], str] = lambda _attempt: "passed"
    verify_outcome: str = "passed"
    measure: Callable[[str, str], Measurements | None] = healthy
    zeros: Mapping[str, datetime] = field(default_factory=dict)
    held: Held = field(default_factory=Held)
    """What the controller remembers of the step that it holds."""

    def register(self, build: Version) -> None:
        """A first worker of the build polls."""
        build = replace(build, created_at=self.now - timedelta(seconds=30))
        self.state = replace(self.state, exists=True, versions=(*self.state.versions, build))

    def change(self, build_id: str, **values: object) -> None:
        """Something about a version changes; its runs are pinned unless said otherwise."""
        if "open_runs" in values:
            values = {"open_pinned": values["open_runs"], **values}
        self.state = replace(
            self.state,
            versions=tuple(
                _with(v, values) if v.build_id == build_id else v for v in self.state.versions
            ),
        )

    def observe(self, target: str) -> Observation:
        """What a controller would see now."""
        self._settle()
        counts = {v.build_id: v.holding for v in self.state.versions}
        self.zeros = zeros(self.zeros, counts, self.now)
        versions = (
            _with(v, {"zero_since": self.zeros.get(v.build_id)}) for v in self.state.versions
        )
        self.state = replace(self.state, versions=tuple(versions))
        measurements = None
        if self.state.ramping and self.state.current:
            measurements = self.measure(target, self.state.current)
        return replace(self.state, at=self.now, measurements=measurements)

    def run(
        self, intent: RolloutConfig, seconds: int, period: int = 1, die_after: int | None = None
    ) -> Plan:
        """Observe, plan and act every ``period`` seconds; returns the last plan.

        With ``die_after`` the controller is killed after so many actions, in
        the middle of a plan if that is where they end.
        """
        for _ in range(0, seconds, period):
            looked = self.observe(intent.deployment.target)
            decided = plan(intent, looked, self.now, ME, held=self.held.up_to(looked))
            self.held = self.held.after(looked, decided)
            for action in decided.actions:
                if len(self.history) == die_after:
                    return decided
                self.apply(action)
            self.now += timedelta(seconds=period)
        return decided

    def apply(self, action: Action) -> None:
        """Do what the real ones do, and fail where they would refuse or harm would be done."""
        self.history.append((int((self.now - T0).total_seconds()), action))
        match action:
            case ClaimManager():
                self.state = replace(self.state, manager=ME)
            case SetCurrent() | SetRamp() | ClearRamp():
                self._apply_routing(action)
            case (
                StopProgram() | StartProgram() | ScaleProgram() | RemoveProgram() | DeleteVersion()
            ):
                self._apply_to_program(action)
            case Declare() | JoinSet():
                self._apply_declaration(action)
            case MoveRuns(source, target):
                moved = self.state.version(source).open_runs or 0
                self.change(target, open_runs=(self.state.version(target).open_runs or 0) + moved)
                self.change(source, open_runs=0)
            case Block(build_id, reason):
                self.change(build_id, blocked=reason)
            case LiftBlock(build_id):
                self.change(build_id, blocked=None, unblocked=True)
            case Verify(build_id, source):
                known = self.state.version(build_id).verified
                self.change(build_id, verified={**known, source: self.verify_outcome})
            case StartGate(_, task_queue, attempt):
                run = GateRun(task_queue, attempt, self.gate_outcome(attempt), "boom")  # type: ignore[arg-type]
                self.state = replace(self.state, gates=(*self.state.gates, run))

    def _apply_declaration(self, action: Declare | JoinSet) -> None:
        match action:
            case Declare(build_id, strategy, fingerprint):
                said = {"strategy": strategy, "fingerprint": fingerprint}
                self.change(build_id, **{name: text for name, text in said.items() if text})
            case JoinSet(build_id, version_set):
                self.change(build_id, version_set=version_set)

    def _apply_routing(self, action: SetCurrent | SetRamp | ClearRamp) -> None:
        state, ramping = self.state, self.state.ramping
        match action:
            case SetCurrent(""):
                self.state = replace(state, current=None, current_changed_at=self.now)
            case SetCurrent(build_id):
                assert state.version(build_id).status != "unregistered", "NOT_FOUND"
                if ramping and ramping.build_id == build_id:
                    ramping = None
                self.state = replace(
                    state, current=build_id, current_changed_at=self.now, ramping=ramping
                )
                self._activate(build_id)
                self.change(build_id, last_current_at=self.now)
            case SetRamp(build_id, percentage):
                assert build_id != state.current, "FAILED_PRECONDITION"
                assert ramping is None or ramping.build_id == build_id, "two ramps"
                ramp = Ramp(build_id, percentage)
                self.state = replace(state, ramping=ramp, ramping_changed_at=self.now)
                self._activate(build_id)
            case ClearRamp():
                self.state = replace(state, ramping=None, ramping_changed_at=self.now)

    def _activate(self, build_id: str) -> None:
        if self.state.version(build_id).first_activated_at is None:
            self.change(build_id, first_activated_at=self.now)

    def _apply_to_program(
        self, action: StopProgram | StartProgram | ScaleProgram | RemoveProgram | DeleteVersion
    ) -> None:
        target = action.build_id
        match action:
            case StopProgram(build_id):
                verdict = safe_to_stop(self.observe(target), build_id, None, self.now)
                assert verdict.safe_to_stop, f"{build_id} was stopped: {verdict.evidence}"
                self.change(build_id, process="STOPPED", workers=0)
            case StartProgram(build_id):
                self.change(build_id, process="RUNNING", workers=1)
            case ScaleProgram(build_id, number):
                here = Processes(number, number, number)
                self.change(build_id, processes=here, worker_processes={"here": number})
            case RemoveProgram(build_id):
                assert self.state.version(build_id).process == "STOPPED"
                self.change(build_id, process=None)
            case DeleteVersion(build_id):
                version = self.state.version(build_id)
                assert version.status in ("drained", "inactive"), "FAILED_PRECONDITION"
                assert version.workers == 0, "the version has pollers"
                left = tuple(v for v in self.state.versions if v.build_id != build_id)
                self.state = replace(self.state, versions=left)

    def _settle(self) -> None:
        """Give every version the status that the routing and its runs call for."""
        for version in self.state.versions:
            status = "inactive"
            if version.build_id == self.state.current:
                status = "current"
            elif self.state.ramping and version.build_id == self.state.ramping.build_id:
                status = "ramping"
            elif version.first_activated_at is not None:
                status = "draining" if version.holding else "drained"
            if status != version.status:
                since = self.now if status == "drained" else None
                self.change(version.build_id, status=status, drained_since=since)


def _with(version: Version, values: Mapping[str, object]) -> Version:
    """``version`` with other ``values``; itself where they are its own."""
    if all(getattr(version, name) == value for name, value in values.items()):
        return version
    return replace(version, **values)  # type: ignore[arg-type]
