"""Waiting for what a test is about, with a deadline that says what is the case instead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["eventually", "until"]

T = TypeVar("T")

# What a condition may raise while it is not so yet.
_NOT_YET = (AssertionError, LookupError, OSError)
_PERIOD = 0.05


def eventually(condition: Callable[[], T], *, seconds: float = 30) -> T:
    """What ``condition`` gives as soon as it is true of it; fails with the last try's reason."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        reason: object = "it is not so"
        try:
            if value := condition():
                return value
        except _NOT_YET as error:
            reason = error
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s: {reason}")
        time.sleep(_pause(began))


async def until(condition: Callable[[], Awaitable[T]], *, seconds: float = 30) -> T:
    """`eventually` for a coroutine function, while the event loop goes on."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        reason: object = "it is not so"
        try:
            if value := await condition():
                return value
        except _NOT_YET as error:
            reason = error
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s: {reason}")
        await asyncio.sleep(_pause(began))


def _pause(began: float) -> float:
    """Seconds until the next look: twice what this one took, for others need the machine as well.

    A look that starts a command would otherwise keep a core busy for as long as it waits.
    """
    return max(_PERIOD, 2 * (time.monotonic() - began))
