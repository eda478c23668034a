"""A build's own `lifespan()`: entered before its worker connects, left once it has drained."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from rollout.base.exit import Misuse
from rollout.base.logger import get_logger
from rollout.worker.app import App

__all__ = ["lived"]

log = get_logger(__name__)


@asynccontextmanager
async def lived(app: App, stop: asyncio.Event) -> AsyncIterator[bool]:
    """The build's lifespan, around what is done in it; False where ``stop`` was set too early.

    It is entered and left by the task that runs the worker: what it sets in context variables
    is seen there. Raises `Misuse` where it fails.
    """
    if app.own.lifespan is None:
        yield True
        return
    what = f"{app.module}: lifespan()"
    try:
        manager = app.own.lifespan()
        entered = await _entered(manager, stop)
    except Exception as error:
        raise Misuse(f"{what} failed: {_told(error)}") from error
    if not entered:
        yield False
        return
    try:
        yield True
    except BaseException as failure:
        try:
            await manager.__aexit__(type(failure), failure, failure.__traceback__)
        except Exception as error:  # noqa: BLE001 - what failed first is what is told
            if error is not failure:
                log.warning("the lifespan failed, too, when it was left", error=_told(error))
        raise
    try:
        await manager.__aexit__(None, None, None)
    except Exception as error:
        raise Misuse(f"{what} failed when it was left: {_told(error)}") from error


async def _entered(manager: AbstractAsyncContextManager[object], stop: asyncio.Event) -> bool:
    """Enter ``manager``; False where ``stop`` was set meanwhile."""
    mine, entering = asyncio.current_task(), True

    def interrupt(_stopped: object) -> None:
        if entering and mine is not None:
            mine.cancel()

    stopping = asyncio.ensure_future(stop.wait())
    stopping.add_done_callback(interrupt)
    try:
        await manager.__aenter__()
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        return False
    finally:
        entering = False
        stopping.cancel()
    return True


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
