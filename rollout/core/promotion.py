"""Pure: how far a person may let a ramping target go on, and whether it is there."""

from __future__ import annotations

from rollout.base.exit import Failure
from rollout.core.actions import Plan
from rollout.core.config import Promotion, RolloutConfig
from rollout.core.observation import Observation
from rollout.core.steps import step_after

__all__ = ["has_arrived", "promotion"]


def promotion(config: RolloutConfig, seen: Observation, decided: Plan, *, full: bool) -> Promotion:
    """One step further for the ramping target, or all the way where it is ``full``.

    ``decided`` is the plan as it is without that. Raises `Failure` where no ramp of the target
    waits for a person: none is under way, or what it lacks nobody can decide (workers that are
    missing, a block, another manager).
    """
    target = config.deployment.target
    if decided.phase == "paused":
        raise Failure(f"{decided.reason}; `rollout resume` goes on")
    if decided.phase in ("blocked", "waiting"):
        raise Failure(f"{target} cannot be promoted: {decided.reason}")
    if seen.ramping is None or seen.ramping.build_id != target or decided.phase != "progressing":
        raise Failure(f"no ramp of {target} is held: {decided.reason}")
    percentage = 100.0 if full else step_after(config, seen.ramping.percentage)
    return Promotion(f"{target}@{percentage:g}")


def has_arrived(wanted: Promotion, seen: Observation) -> bool:
    """Whether the build has got as far as it was promoted, or further."""
    if seen.current == wanted.build_id:
        return True
    ramp = seen.ramping
    return (
        ramp is not None
        and ramp.build_id == wanted.build_id
        and ramp.percentage >= wanted.percentage
    )
