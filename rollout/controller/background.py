"""Work that takes long, done beside the controller's loop: replays, batches, programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from temporalio.service import RPCError

from rollout.base.exit import Failure
from rollout.core.actions import Action, StartProgram, Verify
from rollout.temporal.deletion import NotYet
from rollout.temporal.routing import Refused

__all__ = ["Background"]

log = structlog.get_logger(__name__)

_AT_ONCE = 0.5
"""Seconds that the loop waits for what is mostly over by then."""
_FORGOTTEN = 15.0
"""Seconds after which what is no longer planned is nobody's wish any more."""
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 120.0
_LONGEST_URGENT = 10.0
"""...of what new runs may wait for."""


class Background:
    """Actions under way, and those that have failed."""

    def __init__(self) -> None:
        self._under_way: dict[Action, asyncio.Task[None]] = {}
        self._failed: dict[Action, _Failure] = {}
        self._planned: dict[Action, float] = {}
        """When (by the loop's clock) each was last planned."""

    async def perform(
        self, action: Action, work: Callable[[], Coroutine[Any, Any, object]]
    ) -> None:
        """Begin ``work``, or hear how it went; call it again in each round that wants it.

        Raises `Refused` where it failed. It is then let be for a while, longer each time,
        and refused for the same reason meanwhile.
        """
        task = self._under_way.get(action)
        if task is None:
            self._refuse(action)
            task = self._under_way[action] = asyncio.create_task(self._run(action, work))
            await asyncio.wait({task}, timeout=_AT_ONCE)
        if task.done():
            del self._under_way[action]
            self._refuse(action)

    def drop(self, planned: Collection[Action]) -> None:
        """Forget what has not been ``planned`` for `_FORGOTTEN`: failures, replays under way.

        Not at once: a reading that fails makes a plan without it for a round.
        """
        self._planned.update(dict.fromkeys(planned, _now()))
        for action, last in list(self._planned.items()):
            if action in planned:
                continue
            task = self._under_way.get(action)
            if task is not None and task.done():
                del self._under_way[action]
            if _now() - last > _FORGOTTEN:
                if task is not None and isinstance(action, Verify):
                    task.cancel()
                    self._under_way.pop(action, None)
                self._failed.pop(action, None)
                del self._planned[action]

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
            if isinstance(error, NotYet):
                reason = str(error)
            self._failed[action] = self._failed.get(action, _Failure()).again(action, reason)
        else:
            self._failed.pop(action, None)
            log.info("done", action=str(action))


@dataclass(frozen=True)
class _Failure:
    """An action that failed: until when (of the loop's clock) it is let be, and why."""

    until: float = 0.0
    pause: float = 0.0
    reason: str = ""

    def again(self, action: Action, reason: str) -> _Failure:
        """The same after one more failure."""
        urgent = isinstance(action, (StartProgram, Verify))
        longest = _LONGEST_URGENT if urgent else _LONGEST_PAUSE
        pause = min(2 * self.pause or _FIRST_PAUSE, longest)
        return _Failure(_now() + pause, pause, reason)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _words(error: Exception) -> str:
    said = error.message if isinstance(error, RPCError) else str(error)
    return said or type(error).__name__
