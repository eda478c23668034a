"""Pure: how a rollout that somebody waits for has ended, as far as one look of the controller says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rollout.core.actions import Phase
from rollout.core.config import Deployment
from rollout.core.observation import Observation

__all__ = ["CODES", "Ending", "Outcome", "Told", "outcome"]

Outcome = Literal["complete", "rolled back", "blocked", "superseded"]

CODES: dict[Outcome, int] = {"complete": 0, "rolled back": 4, "blocked": 4, "superseded": 1}
"""The exit code of a command that waited."""


@dataclass(frozen=True)
class Ending:
    """How it ended, and the sentence that says why."""

    outcome: Outcome
    reason: str

    @property
    def code(self) -> int:
        """The exit code of the command that waited for it."""
        return CODES[self.outcome]


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
    if wanted.target != build_id:
        return _left(build_id, wanted, told.seen)
    if told.target != build_id or _asked_at(told.seen, build_id) < since:
        return None
    if told.phase == "complete":
        return Ending("complete", told.reason)
    ramping = told.seen.ramping
    if told.phase == "blocked" and not (ramping and ramping.build_id == build_id):
        # While it ramps its share has yet to go back.
        blocked = told.seen.version(build_id).blocked
        return Ending("rolled back" if blocked else "blocked", told.reason)
    return None


def _left(build_id: str, wanted: Deployment, seen: Observation) -> Ending:
    """Somebody has changed the target meanwhile."""
    if wanted.rolls_back:
        blocked = seen.version(build_id).blocked
        why = f": {blocked}" if blocked else ""
        return Ending("rolled back", f"new runs go back to {wanted.target}{why}")
    return Ending("superseded", f"the target is {wanted.target} now: somebody has changed it")


def _asked_at(seen: Observation, build_id: str) -> datetime:
    """When the oldest was asked for of what is known about the build and the routing."""
    described = seen.version(build_id).described_at
    return min(seen.oldest, described or seen.oldest)
