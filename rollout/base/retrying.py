"""Trying again while there is hope, with pauses. It needs no library: it runs inside workers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Attempt", "backoff", "jittered", "retrying"]

T = TypeVar("T")


@dataclass(frozen=True)
class Attempt:
    """A try that did not do, told before the pause that follows it."""

    number: int
    """From 1 up."""
    error: BaseException | None
    """What it raised; None where its answer did not do."""
    elapsed: float
    """Seconds since the first try began."""
    pause: float
    """Seconds until the next."""


def _quiet(_attempt: Attempt) -> None:
    """Tell nobody."""


async def retrying(
    call: Callable[[], Awaitable[T]],
    *,
    again: Callable[[BaseException], bool],
    pauses: Iterable[float],
    told: Callable[[Attempt], None] = _quiet,
    wanted: Callable[[T], bool] = lambda _answer: True,
    seconds: float | None = None,
) -> T:
    """The first answer of ``call`` that is ``wanted``, tried again where ``again`` says so.

    Any other error is raised, and each of them once ``seconds`` are over or there are no more
    ``pauses``; an answer that is not wanted is then returned.
    """
    began = time.monotonic()
    waits = iter(pauses)
    number = 0
    while True:
        number += 1
        answer, error = await _tried(call, again)
        if error is None and wanted(answer):  # type: ignore[arg-type]
            return answer  # type: ignore[return-value]
        elapsed = time.monotonic() - began
        pause = next(waits, None)
        if pause is None or (seconds is not None and elapsed >= seconds):
            if error is not None:
                raise error
            return answer  # type: ignore[return-value]
        told(Attempt(number, error, elapsed, pause))
        await asyncio.sleep(pause)


async def _tried(
    call: Callable[[], Awaitable[T]], again: Callable[[BaseException], bool]
) -> tuple[T | None, Exception | None]:
    try:
        return await call(), None
    except Exception as error:
        if not again(error):
            raise
        return None, error


def backoff(first: float, longest: float) -> Iterator[float]:
    """Pauses that double from ``first`` to ``longest`` seconds, for ever."""
    pause = first
    while True:
        yield min(pause, longest)
        pause = min(2 * pause, longest)


def jittered(pauses: Iterable[float], *, least: float = 0.0) -> Iterator[float]:
    """Each of ``pauses`` as a random one from ``least`` up to it: many processes spread out."""
    for pause in pauses:
        yield random.uniform(least, pause)  # noqa: S311 - nobody gains by guessing it
