"""What must hold of the planner whatever happens: hypothesis makes the trouble."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.core.actions import (
    BLOCKS,
    ClearRamp,
    DeleteVersion,
    RemoveProgram,
    SetCurrent,
    SetRamp,
    StartProgram,
)
from rollout.core.observation import BuildSample, Measurements, Observation, Ramp, Status, Version
from rollout.core.plan import plan
from rollout.core.sunset import sunset
from rollout.core.verdict import target_share
from tests.support.examples import many
from tests.support.synthetic_deployment import ME, T0, SyntheticDeployment, config, fresh, healthy

BUILDS = ("v1", "v2", "v3", "v4")
MORE = """
[gate]
workflow = "Smoke"
[analysis]
max_hold = "60s"
[sunset]
stop = "20s"
delete = "40s"
keep = 0
"""


def away(target: str, current: str) -> Measurements:
    """Prometheus does not answer."""
    return Measurements(60, BuildSample(target), BuildSample(current), problem="no answer")


def failing(target: str, current: str) -> Measurements:
    """Half of the target's activities fail."""
    bad = BuildSample(target, activities=400, activity_failures=200, workflows=400)
    return Measurements(60, bad, BuildSample(current, activities=400, workflows=400))


targets = st.sampled_from(BUILDS)
paces = st.sampled_from(["progressive", "all-at-once", "manual"])
events = st.one_of(
    st.tuples(st.just("target"), targets),
    st.tuples(st.just("pace"), paces),
    st.tuples(st.just("paused"), st.booleans()),
    st.tuples(st.just("register"), targets),
    st.tuples(st.just("workers"), targets, st.sampled_from([None, 0, 1, 3])),
    st.tuples(st.just("open_runs"), targets, st.sampled_from([None, 0, 1, 9])),
    st.tuples(st.just("described"), targets, st.booleans()),
    st.tuples(st.just("stopped"), targets),
    st.tuples(st.just("measure"), st.sampled_from([healthy, away, failing])),
    st.tuples(st.just("gate"), st.sampled_from(["passed", "failed", "running"])),
    st.tuples(st.just("by hand"), targets, st.sampled_from([0, 5, 30, 100])),
    st.tuples(st.just("wait"), st.integers(1, 90)),
)


class Run:
    """A deployment that suffers events, with a controller that looks every few seconds."""

    def __init__(self) -> None:
        self.synthetic = SyntheticDeployment()
        self.intent: dict[str, object] = {"pace": "progressive", "target": "v2", "paused": False}

    def suffer(self, event: tuple[object, ...]) -> None:
        """Let one thing happen."""
        kind, *values = event
        known = {v.build_id for v in self.synthetic.state.versions}
        match kind:
            case "target" | "pace" | "paused":
                self.intent[str(kind)] = values[0]
            case "register":
                if values[0] not in known:
                    self.synthetic.register(fresh(str(values[0])))
            case "workers" | "open_runs" | "described":
                self.synthetic.change(str(values[0]), **{str(kind): values[1]})
            case "stopped":
                self.synthetic.change(str(values[0]), process="STOPPED", workers=0)
            case "measure":
                self.synthetic.measure = values[0]  # type: ignore[assignment]
            case "gate":
                self.synthetic.gate_outcome = lambda _attempt: str(values[0])
            case "by hand":
                self.by_hand(str(values[0]), float(values[1]))  # type: ignore[arg-type]
            case "wait":
                self.go_on(int(values[0]))  # type: ignore[call-overload]

    def by_hand(self, build_id: str, percentage: float) -> None:
        """Somebody uses the `temporal` CLI."""
        state = self.synthetic.state
        if state.version(build_id).status == "unregistered":
            return
        if percentage == 100:
            self.synthetic.apply(SetCurrent(build_id))
        elif state.ramping and percentage == 0:
            self.synthetic.apply(ClearRamp())
        elif build_id != state.current and not state.ramping and percentage:
            self.synthetic.apply(SetRamp(build_id, percentage))

    def config(self) -> object:
        """The intent, as rollout.toml holds it."""
        return config(**self.intent, more=MORE)  # type: ignore[arg-type]

    def go_on(self, seconds: int) -> None:
        """Let the controller work; whatever a real server would refuse is an error."""
        synthetic, intent = self.synthetic, config(**self.intent, more=MORE)  # type: ignore[arg-type]
        for _ in range(seconds):
            seen = synthetic.observe(intent.deployment.target)
            decided = plan(intent, seen, synthetic.now, ME)
            assert (decided.kind in BLOCKS) >= (decided.phase == "blocked"), decided
            assert (decided.kind == "routing") <= (decided.phase == "progressing"), decided
            routed = [a for a in decided.actions if isinstance(a, (SetCurrent, SetRamp, ClearRamp))]
            assert decided.reason, "the ramp never moves, and never waits, without a reason"
            assert len(routed) <= 1, "one routing change at a time"
            for action in routed:
                if isinstance(action, SetRamp):
                    at = seen.ramping.percentage if seen.ramping else 0.0
                    assert action.build_id == intent.deployment.target
                    assert action.percentage > at, "a ramp only rises"
                if isinstance(action, (SetCurrent, SetRamp)):
                    assert seen.version(action.build_id).described, "unreadable is not absent"
                if isinstance(action, (SetCurrent, SetRamp)) and seen.current:
                    assert seen.version(action.build_id).workers, "no traffic to dead workers"
            if intent.deployment.paused or intent.deployment.pace == "manual":
                assert not routed
            for planned in decided.actions:
                synthetic.apply(planned)
            synthetic.now += timedelta(seconds=1)


@settings(max_examples=many(150), deadline=None)
@given(st.lists(events, min_size=3, max_size=25))
def test_whatever_happens(happenings: list[tuple[object, ...]]) -> None:
    """Never two ramps, a fall, dead workers, or a stop with open runs; always a reason."""
    run = Run()
    run.synthetic.register(fresh("v1"))
    run.go_on(3)
    for event in happenings:
        run.suffer(event)
        run.go_on(2)


@settings(max_examples=many(100), deadline=None)
@given(st.lists(events, min_size=3, max_size=20), targets)
def test_it_comes_to_rest(happenings: list[tuple[object, ...]], target: str) -> None:
    """From any state, once all is well, the target becomes current and nothing is left to do."""
    run = Run()
    for build_id in BUILDS:
        run.synthetic.register(fresh(build_id))
    for event in happenings:
        run.suffer(event)
    synthetic = run.synthetic
    for build_id in BUILDS:
        if build_id not in {v.build_id for v in synthetic.state.versions}:
            synthetic.register(fresh(build_id))
        synthetic.change(
            build_id, workers=1, open_runs=0, process="RUNNING", blocked=None, described=True
        )
    synthetic.state = replace(synthetic.state, gates=())
    synthetic.gate_outcome = lambda _attempt: "passed"
    synthetic.measure = healthy
    run.intent = {"pace": "progressive", "target": target, "paused": False}
    run.go_on(300)
    assert synthetic.state.current == target
    seen = synthetic.observe(target)
    assert plan(config(target=target, more=MORE), seen, synthetic.now, ME).actions == ()


versions = st.builds(
    Version,
    build_id=targets,
    status=st.sampled_from(get_args(Status)),
    created_at=st.sampled_from([T0 - timedelta(hours=1), T0 - timedelta(minutes=1)]),
    first_activated_at=st.sampled_from([None, T0 - timedelta(minutes=30)]),
    drained_since=st.sampled_from([None, T0 - timedelta(minutes=9), T0]),
    open_runs=st.sampled_from([None, 0, 1]),
    backlog=st.sampled_from([None, 0, 1]),
    workers=st.sampled_from([None, 0, 1]),
    process=st.sampled_from([None, "RUNNING", "STOPPED", "FATAL"]),
)
observations = st.builds(
    Observation,
    deployment=st.just("d"),
    namespace=st.just("n"),
    at=st.sampled_from([T0, T0 - timedelta(minutes=5)]),
    current=st.one_of(st.none(), targets),
    ramping=st.one_of(st.none(), st.builds(Ramp, targets, st.just(10.0))),
    current_changed_at=st.just(T0 - timedelta(minutes=8)),
    routing_settled=st.booleans(),
    manager=st.just(ME),
    versions=st.lists(versions, max_size=4, unique_by=lambda version: version.build_id).map(tuple),
)


@settings(max_examples=many(500), deadline=None)
@given(observations, targets)
def test_nothing_with_open_runs_is_taken_away(seen: Observation, target: str) -> None:
    """Whatever is observed, only what is known to be safe is stopped, removed or deleted."""
    intent = config(target=target, more=MORE)
    for action in sunset(intent, seen, T0):
        version = seen.version(action.build_id)  # type: ignore[union-attr]
        if isinstance(action, StartProgram):
            assert version.open_runs
            continue
        assert (version.open_runs, version.backlog) == (0, 0)
        assert version.status in ("drained", "inactive")
        assert target_share(seen, version.build_id) == 0
        assert version.build_id not in (target, seen.current)
        assert seen.at == T0, "an old reading proves nothing"
        if isinstance(action, (RemoveProgram, DeleteVersion)):
            assert version.process in ("STOPPED", "FATAL", None)
        if isinstance(action, DeleteVersion):
            assert version.workers == 0
