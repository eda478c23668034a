"""Bounds of a ratio that hold at all looks together."""

from __future__ import annotations

import random

import pytest

from rollout.core.confidence import is_refuted, lower_bound, upper_bound


@pytest.mark.parametrize(("hits", "tries"), [(0, 1), (1, 1), (3, 10), (50, 100), (999, 1000)])
def test_they_hold_the_ratio_between_them(hits: int, tries: int) -> None:
    """What was counted lies between the bounds, and no bound is beyond 0 or 1."""
    low, high = lower_bound(hits, tries, 0.01), upper_bound(hits, tries, 0.01)
    assert 0 <= low <= hits / tries <= high <= 1


def test_nothing_tried_says_nothing() -> None:
    """Without a single try any ratio is possible."""
    assert (lower_bound(0, 0, 0.01), upper_bound(0, 0, 0.01)) == (0.0, 1.0)


def test_more_tries_are_narrower() -> None:
    """The same ratio of more tries is known better, and comes near to what it is."""
    narrow = [upper_bound(n / 2, n, 0.01) - lower_bound(n / 2, n, 0.01) for n in (10, 100, 10_000)]
    assert narrow == sorted(narrow, reverse=True)
    assert narrow[-1] < 0.06


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5])
def test_who_looks_after_every_try_is_hardly_ever_misled(ratio: float) -> None:
    """In 1,000 series of 500 tries, looked at after each, the bounds are left in 1 % at most."""
    chance = random.Random(7)  # noqa: S311 - a simulation
    left = 0
    for _ in range(1000):
        hits = 0
        for tries in range(1, 501):
            hits += chance.random() < ratio
            if hits / tries > ratio and is_refuted(ratio, hits, tries, 0.01):
                left += 1
                break
    assert left <= 10
