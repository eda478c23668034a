"""How often the judge is wrong, by simulation: looked at every second, as the controller does."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from rollout.core.config import Analysis
from rollout.core.judge import Judgement, judge
from rollout.core.observation import BuildSample, Measurements

ANALYSIS = Analysis(min_samples=10, failure_ratio=0.05)
STEPS = (0.1, 0.5)
STEP_SECONDS = 30


def rollout(
    chance: random.Random,
    *,
    sound: float,
    target: float,
    per_second: float,
    seconds: int,
    until: Callable[[Judgement], bool],
    quick: bool = True,
) -> float | None:
    """The share at which a rollout of two steps is judged as ``until``; None where it is not.

    ``sound`` is the current build's ratio of failures, ``target`` the other's.
    """
    for share in STEPS:
        counts = {"v1": [0, 0], "v2": [0, 0]}
        work = 0.0
        for _ in range(seconds):
            work += per_second
            while work >= 1:
                work -= 1
                build, ratio = ("v2", target) if chance.random() < share else ("v1", sound)
                counts[build][0] += 1
                counts[build][1] += chance.random() < ratio
            done, failed = counts["v2"]
            usual = counts["v1"][1] / max(counts["v1"][0], 1)
            if quick and failed / max(done, 1) - usual <= ANALYSIS.failure_ratio:
                continue  # the judge has nothing against it; 10,000 rollouts have to be quick
            samples = [
                BuildSample(name, activities=done, activity_failures=failed)
                for name, (done, failed) in counts.items()
            ]
            if until(judge(ANALYSIS, Measurements(60, samples[1], samples[0]), held=-1)):
                return share
    return None


def is_rollback(judgement: Judgement) -> bool:
    """Whether the target goes back."""
    return judgement.outcome == "rollback"


@pytest.mark.parametrize(("ratio", "rollouts"), [(0.01, 5000), (0.1, 3000), (0.4, 2000)])
def test_sound_builds_are_left_alone(ratio: float, rollouts: int) -> None:
    """Of 10,000 rollouts whose two builds fail alike, at most 1 % are rolled back."""
    chance = random.Random(11)  # noqa: S311 - a simulation
    wrong = sum(
        rollout(
            chance, sound=ratio, target=ratio, per_second=4, seconds=STEP_SECONDS, until=is_rollback
        )
        is not None
        for _ in range(rollouts)
    )
    assert wrong <= rollouts / 100


def test_a_third_of_failures_is_caught_within_the_first_step() -> None:
    """A build of which 30 % of the activities fail goes back at 10 % in 99 of 100 rollouts."""
    chance = random.Random(12)  # noqa: S311 - a simulation
    caught = [
        rollout(
            chance, sound=0.0, target=0.3, per_second=40, seconds=STEP_SECONDS, until=is_rollback
        )
        for _ in range(100)
    ]
    assert caught.count(0.1) >= 99


def test_what_is_not_proven_holds() -> None:
    """With little traffic there is no proof within the pause, and no advance either."""
    chance = random.Random(13)  # noqa: S311 - a simulation
    last: list[str] = []

    def note(judgement: Judgement) -> bool:
        last.append(judgement.outcome)
        return is_rollback(judgement)

    for _ in range(20):
        last.clear()
        rollout(
            chance,
            sound=0.0,
            target=0.4,
            per_second=5,
            seconds=STEP_SECONDS,
            until=note,
            quick=False,
        )
        at_the_pause_of_the_first_step = last[:STEP_SECONDS][-1]
        assert at_the_pause_of_the_first_step in ("hold", "rollback")
