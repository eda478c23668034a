"""Pure: configuration and observation in, what to do now and why out.

Nothing here reads a clock or a server. Planning again on what the actions led
to gives the next step, until nothing is left to do: the plan keeps no state,
because the server does.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from rollout.base.names import UNVERSIONED
from rollout.core.actions import (
    Action,
    ClaimManager,
    ClearRamp,
    LiftBlock,
    Plan,
    SetCurrent,
    SetRamp,
    StartProgram,
)
from rollout.core.config import RolloutConfig
from rollout.core.declared import declarations, is_being_declared, other_code
from rollout.core.hosts import lacks_hosts, told_to_hosts
from rollout.core.observation import Observation, Version
from rollout.core.scale import lacks_processes, scaled
from rollout.core.steps import gate_not_passed, next_step, objection, with_set
from rollout.core.sunset import sunset
from rollout.core.takeover import moving, not_verified, staying
from rollout.core.verdict import STALE
from rollout.core.warned import new_runs_wait

__all__ = ["plan"]

ACTION_AGE = timedelta(seconds=15)
"""Nothing is done on a routing that was read longer ago, for it may have changed since; the other
parts may be as old as a verdict allows."""

_FIRST_BEAT = timedelta(seconds=75)
"""Every SDK's own interval, with room for the start of its process and for our next look."""

DECLARATION_TIME = timedelta(seconds=5)
"""A worker declares its strategy right after its version appears. One that has not by then never
will (it is not ours), and counts as incompatible."""


def plan(
    config: RolloutConfig,
    seen: Observation,
    now: datetime,
    manager: str | None,
    *,
    held: float = 0.0,
) -> Plan:
    """What to do now. ``manager`` is the identity that this planner acts under.

    With ``manager`` None the deployment is not claimed and no program is touched
    (a worker that takes its place by itself), but a claim of somebody else is
    respected. ``held`` is for how many seconds analysis has held the step, by looks that
    followed one another: one who looks once knows of none.
    """
    age = now - seen.oldest
    if now - seen.at > ACTION_AGE or age > STALE:
        reason = f"what was read is {age.total_seconds():.0f} s old, and nothing is done on that"
        old = Plan("waiting", reason, topic="too old", kind="observation_old")
        return _held_by_a_person(config, seen, now) or old
    if not seen.exists:
        nobody = f"no worker of deployment {config.deployment.name} has polled yet"
        return Plan("waiting", nobody, kind="no_worker")
    if seen.manager and seen.manager != manager:
        other = f"{seen.manager} manages this deployment"
        return Plan("blocked", other, kind="other_manager")
    routed = _route(config, seen, now, held)
    if manager is None:
        return routed
    told: tuple[Action, ...] = (*declarations(seen), *told_to_hosts(config, seen))
    planned: tuple[Action, ...] = (
        *routed.actions,
        *told,
        *scaled(config, seen, now, sunset(config, seen, now)),
    )
    actions = tuple(dict.fromkeys(planned))
    if actions and not seen.manager:
        actions = (ClaimManager(),)
    return replace(routed, actions=actions)


def _route(config: RolloutConfig, seen: Observation, now: datetime, held: float) -> Plan:
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
        _runs_other_code,
        _not_ready,
    ):
        if answer := question(config, seen, now):
            return answer
    if answer := not_verified(config, seen) or gate_not_passed(config, seen):
        return answer
    return _on_its_hosts(config, seen, next_step(config, seen, now, held))


def _on_its_hosts(config: RolloutConfig, seen: Observation, step: Plan) -> Plan:
    """``step``, but for more traffic, which waits until the target is on every host it has to be.

    And there in as many processes as it is to have.

    What takes traffic away from it does not wait.
    """
    if not any(isinstance(action, SetRamp | SetCurrent) for action in step.actions):
        return step
    target = seen.version(config.deployment.target)
    if lacking := lacks_hosts(config.deployment.hosts, seen, target):
        return Plan("waiting", _share(lacking, seen), kind="hosts")
    if lacking := lacks_processes(config, seen, target):
        return Plan("waiting", _share(lacking, seen), kind="processes")
    return step


def _held_by_a_person(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """Nothing is changed, not even where analysis would: then that is said."""
    phase: Literal["paused", "manual"]
    if config.deployment.paused:
        phase, reason = "paused", _share("paused in rollout.toml", seen)
    elif config.deployment.pace == "manual":
        phase, reason = "manual", _share('pace is "manual" in rollout.toml', seen)
    else:
        return None
    if against := objection(config, seen):
        told = f"{reason}; analysis would roll it back: {against.reason}"
        return Plan(phase, told, topic=(reason, against.about), kind=phase)
    return Plan(phase, reason, kind=phase)


def _out_of_versioning(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """The way back: new runs go to workers without a version, at once."""
    if config.deployment.target != UNVERSIONED:
        return None
    if seen.ramping:
        return _end_ramp(seen, UNVERSIONED)
    if seen.current is None:
        return _arrived_at(seen, "workers without a version take all new runs")
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
            unread = _share(f"{build_id} could not be described", seen)
            return Plan("waiting", unread, kind="unreadable")
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
        return waiting
    return with_set(seen, baseline, SetCurrent(baseline), "nothing is current yet")


def _no_one_alive(config: RolloutConfig, seen: Observation, baseline: str) -> Plan:
    """New runs wait for workers; those that are to be gone back to may be started."""
    target = seen.version(config.deployment.target)
    start = config.deployment.rolls_back and target.stopped
    named = " or ".join(dict.fromkeys((baseline, target.build_id)))
    reason = f"no build to make current: no live worker of {named} that is not blocked"
    actions = (StartProgram(target.build_id),) if start else ()
    return Plan("waiting", reason, actions, kind="no_worker")


def _arrived(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """The target is current; what is left are a stray ramp and runs of its own set."""
    target = config.deployment.target
    if seen.current != target:
        return None
    if seen.ramping:
        return _end_ramp(seen, target)
    if takes_over := moving(config, seen):
        return takes_over
    if seen.version(target).workers == 0 and not seen.stuck:
        nobody = f"{target} takes all new runs, but {_no_worker(seen, seen.version(target))}"
        return Plan("waiting", nobody, kind="no_worker")
    stay = [f"the runs of {v.build_id} stay: {why}" for v, why in staying(config, seen)]
    return _arrived_at(seen, f"{target} takes all new runs", *stay)


def _arrived_at(seen: Observation, where: str, *more: str) -> Plan:
    """Nothing is left to do, which is only complete where no new run waits."""
    if waiting := new_runs_wait(seen):
        # Told again where its words change, and not with each number.
        words = "".join(character for character in waiting if not character.isdigit())
        topic = ("new runs wait", where, words)
        return Plan("waiting", f"{where}, but {waiting}", topic=topic, kind="new_runs_wait")
    if seen.stuck is None:
        uncounted = f"{where}, but whether some wait could not be counted"
        return Plan("waiting", uncounted, kind="unreadable")
    return Plan("complete", "; ".join([where, *more]), kind="complete")


def _rolls_back(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """Back to what was current before: at once, in one routing change, without steps and gates."""
    before = seen.version(config.deployment.target)
    if not config.deployment.rolls_back or before.last_current_at is None:
        return None
    back = f"rolling back to {before.build_id}"
    if before.workers == 0:
        start = (StartProgram(before.build_id),) if before.stopped else ()
        return Plan("waiting", f"{back}, which has no live worker", start, kind="no_worker")
    current = SetCurrent(before.build_id, ignore_missing_task_queues=True)
    return Plan("progressing", back, (current,))


def _another_ramps(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """Its ramp ends, unless the target is perhaps only misspelt."""
    if seen.ramping is None or seen.ramping.build_id == config.deployment.target:
        return None
    target = seen.version(config.deployment.target)
    if target.status == "unregistered" and target.process is None:
        nobody = f"no worker of {target.build_id} has polled yet, and no program here would run one"
        return Plan("waiting", _share(nobody, seen), kind="no_worker")
    return _end_ramp(seen, target.build_id)


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
    return Plan("blocked", reason, (ClearRamp(),) if ramps else (), kind="rolled_back")


def _runs_other_code(config: RolloutConfig, seen: Observation, _now: datetime) -> Plan | None:
    """A build id that has come back with other code gets no traffic, or no more of it."""
    changed = other_code(seen.version(config.deployment.target))
    return Plan("blocked", _share(changed, seen), kind="other_code") if changed else None


def _not_ready(config: RolloutConfig, seen: Observation, now: datetime) -> Plan | None:
    """No traffic goes to a version without live workers; the server itself would let it."""
    target = seen.version(config.deployment.target)
    unknown = _unknown(target, now)
    if not unknown and target.workers is None:
        uncounted = f"the workers of {target.build_id} cannot be counted"
        unknown = Plan("waiting", uncounted, kind="unreadable")
    if unknown:
        return replace(unknown, reason=_share(unknown.reason, seen))
    lacking = _lacking(config, seen, target)
    if lacking is None or not seen.ramping:
        return lacking
    if target.returning:
        returns = _share(f"{lacking.reason}, and one is on its way back", seen)
        return replace(lacking, reason=returns)
    # A crash that supervisord mends is over before the heartbeat is missed.
    back = f"{lacking.reason}: its share goes back"
    return replace(lacking, reason=back, actions=(ClearRamp(),))


def _unknown(version: Version, now: datetime) -> Plan | None:
    """Why too little is known of ``version`` to route to it."""
    if version.status == "unregistered":
        reason = f"no worker of {version.build_id} has polled yet"
        return Plan("waiting", reason, kind="no_worker")
    young = version.created_at is not None and now - version.created_at < DECLARATION_TIME
    if is_being_declared(version):
        reason = f"what the program of {version.build_id} says is being declared"
        return Plan("waiting", reason, kind="undeclared")
    if version.strategy is None and young:
        reason = f"{version.build_id} has not declared its strategy yet"
        return Plan("waiting", reason, kind="undeclared")
    return None


def _end_ramp(seen: Observation, target: str) -> Plan:
    ramping = seen.ramping.build_id if seen.ramping else ""
    return Plan("progressing", f"{ramping} is ramping, but the target is {target}", (ClearRamp(),))


def _lacking(config: RolloutConfig, seen: Observation, target: Version) -> Plan | None:
    """Which workers ``target`` lacks, so that new runs on it would wait; None: none."""
    if target.workers == 0:
        nobody = f"{target.build_id} {_no_worker(seen, target)}"
        return Plan("waiting", nobody, kind="no_worker")
    if config.deployment.ignore_missing_task_queues or seen.current is None:
        return None
    served = seen.version(seen.current).queues or frozenset()
    missing = ", ".join(sorted(served - (target.queues or frozenset())))
    if not missing:
        return None
    on = f"on task queue {missing}, which {seen.current} has"
    return Plan("waiting", f"{target.build_id} has no live worker {on}", kind="task_queue")


def _no_worker(seen: Observation, version: Version) -> str:
    """What it lacks; a process here that was just started may have said nothing to the server."""
    started = version.started_at
    if version.process != "RUNNING" or started is None or seen.oldest - started > _FIRST_BEAT:
        return "has no live worker"
    return "has no live worker yet: an SDK sends its first heartbeat up to a minute after its start"


def _share(reason: str, seen: Observation) -> str:
    """``reason``, and where new runs go meanwhile."""
    if seen.ramping:
        part = f"{seen.ramping.build_id} stays at {seen.ramping.percentage:g} %"
        return f"{reason}; {part}"
    return reason
