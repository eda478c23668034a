"""Waiting until something holds, with a deadline: the one way to do it, by tenacity."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

__all__ = ["until"]

T = TypeVar("T")

PERIOD = 0.1
"""Seconds between two looks."""


async def until(
    condition: Callable[[], Awaitable[T]], seconds: float, *, period: float = PERIOD
) -> T | None:
    """The first true answer of ``condition``; None where there is none within ``seconds``.

    It is asked at once, and then every ``period`` seconds; what it raises is raised.
    """
    asking = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_result(lambda answer: not answer),
        wait=tenacity.wait_fixed(period),
        stop=tenacity.stop_after_delay(seconds),
        retry_error_callback=lambda _state: None,
    )
    answer: T | None = await asking(condition)
    return answer
