"""Work that takes long, done beside the controller's loop: replays, batches, programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from rollout.controller import events
from rollout.core.actions import Action
from rollout.temporal.routing import Overtaken, Refused

__all__ = ["Background"]

Work = Callable[[], Coroutine[Any, Any, object]]

_AT_ONCE = 0.5
"""Seconds that the loop waits for what is mostly over by then."""
_FORGOTTEN = 15.0
"""Seconds after which what is no longer planned is nobody's wish any more."""
_FIRST_PAUSE = 5.0
_OVERTAKEN_PAUSE = 1.0


class Background:
    """Actions under way, and those that have failed."""

    def __init__(self) -> None:
        self._jobs: dict[Action, _Job] = {}

    async def perform(self, action: Action, work: Work) -> None:
        """Begin ``work``, or hear how it went; call it again in each round that wants it.

        Raises `Refused` where it failed. It is then let be for a while, longer each time,
        and refused for the same reason meanwhile.
        """
        job = self._jobs.setdefault(action, _Job(action))
        if not job.is_begun:
            job.refuse_for_now()
            await job.begin(work)
        if job.is_over:
            job.close()
            job.refuse_for_now()

    def drop(self, planned: Collection[Action]) -> None:
        """Forget what has not been ``planned`` for `_FORGOTTEN`: failures, replays under way.

        Not at once: a reading that fails makes a plan without it for a round.
        """
        for action, job in list(self._jobs.items()):
            if action in planned:
                job.planned_at = _now()
                continue
            if job.is_over:
                job.close()
            if _now() - job.planned_at > _FORGOTTEN and job.may_be_forgotten():
                del self._jobs[action]


class _Job:
    """One action: whether it is under way, and until when it is let be after a failure.

    All times are of the event loop's clock.
    """

    def __init__(self, action: Action) -> None:
        self.planned_at = _now()
        self._action = action
        self._task: asyncio.Task[None] | None = None
        self._failure = ""
        self._pause = 0.0
        self._let_be_until = 0.0

    @property
    def is_begun(self) -> bool:
        return self._task is not None

    @property
    def is_over(self) -> bool:
        return self._task is not None and self._task.done()

    def refuse_for_now(self) -> None:
        """Raise `Refused` while it is let be."""
        if _now() < self._let_be_until:
            raise Refused(self._failure)

    async def begin(self, work: Work) -> None:
        """Begin it, and wait for a moment, in which most work is done."""
        self._task = asyncio.create_task(self._run(work))
        await asyncio.wait({self._task}, timeout=_AT_ONCE)

    def close(self) -> None:
        """What it came to is known: asked for again, it begins anew."""
        self._task = None

    def may_be_forgotten(self) -> bool:
        """Whether nothing of it goes on that nobody plans; what may be ended is."""
        if self._task is not None and self._action.ends_when_unplanned:
            self._task.cancel()
            self._task = None
        return self._task is None

    async def _run(self, work: Work) -> None:
        try:
            await work()
        except Overtaken as overtaken:  # nothing has failed
            self._failure, self._let_be_until = str(overtaken), _now() + _OVERTAKEN_PAUSE
        except Refused as refused:
            self._fail(str(refused))
        except Exception as error:  # noqa: BLE001 - a mistake in one action must not end the others
            events.log_action_crashed(self._action, error)
            self._fail(f"could not {self._action}: {str(error) or type(error).__name__}")
        else:
            self._pause = self._let_be_until = 0.0

    def _fail(self, reason: str) -> None:
        self._pause = min(2 * self._pause or _FIRST_PAUSE, self._action.longest_pause)
        self._let_be_until = _now() + self._pause
        self._failure = reason


def _now() -> float:
    return asyncio.get_running_loop().time()
