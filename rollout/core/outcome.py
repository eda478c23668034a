"""Pure: how a rollout that is waited for has ended, as far as one look of the controller says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rollout.core.actions import Phase
from rollout.core.config import Deployment
from rollout.core.observation import Observation

__all__ = ["Ending", "Outcome", "Told", "outcome", "time_is_up"]

Outcome = Literal["complete", "rolled back", "blocked", "superseded", "unfinished"]


@dataclass(frozen=True)
class Ending:
    """How it ended, and the sentence that says why."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class Told:
    """What a controller saw and decided, for the target that it followed then."""

    seen: Observation
    target: str
    phase: Phase
    reason: str


def outcome(build_id: str, since: datetime, wanted: Deployment, told: Told) -> Ending | None:
    """How the way of ``build_id``, which is the target since ``since``, has ended; None: not yet.

    ``wanted`` is what rollout.toml asks for now. A look that began before ``since`` says nothing,
    and neither does a decision that was made for another target.
    """
    seen = told.seen
    if wanted.target != build_id:
        return _left(build_id, wanted, told)
    if told.target != build_id or seen.at < since:
        return None
    if told.phase == "complete":
        return Ending("complete", told.reason)
    if told.phase != "blocked" or _described_at(seen, build_id) < since:
        return None
    if seen.ramping and seen.ramping.build_id == build_id:
        return None  # its share has yet to go back
    return _stopped(build_id, told)


def time_is_up(build_id: str, seconds: float, last: Told | None) -> Ending:
    """How it stands when nobody waits any longer, by the last that was told of it."""
    if last is not None and (last.target, last.phase) == (build_id, "blocked"):
        return _stopped(build_id, last)  # it ramps still, and nobody could end that
    why = f": {last.reason}" if last else ""
    reason = f"{build_id} is still on its way after {seconds:g} s{why}; the rollout goes on"
    return Ending("unfinished", reason)


def _stopped(build_id: str, told: Told) -> Ending:
    """A person must act before it goes on."""
    blocked = told.seen.version(build_id).blocked
    return Ending("rolled back" if blocked else "blocked", told.reason)


def _left(build_id: str, wanted: Deployment, told: Told) -> Ending | None:
    """Somebody has changed the target meanwhile."""
    seen = told.seen
    if wanted.rolls_back:
        if told.target != wanted.target:
            return None  # the look that knows of it knows why, too
        blocked = seen.version(build_id).blocked
        why = f": {blocked}" if blocked else ""
        return Ending("rolled back", f"new runs go back to {wanted.target}{why}")
    if wanted.target == seen.current:
        return Ending("rolled back", f"{build_id} was given up: the target is {seen.current} again")
    return Ending("superseded", f"the target is {wanted.target} now: somebody has changed it")


def _described_at(seen: Observation, build_id: str) -> datetime:
    """When the oldest was asked for of what is known about the build."""
    described = seen.version(build_id).described_at
    return min(seen.oldest, described or seen.oldest)
