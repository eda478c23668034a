"""Waiting until something holds, with a deadline: the one way to do it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

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

    began = time.monotonic()
    while True:
        answer = await condition()
        left = seconds - (time.monotonic() - began)
        if answer or left <= 0:
            return answer or None
        await asyncio.sleep(max(min(period, left), _SHORTEST))
