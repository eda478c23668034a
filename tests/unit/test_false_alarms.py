"""How often the judge is wrong, by simulation: looked at every second, as the controller does."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product, takewhile
from math import prod

import pytest

from rollout.core import judge as judging
from rollout.core.confidence import is_refuted
from rollout.core.config import Analysis
from rollout.core.judge import judge
from rollout.core.observation import BuildSample, Measurements

ANALYSIS = Analysis(min_samples=10, failure_ratio=0.05)
STRICT = Analysis(min_samples=10, failure_ratio=0)

Counts = tuple[int, int, int, int]
"""Of the target and of the current build: executed and failed."""


@dataclass(frozen=True)
class Second:
    """What may happen in a second of a step, and how likely each of it is."""

    outcomes: Sequence[Counts]
    likely: Sequence[float]

    @classmethod
    def of(cls, work: int, *, share: float, target: float, current: float) -> Second:
        """``work`` executions, of which the target gets ``share``; the others: how many fail."""
        each = {
            (1, 1, 0, 0): share * target,
            (1, 0, 0, 0): share * (1 - target),
            (0, 0, 1, 1): (1 - share) * current,
            (0, 0, 1, 0): (1 - share) * (1 - current),
        }
        summed: dict[Counts, float] = {}
        for several in product(each, repeat=work):
            done, failed, usual, usually_failed = map(sum, zip(*several, strict=True))
            key = (done, failed, usual, usually_failed)
            summed[key] = summed.get(key, 0.0) + prod(each[one] for one in several)
        return cls(tuple(summed), tuple(accumulate(summed.values())))

    def looks(self, chance: random.Random, seconds: int) -> Iterator[Counts]:
        """What one who looks each second has counted since the step began."""
        done = failed = usual = usually_failed = 0
        for more in chance.choices(self.outcomes, cum_weights=self.likely, k=seconds):
            done += more[0]
            failed += more[1]
            usual += more[2]
            usually_failed += more[3]
            yield done, failed, usual, usually_failed


def may_convict(counts: Counts, analysis: Analysis = ANALYSIS) -> bool:
    """Whether the judge needs to be asked: a quick look that only lets go what he cannot convict.

    He convicts where a lower bound of the target's ratio is above an upper one of the
    current's, which is never below what was counted.
    """
    done, failed, usual, usually_failed = counts
    if not failed:
        return False
    least = analysis.failure_ratio + (usually_failed / usual if usual else 0.0)
    return failed / done > least and is_refuted(least, failed, done, judging._ERROR)


def outcome(
    activities: Counts, workflows: Counts = (0, 0, 0, 0), analysis: Analysis = ANALYSIS
) -> str:
    """What the judge says."""
    target, current = (
        BuildSample(
            build_id,
            activities=activities[at],
            activity_failures=activities[at + 1],
            workflows=workflows[at],
            workflow_failures=workflows[at + 1],
        )
        for build_id, at in (("v2", 0), ("v1", 2))
    )
    return judge(analysis, Measurements(60, target, current), held=-1).outcome


def is_rolled_back(
    chance: random.Random, step: Second, seconds: int, analysis: Analysis = ANALYSIS
) -> bool:
    """Whether a step, in which activities and workflows do alike, ends with a rollback."""
    both = zip(step.looks(chance, seconds), step.looks(chance, seconds), strict=True)
    return any(
        outcome(activities, workflows, analysis) == "rollback"
        for activities, workflows in both
        if may_convict(activities, analysis) or may_convict(workflows, analysis)
    )


@pytest.mark.parametrize(
    ("ratio", "seconds", "rollouts"),
    [
        (0.01, 30, 3000),
        (0.1, 30, 2500),
        (0.4, 30, 2500),
        (0.01, 300, 700),
        (0.1, 300, 700),
        (0.4, 300, 600),
    ],
)
def test_sound_builds_are_left_alone(ratio: float, seconds: int, rollouts: int) -> None:
    """Of 10,000 rollouts whose two builds fail alike, at most 1 % are rolled back.

    Each goes by 10 and 50 %, in some of them a step is held for five minutes.
    """
    chance = random.Random(11)  # noqa: S311 - a simulation
    steps = [Second.of(4, share=share, target=ratio, current=ratio) for share in (0.1, 0.5)]
    wrong = sum(
        any(is_rolled_back(chance, step, seconds) for step in steps) for _ in range(rollouts)
    )
    assert wrong <= rollouts / 100


def test_sound_builds_are_left_alone_even_without_tolerance() -> None:
    """With a failure_ratio of 0 nothing but the bounds protects a sound build, and they do."""
    chance = random.Random(14)  # noqa: S311 - a simulation
    step = Second.of(4, share=0.5, target=0.1, current=0.1)
    wrong = sum(is_rolled_back(chance, step, 120, STRICT) for _ in range(1000))
    assert wrong <= 10


@pytest.mark.parametrize(("share", "executed"), [(0.1, 100), (0.5, 210)])
def test_a_third_of_failures_is_caught_within_the_step(share: float, executed: int) -> None:
    """Of builds of which 30 % of the activities fail, 99 of 100 go back within the step.

    That is once the target has executed 100 activities in a step of 10 %, or 210 in one of
    50 %, where there are fewer of the current build's to compare with.
    """
    chance = random.Random(12)  # noqa: S311 - a simulation
    second = Second.of(4, share=share, target=0.3, current=0.0)
    caught = 0
    for _ in range(200):
        within = takewhile(lambda counts: counts[0] <= executed, second.looks(chance, 400))
        caught += any(outcome(counts) == "rollback" for counts in within if may_convict(counts))
    assert caught >= 198


def test_what_is_not_proven_holds() -> None:
    """With little traffic there is no proof within the pause, and no advance either."""
    chance = random.Random(13)  # noqa: S311 - a simulation
    second = Second.of(4, share=0.1, target=0.4, current=0.0)
    for _ in range(20):
        *_, last = second.looks(chance, 30)
        assert outcome(last) in ("hold", "rollback")
