"""Pure: how much of a build's work has failed, of each kind that a judge of builds compares."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.core.judge import rates
from rollout.core.observation import BuildSample, Measurements

__all__ = ["Work", "work_of", "worst"]


@dataclass(frozen=True)
class Work:
    """One kind of work of one build."""

    what: str
    """In the plural: workflow tasks, activities, workflows; or runs, by the server's counts."""
    failed: float
    executed: float

    @property
    def ratio(self) -> float:
        """Which part has failed, 0 to 1; what never ran has not failed."""
        return self.failed / self.executed if self.executed else 0.0

    def __str__(self) -> str:
        return f"{self.failed:.0f} of {self.executed:.0f} {self.what}"


def work_of(seen: Measurements, sample: BuildSample) -> tuple[Work, ...]:
    """The work of ``sample``, one of the two builds of ``seen``, as the judge counts it."""
    if sample.build_id == seen.target.build_id:
        return tuple(Work(rate.what, rate.failed, rate.executed) for rate in rates(seen))
    return tuple(
        Work(rate.what, rate.usually_failed, rate.usually_executed) for rate in rates(seen)
    )


def worst(found: tuple[Work, ...]) -> Work | None:
    """The kind of which the largest part has failed; None where nothing ran."""
    return max((each for each in found if each.executed), key=lambda work: work.ratio, default=None)
