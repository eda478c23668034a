"""Stopping on SIGTERM and SIGINT: a flag that the main line looks at, never a lost cancellation."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable
from typing import TypeVar

__all__ = ["stop_on_signals", "unless_stopped"]

T = TypeVar("T")


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set. Call it inside the running event loop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def unless_stopped(stop: asyncio.Event, work: Awaitable[T]) -> T | None:
    """What ``work`` returns, or None as soon as ``stop`` is set.

    ``work`` is cancelled then, and not waited for: until Python 3.12 a cancellation
    may be swallowed by `asyncio.wait_for`, and the process is about to end anyway.
    """
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    return None
