"""Waiting until something holds, with a deadline: the one way to do it, by tenacity."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

__all__ = ["until"]

T = TypeVar("T")

PERIOD = 0.1
"""Seconds between two looks."""

_SHORTEST = 0.001
"""Seconds between the last but one look and the last, at least: clocks are not that exact."""


async def until(
    condition: Callable[[], Awaitable[T]], seconds: float, *, period: float = PERIOD
) -> T | None:
    """The first true answer of ``condition``; None where there is none within ``seconds``.

    It is asked at once, then every ``period`` seconds, and once more when the time is up;
    what it raises is raised. A question under way is waited for: its timeout is its own.
    """

    def pause(state: tenacity.RetryCallState) -> float:
        left = seconds - (state.seconds_since_start or 0.0)
        return max(min(period, left), _SHORTEST)

    asking = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_result(lambda answer: not answer),
        wait=pause,
        stop=tenacity.stop_after_delay(seconds),
        retry_error_callback=lambda _state: None,
    )
    answer: T | None = await asking(condition)
    return answer
