"""Pure: configuration and observation in, what to do now and why out.

Nothing here reads a clock or a server. Planning again on what the actions led
to gives the next step, until nothing is left to do: the plan keeps no state,
because the server does.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.config import RolloutConfig, Seconds
from rollout.model import (
    Action,
    ClaimManager,
    ClearRamp,
    JoinSet,
    MoveRuns,
    Observation,
    Plan,
    SetCurrent,
    SetRamp,
    Version,
)
from rollout.verdict import version_set_of

__all__ = ["plan"]

DECLARATION_TIME = timedelta(seconds=5)
"""A worker declares its strategy right after its version appears. One that has not by then never
will (it is not ours), and counts as incompatible."""


def plan(config: RolloutConfig, seen: Observation, now: datetime, manager: str | None) -> Plan:
    """What to do now. ``manager`` is the identity that this planner acts under.

    With ``manager`` None the deployment is not claimed (a worker that takes its
    place by itself), but a claim of somebody else is respected.
    """
    deployment = config.deployment
    if not seen.exists:
        return Plan("waiting", f"no worker of deployment {deployment.name} has polled yet")
    if seen.manager and seen.manager != manager:
        return Plan("blocked", f"{seen.manager} manages this deployment")
    if deployment.paused:
        return Plan("paused", _share("paused in rollout.toml", seen))
    if deployment.pace == "manual":
        return Plan("manual", _share('pace is "manual" in rollout.toml', seen))

    move = _route(config, seen, now)
    if move.actions and manager and not seen.manager:
        return Plan(move.phase, move.reason, (ClaimManager(),))
    return move


def _route(config: RolloutConfig, seen: Observation, now: datetime) -> Plan:
    target = config.deployment.target
    if seen.current is None:
        return _first(config, seen, now)
    if seen.current == target:
        return _arrived(seen)
    if seen.ramping and seen.ramping.build_id != target:
        reason = f"{seen.ramping.build_id} is ramping, but the target is {target}"
        return Plan("progressing", reason, (ClearRamp(),))
    if waiting := _not_ready(seen.version(target), now):
        return Plan("waiting", _share(waiting, seen))
    if config.deployment.pace == "all-at-once":
        return _promote(seen, target)
    return _progress(config, seen, now)


def _first(config: RolloutConfig, seen: Observation, now: datetime) -> Plan:
    """Nothing is current: new runs wait until something is, so a live worker is not waited for."""
    baseline = config.deployment.baseline or config.deployment.target
    if waiting := _unknown(seen.version(baseline), now):
        return Plan("waiting", waiting)
    return _with_set(seen, baseline, SetCurrent(baseline), "nothing is current yet")


def _unknown(version: Version, now: datetime) -> str | None:
    """Why too little is known of ``version`` to route to it."""
    if version.status == "unregistered":
        return f"no worker of {version.build_id} has polled yet"
    young = version.created_at is not None and now - version.created_at < DECLARATION_TIME
    if version.strategy is None and young:
        return f"{version.build_id} has not declared its strategy yet"
    return None


def _not_ready(target: Version, now: datetime) -> str | None:
    """Why no traffic can go to ``target`` now; the server itself would let it."""
    if waiting := _unknown(target, now):
        return waiting
    if target.workers is None:
        return f"the workers of {target.build_id} cannot be counted"
    if target.workers == 0:
        return f"{target.build_id} has no live worker"
    return None


def _progress(config: RolloutConfig, seen: Observation, now: datetime) -> Plan:
    """One step further along the percentages, when its time has come."""
    target = config.deployment.target
    steps = config.progressive.steps
    at = seen.ramping.percentage if seen.ramping else 0.0
    if at == 0.0:
        left = _left(seen.current_changed_at, config.progressive.settle, now)
        if left > 0:
            return Plan("progressing", f"{seen.current} settles for {left:.0f} s more")
    else:
        # A percentage that is none of the steps was set by hand: it gets the next lower's pause.
        reached = [step for step in steps if step.percentage <= at]
        pause = reached[-1].pause if reached else Seconds(0)
        left = _left(seen.ramping_changed_at, pause, now)
        if left > 0:
            return Plan("progressing", f"at {at:g} % for {left:.0f} s more")
    ahead = [step for step in steps if step.percentage > at]
    if not ahead:
        return _promote(seen, target)
    percentage = ahead[0].percentage
    return _with_set(seen, target, SetRamp(target, percentage), f"next step: {percentage:g} %")


def _promote(seen: Observation, target: str) -> Plan:
    return _with_set(seen, target, SetCurrent(target), f"{target} takes all new runs")


def _with_set(seen: Observation, build_id: str, action: Action, reason: str) -> Plan:
    """``action``, preceded by the version's entry into its set where it is not in one yet."""
    actions: tuple[Action, ...] = (action,)
    if seen.version(build_id).version_set is None:
        actions = (JoinSet(build_id, version_set_of(seen, build_id)), action)
    return Plan("progressing", reason, actions)


def _arrived(seen: Observation) -> Plan:
    """The target is current; what is left are a stray ramp and runs of its own set."""
    target = seen.current or ""
    if seen.ramping:
        reason = f"{seen.ramping.build_id} is ramping, but the target is {target}"
        return Plan("progressing", reason, (ClearRamp(),))
    older = _older_in_set(seen, target)
    unknown = [version.build_id for version in older if version.open_runs is None]
    open_there = [version for version in older if version.open_runs]
    if open_there and not seen.routing_settled:
        return Plan("moving", f"the change to {target} is on its way to every task queue")
    if open_there:
        runs = sum(version.open_runs or 0 for version in open_there)
        moves = tuple(MoveRuns(version.build_id, target) for version in open_there)
        return Plan("moving", f"{runs} open runs of its set move to {target}", moves)
    if unknown:
        return Plan("moving", f"the open runs of {', '.join(unknown)} cannot be counted")
    return Plan("complete", f"{target} takes all new runs")


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
