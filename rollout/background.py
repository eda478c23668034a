"""Work that takes long, done beside the controller's loop: replays, batches, programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from temporalio.service import RPCError

from rollout.act import Refused
from rollout.model import Action, Verify
from stack.exit import Failure

__all__ = ["Background"]

log = structlog.get_logger(__name__)

_AT_ONCE = 0.5
"""Seconds that the loop waits for what is mostly over by then."""
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 120.0


class Background:
    """Actions under way, and those that have failed."""

    def __init__(self) -> None:
        self._under_way: dict[Action, asyncio.Task[None]] = {}
        self._failed: dict[Action, _Failure] = {}

    async def perform(
        self, action: Action, work: Callable[[], Coroutine[Any, Any, object]]
    ) -> None:
        """Begin ``work``, or hear how it went; call it again in each round that wants it.

        Raises `Refused` where it failed. It is then let be for a while, longer each time,
        and refused for the same reason meanwhile.
        """
        if action not in self._under_way:
            self._refuse(action)
            self._under_way[action] = asyncio.create_task(self._run(action, work))
        done, _ = await asyncio.wait({self._under_way[action]}, timeout=_AT_ONCE)
        if done:
            del self._under_way[action]
            self._refuse(action)

    def drop(self, planned: Collection[Action]) -> None:
        """End what is under way and no longer ``planned``, where it may end half-way."""
        for action, task in list(self._under_way.items()):
            if action not in planned and (task.done() or isinstance(action, Verify)):
                task.cancel()
                del self._under_way[action]

    def _refuse(self, action: Action) -> None:
        failed = self._failed.get(action, _Failure())
        if _now() < failed.until:
            raise Refused(failed.reason)

    async def _run(self, action: Action, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Do it and tell: the loop may not ask again, where it has seen what became of it."""
        try:
            await work()
        except Exception as error:
            if not isinstance(error, (Failure, RPCError, OSError)):
                log.exception("an action failed", action=str(action))
            reason = f"to {action} failed: {_words(error)}"
            self._failed[action] = self._failed.get(action, _Failure()).again(_now(), reason)
        else:
            self._failed.pop(action, None)
            log.info("done", action=str(action))


@dataclass(frozen=True)
class _Failure:
    """An action that failed: until when (of the loop's clock) it is let be, and why."""

    until: float = 0.0
    pause: float = 0.0
    reason: str = ""

    def again(self, now: float, reason: str) -> _Failure:
        """The same after one more failure."""
        pause = min(2 * self.pause, _LONGEST_PAUSE) or _FIRST_PAUSE
        return _Failure(now + pause, pause, reason)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _words(error: Exception) -> str:
    return error.message if isinstance(error, RPCError) else str(error)
