"""Pure: how a ready target gets its new runs: the gate, then step by step, or all at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rollout.core.actions import (
    Action,
    Block,
    ClearRamp,
    JoinSet,
    Plan,
    SetCurrent,
    SetRamp,
    StartGate,
)
from rollout.core.config import Gate, RolloutConfig, Seconds, Step
from rollout.core.judge import Judgement, judge
from rollout.core.observation import GateRun, Observation
from rollout.core.shares import falls_short
from rollout.core.verdict import version_set_of

__all__ = [
    "StepMark",
    "gate_not_passed",
    "next_step",
    "objection",
    "step_after",
    "step_marks",
    "with_set",
]


def gate_not_passed(config: RolloutConfig, seen: Observation) -> Plan | None:
    """Before real traffic, a run that is pinned to the target completes on each task queue."""
    if config.gate is None or seen.ramping:
        return None
    target = seen.version(config.deployment.target)
    if target.workflows is not None and config.gate.workflow not in target.workflows:
        told = f"it has {', '.join(target.workflows)}"
        return Plan("blocked", _no_workflow(config.gate, target.build_id, told), kind="gate")
    for task_queue in config.gate.task_queues or (config.deployment.task_queue,):
        tries = [run for run in seen.gates if run.task_queue == task_queue]
        if answer := _gate(config.gate, target.build_id, task_queue, tries):
            return answer
    return None


def _no_workflow(gate: Gate, build_id: str, told: str) -> str:
    return (
        f"the gate of {build_id} cannot pass: this build has no workflow {gate.workflow} ({told}); "
        "name one that it has in [gate] of rollout.toml"
    )


def next_step(config: RolloutConfig, seen: Observation, now: datetime, held: float) -> Plan:
    """One step further along the percentages, when its time has come and nothing speaks against.

    Where the pace is "all-at-once" there is only the last step. ``held`` is for how many seconds
    analysis has held the step.
    """
    if config.deployment.pace == "all-at-once":
        return _promote(config, seen)
    target = config.deployment.target
    at = seen.ramping.percentage if seen.ramping else 0.0
    if at > 0.0 and (promoted := config.deployment.promoted_from(at)):
        return _promoted(config, seen, promoted)
    if (
        waiting := _settles(config, seen, now)
        if at == 0.0
        else _held_at(config, seen, at, now, held)
    ):
        return waiting
    percentage = step_after(config, at)
    if percentage == 100:
        return _promote(config, seen)
    ramp = SetRamp(target, percentage, config.deployment.ignore_missing_task_queues)
    return with_set(seen, target, ramp, f"next step: {percentage:g} %")


def step_after(config: RolloutConfig, at: float) -> float:
    """The percentage of the step that follows ``at`` percent; 100 after the last."""
    return next((s.percentage for s in config.progressive.steps if s.percentage > at), 100.0)


def with_set(seen: Observation, build_id: str, action: Action, reason: str) -> Plan:
    """``action``, preceded by the version's entry into its set where it is not in one yet."""
    actions: tuple[Action, ...] = (action,)
    if seen.version(build_id).version_set is None:
        actions = (JoinSet(build_id, version_set_of(seen, build_id)), action)
    return Plan("progressing", reason, actions)


def objection(config: RolloutConfig, seen: Observation) -> Judgement | None:
    """What would roll the ramping target back, where nothing is done about it; None: nothing."""
    if seen.ramping is None or seen.ramping.build_id != config.deployment.target:
        return None
    judgement = _judge(config, seen, held=0)
    return judgement if judgement.outcome == "rollback" else None


@dataclass(frozen=True)
class StepMark:
    """One step of rollout.toml."""

    percentage: float
    state: Literal["done", "here", "ahead"]
    left: float | None = None
    """Seconds of its pause that are left, below 0 where it is held longer; None where no pause
    runs."""


def step_marks(config: RolloutConfig, seen: Observation, now: datetime) -> tuple[StepMark, ...]:
    """Where the target stands on its way; empty where it does not move by steps."""
    deployment = config.deployment
    if seen.current is None or deployment.pace == "manual":
        return ()
    at = 0.0
    if seen.current == deployment.target:
        at = 100.0
    elif seen.ramping and seen.ramping.build_id == deployment.target:
        at = seen.ramping.percentage
    steps = config.progressive.steps if deployment.pace == "progressive" else ()
    here = _reached(config, at) if at < 100 else None

    def mark(step: Step) -> StepMark:
        if step is here:
            since = seen.ramping_changed_at
            left = None if since is None else _left(since, step.pause, now)
            return StepMark(step.percentage, "here", left)
        return StepMark(step.percentage, "done" if step.percentage <= at else "ahead")

    return (*map(mark, steps), StepMark(100, "done" if at == 100 else "ahead"))


def _gate(gate: Gate, build_id: str, task_queue: str, tries: list[GateRun]) -> Plan | None:
    """Where the gate stands on one task queue; None where it has passed."""
    if not tries:
        reason = f"the gate of {build_id} begins on {task_queue}"
        return Plan("progressing", reason, (StartGate(build_id, task_queue, 1),), kind="gate")
    last = max(tries, key=lambda run: run.attempt)
    if last.outcome == "passed":
        return None
    of = f"try {last.attempt} of {gate.retries + 1}"
    if last.outcome == "running":
        reason = f"the gate of {build_id} runs on {task_queue}, {of}"
        return Plan("progressing", reason, kind="gate")
    if last.lacks_workflow:
        return Plan("blocked", _no_workflow(gate, build_id, last.detail), kind="gate")
    failed = f"the gate of {build_id} failed on {task_queue}"
    if last.attempt <= gate.retries:
        again = StartGate(build_id, task_queue, last.attempt + 1)
        return Plan("progressing", f"{failed}, {of}: {last.detail}", (again,), kind="gate")
    reason = f"{failed}: {last.detail}; `rollout retry {build_id}` tries again"
    return Plan("blocked", reason, kind="gate")


def _promote(config: RolloutConfig, seen: Observation) -> Plan:
    """The last step: the target takes all new runs."""
    target = config.deployment.target
    current = SetCurrent(target, config.deployment.ignore_missing_task_queues)
    return with_set(seen, target, current, f"next step: {target} takes all new runs")


def _settles(config: RolloutConfig, seen: Observation, now: datetime) -> Plan | None:
    """Why the first step has to wait; None where it may be taken."""
    left = _left(seen.current_changed_at, config.progressive.settle, now)
    if left <= 0:
        return None
    reason = f"{seen.current} settles for {left:.0f} s more"
    return Plan("progressing", reason, topic=("settles", seen.current), kind="settling")


def _promoted(config: RolloutConfig, seen: Observation, percentage: float) -> Plan:
    """A person has decided: neither the pause nor a doubt holds the target, only a proof does."""
    target = config.deployment.target
    if proof := objection(config, seen):
        return _roll_back(target, proof)
    if percentage == 100:
        return _promote(config, seen)
    ramp = SetRamp(target, percentage, config.deployment.ignore_missing_task_queues)
    return with_set(seen, target, ramp, f"next step: {percentage:g} %, as promoted by hand")


def _roll_back(target: str, judgement: Judgement) -> Plan:
    # Blocked first: killed between the two, the next round ends the ramp.
    actions = (Block(target, judgement.reason), ClearRamp())
    reason = f"rolling {target} back: {judgement.reason}"
    topic = ("rolls back", target, judgement.about)
    return Plan("blocked", reason, actions, topic=topic, kind="rolled_back")


def _held_at(
    config: RolloutConfig, seen: Observation, at: float, now: datetime, held: float
) -> Plan | None:
    """Why the ramp stays where it is, or goes back; None where it may go on."""
    target = config.deployment.target
    # A percentage that is none of the steps was set by hand: it gets the next lower's pause.
    reached = _reached(config, at)
    left = _left(seen.ramping_changed_at, reached.pause if reached else Seconds(0), now)
    judgement = _judge(config, seen, held=min(held, -left))
    if judgement.outcome == "rollback":
        return _roll_back(target, judgement)
    if left > 0:
        reason = f"at {at:g} % for {left:.0f} s more"
        return Plan("progressing", reason, topic=("pauses", target, at), kind="pausing")
    if short := falls_short(seen, target):
        # Also without [analysis], and however long: more traffic would only wait longer.
        topic = ("short", target, at)
        return Plan("progressing", f"held at {at:g} %: {short}", topic=topic, kind="short")
    if judgement.outcome == "hold":
        reason = f"held at {at:g} %: {judgement.reason}"
        about = ("held", target, at, judgement.about)
        return Plan("progressing", reason, topic=about, kind="held", holds=True)
    return None


def _reached(config: RolloutConfig, at: float) -> Step | None:
    """The last step that is not beyond ``at`` percent; None below the first."""
    reached = [step for step in config.progressive.steps if step.percentage <= at]
    return reached[-1] if reached else None


def _judge(config: RolloutConfig, seen: Observation, held: float) -> Judgement:
    """What the metrics say of the target.

    ``held`` is for how many seconds it was held, below 0 while the step's pause lasts.
    """
    if config.analysis is None:
        return Judgement("advance", "no analysis is configured")
    return judge(config.analysis, seen.measurements, held)


def _left(since: datetime | None, pause: float, now: datetime) -> float:
    """Seconds of ``pause`` that are left; all of them where the start is unknown."""
    if since is None:
        return pause
    return pause - (now - since).total_seconds()
