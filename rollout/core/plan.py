"""Pure: configuration and observation in, what to do now and why out.

Nothing here reads a clock or a server. Planning again on what the actions led
to gives the next step, until nothing is left to do: the plan keeps no state,
because the server does.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from rollout.base.names import UNVERSIONED
from rollout.core.actions import (
    Action,
    Block,
    ClaimManager,
    ClearRamp,
    JoinSet,
    LiftBlock,
    MoveRuns,
    Plan,
    SetCurrent,
    SetRamp,
    StartGate,
    StartProgram,
    Verify,
)
from rollout.core.config import Gate, RolloutConfig, Seconds
from rollout.core.judge import Judgement, judge
from rollout.core.observation import GateRun, Observation, Version
from rollout.core.sunset import sunset
from rollout.core.verdict import version_set_of

__all__ = ["plan"]

DECLARATION_TIME = timedelta(seconds=5)
"""A worker declares its strategy right after its version appears. One that has not by then never
will (it is not ours), and counts as incompatible."""


def plan(config: RolloutConfig, seen: Observation, now: datetime, manager: str | None) -> Plan:
    """What to do now. ``manager`` is the identity that this planner acts under.

    With ``manager`` None the deployment is not claimed and no program is touched
    (a worker that takes its place by itself), but a claim of somebody else is
    respected.
    """
    if not seen.exists:
        return Plan("waiting", f"no worker of deployment {config.deployment.name} has polled yet")
    if seen.manager and seen.manager != manager:
        return Plan("blocked", f"{seen.manager} manages this deployment")
    routed = _route(config, seen, now)
    if manager is None:
        return routed
    actions = tuple(dict.fromkeys((*routed.actions, *sunset(config, seen, now))))
    if actions and not seen.manager:
        actions = (ClaimManager(),)
    return Plan(routed.phase, routed.reason, actions)


def _route(config: RolloutConfig, seen: Observation, now: datetime) -> Plan:
    """Where new runs go next: the first question that has an answer decides."""
    for question in (
        _held_by_a_person,
        _out_of_versioning,
        _rollback_begins,
        _cannot_be_described,
        _nothing_is_current,
        _arrived,
        _blocked,
        _rolls_back,
        _another_ramps,
        _not_ready,
        _not_verified,
        _gate_not_passed,
        _all_at_once,
    ):
        if answer := question(config, seen, now):
            return answer
    return _next_step(config, seen, now)


# --- the questions, in their order ---


def _held_by_a_person(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """Nothing is changed, not even where analysis would: then that is said."""
    deployment = config.deployment
    if deployment.paused:
        return Plan("paused", _share("paused in rollout.toml", seen) + _objection(config, seen))
    if deployment.pace == "manual":
        reason = _share('pace is "manual" in rollout.toml', seen)
        return Plan("manual", reason + _objection(config, seen))
    return None


def _out_of_versioning(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """The way back: new runs go to workers without a version, at once."""
    if config.deployment.target != UNVERSIONED:
        return None
    if seen.ramping:
        return _end_ramp(seen, UNVERSIONED)
    if seen.current is None:
        return Plan("complete", "workers without a version take all new runs")
    reason = "new runs go back to workers without a version"
    return Plan("progressing", reason, (SetCurrent(""),))


def _rollback_begins(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """Another build's ramp ends before anything else, for that may be what a rollback is about."""
    target = config.deployment.target
    if not config.deployment.rolls_back or not seen.ramping or seen.ramping.build_id == target:
        return None
    reason = f"rolling back to {target}: {seen.ramping.build_id} gets no more new runs"
    return Plan("progressing", reason, (ClearRamp(),))


def _cannot_be_described(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """Without a version's metadata nobody knows whether it is blocked, or of which set."""
    deployment = config.deployment
    ramping = seen.ramping.build_id if seen.ramping else None
    others = () if deployment.rolls_back else (seen.current, ramping, deployment.baseline)
    for build_id in (deployment.target, *others):
        if build_id and not seen.version(build_id).described:
            return Plan("waiting", _share(f"{build_id} could not be described", seen))
    return None


def _nothing_is_current(config: RolloutConfig, seen: Observation, now: datetime) -> Plan | None:
    """The baseline comes first, or the target where the baseline's workers are gone.

    Where nothing has ever been current, new runs wait in any case, so that a live
    worker is not waited for. Later they may be with workers without a version.
    """
    if seen.current is not None:
        return None
    target = config.deployment.target
    baseline = config.deployment.baseline or target
    if any(version.last_current_at for version in seen.versions):
        builds = [seen.version(build) for build in (baseline, target)]
        alive = [v.build_id for v in builds if v.workers and not v.blocked]
        if not alive:
            return _blocked(config, seen, now) or _no_one_alive(config, seen, baseline)
        baseline = alive[0]
    if waiting := _unknown(seen.version(baseline), now):
        return Plan("waiting", waiting)
    return _with_set(seen, baseline, SetCurrent(baseline), "nothing is current yet")


def _no_one_alive(config: RolloutConfig, seen: Observation, baseline: str) -> Plan:
    """New runs wait for workers; those that are to be gone back to may be started."""
    target = seen.version(config.deployment.target)
    start = config.deployment.rolls_back and target.stopped
    named = " or ".join(dict.fromkeys((baseline, target.build_id)))
    reason = f"no build to make current: no live worker of {named} that is not blocked"
    return Plan("waiting", reason, (StartProgram(target.build_id),) if start else ())


def _arrived(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """The target is current; what is left are a stray ramp and runs of its own set."""
    target = config.deployment.target
    if seen.current != target:
        return None
    if seen.ramping:
        return _end_ramp(seen, target)
    if moving := _moving(config, seen, target):
        return moving
    if seen.version(target).workers == 0:
        return Plan("waiting", f"{target} takes all new runs, but has no live worker")
    stay = [f"the runs of {v.build_id} stay: {why}" for v, why in _staying(config, seen, target)]
    return Plan("complete", "; ".join([f"{target} takes all new runs", *stay]))


def _rolls_back(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """Back to what was current before: at once, in one routing change, without steps and gates."""
    before = seen.version(config.deployment.target)
    if not config.deployment.rolls_back or before.last_current_at is None:
        return None
    back = f"rolling back to {before.build_id}"
    if before.workers == 0:
        start = (StartProgram(before.build_id),) if before.stopped else ()
        return Plan("waiting", f"{back}, which has no live worker", start)
    current = SetCurrent(before.build_id, ignore_missing_task_queues=True)
    return Plan("progressing", back, (current,))


def _another_ramps(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    if seen.ramping and seen.ramping.build_id != config.deployment.target:
        return _end_ramp(seen, config.deployment.target)
    return None


def _blocked(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """A build that was rolled back stays out until the operator says otherwise."""
    target = seen.version(config.deployment.target)
    if not target.blocked:
        return None
    if target.build_id in config.deployment.unblock and not target.unblocked:
        reason = f"unblock in rollout.toml names {target.build_id}"
        return Plan("progressing", reason, (LiftBlock(target.build_id),))
    lift = f"`rollout retry {target.build_id}` lifts the block"
    reason = f"{target.build_id} was rolled back: {target.blocked}; {lift}"
    ramps = seen.ramping is not None and seen.ramping.build_id == target.build_id
    return Plan("blocked", reason, (ClearRamp(),) if ramps else ())


def _not_ready(config: RolloutConfig, seen: Observation, now: datetime) -> Plan | None:
    """No traffic goes to a version without live workers; the server itself would let it."""
    target = seen.version(config.deployment.target)
    unknown = _unknown(target, now)
    if not unknown and target.workers is None:
        unknown = f"the workers of {target.build_id} cannot be counted"
    if unknown:
        return Plan("waiting", _share(unknown, seen))
    lacking = _lacking(config, seen, target)
    if lacking and seen.ramping:
        # A crash that supervisord mends is over before the heartbeat is missed.
        return Plan("waiting", f"{lacking}: its share goes back", (ClearRamp(),))
    return Plan("waiting", lacking) if lacking else None


def _not_verified(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """A compatible build gets traffic once runs of the current one replay on it."""
    target = seen.version(config.deployment.target)
    if target.strategy != "compatible" or seen.ramping:
        return None
    source = seen.current or ""
    outcome = _replayed(config, target, source)
    if outcome is None:
        reason = f"replaying runs of {source} on {target.build_id}"
        return Plan("progressing", reason, (Verify(target.build_id, source),))
    if outcome == "passed":
        return None
    mend = f"deploy it as incompatible, or mend it and `rollout retry {target.build_id}`"
    return Plan("blocked", f"{target.build_id} is not compatible: {outcome}; {mend}")


def _gate_not_passed(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """Before real traffic, a run that is pinned to the target completes on each task queue."""
    if config.gate is None or seen.ramping:
        return None
    for task_queue in config.gate.task_queues or (config.deployment.task_queue,):
        tries = [run for run in seen.gates if run.task_queue == task_queue]
        if answer := _gate(config.gate, config.deployment.target, task_queue, tries):
            return answer
    return None


def _all_at_once(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    return _promote(config, seen) if config.deployment.pace == "all-at-once" else None


def _next_step(config: RolloutConfig, seen: Observation, now: datetime) -> Plan:
    """One step further along the percentages, when its time has come and nothing speaks against."""
    target = config.deployment.target
    steps = config.progressive.steps
    at = seen.ramping.percentage if seen.ramping else 0.0
    if at == 0.0:
        left = _left(seen.current_changed_at, config.progressive.settle, now)
        if left > 0:
            return Plan("progressing", f"{seen.current} settles for {left:.0f} s more")
    elif held := _held_at(config, seen, at, now):
        return held
    ahead = [step for step in steps if step.percentage > at]
    if not ahead:
        return _promote(config, seen)
    percentage = ahead[0].percentage
    ramp = SetRamp(target, percentage, config.deployment.ignore_missing_task_queues)
    return _with_set(seen, target, ramp, f"next step: {percentage:g} %")


# --- what they are made of ---


def _held_at(config: RolloutConfig, seen: Observation, at: float, now: datetime) -> Plan | None:
    """Why the ramp stays where it is, or goes back; None where it may go on."""
    target = config.deployment.target
    # A percentage that is none of the steps was set by hand: it gets the next lower's pause.
    reached = [step for step in config.progressive.steps if step.percentage <= at]
    pause = reached[-1].pause if reached else Seconds(0)
    left = _left(seen.ramping_changed_at, pause, now)
    judgement = _judge(config, seen, held=-left)
    if judgement.outcome == "rollback":
        # Blocked first: killed between the two, the next round ends the ramp.
        actions = (Block(target, judgement.reason), ClearRamp())
        return Plan("blocked", f"rolling {target} back: {judgement.reason}", actions)
    if left > 0:
        return Plan("progressing", f"at {at:g} % for {left:.0f} s more")
    if judgement.outcome == "hold":
        return Plan("progressing", f"held at {at:g} %: {judgement.reason}")
    return None


def _judge(config: RolloutConfig, seen: Observation, held: float) -> Judgement:
    """What the metrics say of the target; ``held``: seconds since the step's pause was over."""
    if config.analysis is None:
        return Judgement("advance", "no analysis is configured")
    return judge(config.analysis, seen.measurements, held)


def _objection(config: RolloutConfig, seen: Observation) -> str:
    """What speaks against the ramping target, for a reason that says why nothing is done."""
    if seen.ramping is None or seen.ramping.build_id != config.deployment.target:
        return ""
    judgement = _judge(config, seen, held=0)
    speaks = judgement.outcome == "rollback"
    return f"; analysis would roll it back: {judgement.reason}" if speaks else ""


def _gate(gate: Gate, build_id: str, task_queue: str, tries: list[GateRun]) -> Plan | None:
    """Where the gate stands on one task queue; None where it has passed."""
    if not tries:
        reason = f"the gate of {build_id} begins on {task_queue}"
        return Plan("progressing", reason, (StartGate(build_id, task_queue, 1),))
    last = max(tries, key=lambda run: run.attempt)
    if last.outcome == "passed":
        return None
    of = f"try {last.attempt} of {gate.retries + 1}"
    if last.outcome == "running":
        return Plan("progressing", f"the gate of {build_id} runs on {task_queue}, {of}")
    failed = f"the gate of {build_id} failed on {task_queue}"
    if last.attempt <= gate.retries:
        again = StartGate(build_id, task_queue, last.attempt + 1)
        return Plan("progressing", f"{failed}, {of}: {last.detail}", (again,))
    return Plan("blocked", f"{failed}: {last.detail}; `rollout retry {build_id}` tries again")


def _unknown(version: Version, now: datetime) -> str | None:
    """Why too little is known of ``version`` to route to it."""
    if version.status == "unregistered":
        return f"no worker of {version.build_id} has polled yet"
    young = version.created_at is not None and now - version.created_at < DECLARATION_TIME
    if version.strategy is None and young:
        return f"{version.build_id} has not declared its strategy yet"
    return None


def _end_ramp(seen: Observation, target: str) -> Plan:
    ramping = seen.ramping.build_id if seen.ramping else ""
    return Plan("progressing", f"{ramping} is ramping, but the target is {target}", (ClearRamp(),))


def _promote(config: RolloutConfig, seen: Observation) -> Plan:
    target = config.deployment.target
    current = SetCurrent(target, config.deployment.ignore_missing_task_queues)
    return _with_set(seen, target, current, f"next step: {target} takes all new runs")


def _with_set(seen: Observation, build_id: str, action: Action, reason: str) -> Plan:
    """``action``, preceded by the version's entry into its set where it is not in one yet."""
    actions: tuple[Action, ...] = (action,)
    if seen.version(build_id).version_set is None:
        actions = (JoinSet(build_id, version_set_of(seen, build_id)), action)
    return Plan("progressing", reason, actions)


def _moving(config: RolloutConfig, seen: Observation, target: str) -> Plan | None:
    """What is left of the runs that the compatible ``target`` takes over; None where none is."""
    older = _older_in_set(seen, target)
    unknown = [version.build_id for version in older if version.open_runs is None]
    outcomes = [
        (version, _replayed(config, seen.version(target), version.build_id))
        for version in older
        if version.open_runs
    ]
    untried = [version.build_id for version, outcome in outcomes if outcome is None]
    left = [version for version, outcome in outcomes if outcome == "passed"]
    tries = tuple(Verify(target, source) for source in untried[:1])
    if left and not seen.routing_settled:
        return Plan("moving", f"the change to {target} is on its way to every task queue", tries)
    if left:
        runs = sum(version.open_runs or 0 for version in left)
        moves = tuple(MoveRuns(version.build_id, target) for version in left)
        return Plan("moving", f"{runs} open runs of its set move to {target}", (*tries, *moves))
    if untried:
        reason = f"replaying runs of {untried[0]} on {target}, which takes them over"
        return Plan("moving", reason, tries)
    if unknown:
        return Plan("moving", f"the open runs of {', '.join(unknown)} cannot be counted")
    return None


def _staying(
    config: RolloutConfig, seen: Observation, target: str
) -> Iterator[tuple[Version, str]]:
    """Versions whose runs the compatible ``target`` cannot take over, and why."""
    for version in _older_in_set(seen, target):
        outcome = _replayed(config, seen.version(target), version.build_id)
        if version.open_runs and outcome not in (None, "passed"):
            yield version, str(outcome)


def _replayed(config: RolloutConfig, target: Version, source: str) -> str | None:
    """What the replay of ``source``'s runs on ``target`` showed; None where it is still to do."""
    if config.verify.compatible == "off":
        return "passed"
    return target.verified.get(source)


def _lacking(config: RolloutConfig, seen: Observation, target: Version) -> str | None:
    """Which workers ``target`` lacks, so that new runs on it would wait; None: none."""
    if target.workers == 0:
        return f"{target.build_id} has no live worker"
    if config.deployment.ignore_missing_task_queues or seen.current is None:
        return None
    served = seen.version(seen.current).queues or frozenset()
    missing = ", ".join(sorted(served - (target.queues or frozenset())))
    if not missing:
        return None
    return f"{target.build_id} has no live worker on task queue {missing}, which {seen.current} has"


def _older_in_set(seen: Observation, target: str) -> list[Version]:
    """The versions whose runs the compatible ``target`` takes over.

    Only from older to newer: after a rollback the newer build's runs stay,
    because nobody has said that the older build can replay them.
    """
    version = seen.version(target)
    if version.strategy != "compatible" or version.first_activated_at is None:
        return []
    return [
        other
        for other in seen.versions
        if other.build_id != target
        and other.version_set is not None
        and other.version_set == version.version_set
        and other.first_activated_at is not None
        and other.first_activated_at < version.first_activated_at
    ]


def _left(since: datetime | None, pause: float, now: datetime) -> float:
    """Seconds of ``pause`` that are left; all of them where the start is unknown."""
    if since is None:
        return pause
    return pause - (now - since).total_seconds()


def _share(reason: str, seen: Observation) -> str:
    """``reason``, and where new runs go meanwhile."""
    if seen.ramping:
        part = f"{seen.ramping.build_id} stays at {seen.ramping.percentage:g} %"
        return f"{reason}; {part}"
    return reason
