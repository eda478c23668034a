"""Pure: for how long a step has been held, by looks that followed one another."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.core.actions import Plan
from rollout.core.observation import Observation

__all__ = ["Held"]

_APART = timedelta(seconds=5)
"""Looks that are further apart leave a time between them of which nothing is known."""


@dataclass(frozen=True)
class Held:
    """What the controller knows of the step it holds; nothing after a restart or a pause.

    Time in which it did not look, or could not, is no time in which the target has failed to
    convince: it does not count towards ``max_hold``.
    """

    step: Hashable = None
    seconds: float = 0.0
    """Up to the last look."""
    looked_at: datetime | None = None
    holds: bool = False
    """Whether the step was held at the last look."""

    def up_to(self, seen: Observation) -> float:
        """Seconds for which the step has been held at the look ``seen``."""
        if self.step is None or self.step != _step(seen):
            return 0.0
        if not self.holds or self.looked_at is None:
            return self.seconds
        since = seen.at - self.looked_at
        return self.seconds + (since.total_seconds() if since <= _APART else 0.0)

    def after(self, seen: Observation, decided: Plan) -> Held:
        """The same after ``decided`` was planned on the look ``seen``."""
        if decided.phase in ("paused", "manual"):
            return Held()
        return Held(_step(seen), self.up_to(seen), seen.at, decided.holds)


def _step(seen: Observation) -> Hashable:
    """What a step is told from another by; None where nothing ramps."""
    if seen.ramping is None:
        return None
    return seen.ramping.build_id, seen.ramping.percentage, seen.ramping_changed_at
