"""Telling people what happens, beside the controller's loop: it holds no rollout up.

What is to be told is kept in a file until it was, so that a controller that is killed tells it when
it is started again. Each way has a queue of its own, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from rollout.base import files
from rollout.base.exit import Failure
from rollout.controller import events
from rollout.controller.channels import Message, Send, channels
from rollout.controller.places import run_file
from rollout.core.actions import Plan
from rollout.core.config import Notify, RolloutConfig
from rollout.core.news import Known, News, news
from rollout.core.observation import Observation

__all__ = ["Notifier", "message_of"]

_MOST_WAITING = 100
"""Messages that wait for one way; beyond it the oldest is given up."""
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0


class _Kept(msgspec.Struct):
    """The file's content."""

    known: Known | None = None
    waiting: dict[str, list[Message]] = {}
    """By way, the oldest first."""


class Notifier:
    """What was told of one deployment, and what is yet to be."""

    def __init__(
        self, deployment: str, ended: Callable[[bool], None] = lambda _delivered: None
    ) -> None:
        """``ended`` is called for each message and way, with whether it was delivered or lost."""
        self._ended = ended
        self._file = run_file(deployment, "told.json")
        self._kept = _read(self._file)
        self._notify: Notify | None = None
        self._ways: Mapping[str, Send] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def round(self, config: RolloutConfig, seen: Observation, decided: Plan, held: float) -> None:
        """Find out what is new in a look, and begin to tell it. Raises nothing."""
        try:
            self._round(config, seen, decided, held)
        except Exception as error:  # noqa: BLE001 - telling of a rollout must not hold it up
            events.log_news_failed(error)

    def _round(self, config: RolloutConfig, seen: Observation, decided: Plan, held: float) -> None:
        if config.notify != self._notify:
            self._notify, self._ways = config.notify, channels(config.notify)
        now = datetime.now(timezone.utc)
        found, known = news(self._kept.known, config, seen, decided, now, held=held)
        wanted = config.notify.events if config.notify else ()
        told = [each for each in found if each.event in wanted]
        messages = [message_of(each, config, seen, decided) for each in told]
        for way in self._ways if messages else ():
            self._kept.waiting.setdefault(way, []).extend(messages)
            self._drop_the_oldest(way)
        if messages or known != self._kept.known:
            self._kept.known = known
            self._keep()
        for way in self._kept.waiting:
            task = self._tasks.get(way)
            if task is None or task.done():
                self._tasks[way] = asyncio.create_task(self._tell(way))

    def _drop_the_oldest(self, way: str) -> None:
        waiting = self._kept.waiting[way]
        while len(waiting) > _MOST_WAITING:
            self._lost(way, waiting.pop(1), "too many wait")

    async def _tell(self, way: str) -> None:
        """Tell all that waits for one way, in order."""
        waiting = self._kept.waiting
        while messages := waiting.get(way):
            await self._tell_one(way, messages[0])
            messages.pop(0)
            if not messages:
                del waiting[way]
            self._keep()

    async def _tell_one(self, way: str, message: Message) -> None:
        """Tell it, or give up after some tries."""
        tried, pause = 0, _FIRST_PAUSE
        while True:
            tried += 1
            notify, send = self._notify, self._ways.get(way)
            if notify is None or send is None:
                self._lost(way, message, "[notify] names it no longer")
                return
            try:
                await send(message)
            except Exception as error:  # noqa: BLE001 - whatever a service does, others are told
                why = str(error) if isinstance(error, Failure) else type(error).__name__
            else:
                events.log_notified(way, message.text)
                self._ended(True)
                return
            if tried >= notify.tries:
                self._lost(way, message, why)
                return
            events.log_notification_failed(way, message.text, why, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _lost(self, way: str, message: Message, why: str) -> None:
        events.log_notification_lost(way, message.text, why)
        self._ended(False)

    def _keep(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: at worst something is told twice
            self._file.parent.mkdir(parents=True, exist_ok=True)
            files.replace(self._file, msgspec.json.encode(self._kept))


def message_of(told: News, config: RolloutConfig, seen: Observation, decided: Plan) -> Message:
    """What is told of ``told``, with where the rollout stands."""
    ramp = seen.ramping
    ramping = None
    if ramp is not None:
        ramping = {"build_id": ramp.build_id, "percentage": ramp.percentage}
    return Message(
        id=str(uuid.uuid4()),
        event=told.event,
        text=f"{seen.deployment}: {told.text}",
        at=seen.at.isoformat(),
        deployment=seen.deployment,
        namespace=seen.namespace,
        build_id=told.build_id,
        target=config.deployment.target,
        current=seen.current,
        ramping=ramping,
        phase=decided.phase,
        reason=decided.reason,
    )


def _read(file: Path) -> _Kept:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return _Kept()
