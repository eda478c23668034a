"""Waiting until something holds, with a deadline."""

from __future__ import annotations

import asyncio
import time

import pytest

from rollout.base.waiting import until


class Answers:
    """A condition that gives one answer after another, the last again and again."""

    def __init__(self, *answers: object) -> None:
        self.asked = 0
        self._answers = answers

    async def __call__(self) -> object:
        """The next answer."""
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]


class TestUntil:
    """The first true answer, or None."""

    async def test_at_once(self) -> None:
        """What holds already is not waited for, not even where there is no time."""
        began = time.monotonic()
        assert await until(Answers("yes"), 0) == "yes"
        assert await until(Answers("yes"), 60, period=30) == "yes"
        assert time.monotonic() - began < 10

    async def test_later(self) -> None:
        """It is asked again and again, and its first true answer is given."""
        condition = Answers(None, 0, "", "now", "too late")
        assert await until(condition, 30, period=0.01) == "now"
        assert condition.asked == 4

    async def test_never(self) -> None:
        """When its time is up it is given up, and what was the case at the end has counted."""
        condition = Answers(False)
        began = time.monotonic()
        assert await until(condition, 0.3, period=0.05) is None
        assert 0.2 <= time.monotonic() - began < 10
        assert condition.asked >= 2

    async def test_the_period_does_not_outlast_the_deadline(self) -> None:
        """A period longer than what is left is cut short, and it is asked once more at the end."""
        condition = Answers(None, "just in time")
        began = time.monotonic()
        assert await until(condition, 0.2, period=60) == "just in time"
        assert time.monotonic() - began < 30

    async def test_no_time(self) -> None:
        """Without any time it is asked once."""
        condition = Answers(None)
        assert await until(condition, 0) is None
        assert condition.asked == 1

    async def test_a_question_under_way_is_waited_for(self) -> None:
        """An answer that comes after the deadline counts: a slow server is not a "no"."""

        async def slow() -> str:
            await asyncio.sleep(0.1)
            return "after all"

        assert await until(slow, 0) == "after all"

    async def test_an_error_is_raised(self) -> None:
        """What the condition raises is not swallowed, nor wrapped."""

        async def broken() -> bool:
            raise LookupError("no such thing")

        with pytest.raises(LookupError, match="no such thing"):
            await until(broken, 30)
