"""Leaves a report at the end of each rollout, beside the controller's loop: it holds nothing up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timezone

from temporalio.client import Client

from rollout.base import settings
from rollout.base.log_files import LogFile
from rollout.controller import events
from rollout.controller.report.folder import keep
from rollout.controller.report.gathering import Gathered, gather
from rollout.controller.report.period import Period, period, since_the_wish
from rollout.controller.report.recorder import Recorder
from rollout.controller.timeline import Timeline
from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.observation import Observation
from rollout.core.report import Outcome, Report
from rollout.supervision.rpc import Supervisor

__all__ = ["Reporter", "report_now"]

_AGAIN = 120.0
"""Seconds after its end a rollout's report is written once more, with what came after it."""


class Reporter:
    """Reports each rollout that ends while it looks on."""

    def __init__(self, client: Client, again: float = _AGAIN) -> None:
        self._client = client
        self._supervisor = Supervisor()
        self._again = again
        self._recorder = Recorder()
        self._way: Period | None = None
        """The rollout that is under way."""
        self._task: asyncio.Task[None] | None = None

    def round(self, config: RolloutConfig, seen: Observation, decided: Plan, _held: float) -> None:
        """Take in one round, and begin to write where a rollout has ended in it."""
        self._recorder.saw(seen)
        target = config.deployment.target
        if self._way is not None and self._way.target != target:
            self._way = None
        why_back = seen.version(target).blocked if seen.ramping is None else None
        if decided.phase == "complete" or why_back:
            if self._way is not None:
                outcome: Outcome = "rolled back" if why_back else "complete"
                reason = why_back or decided.reason
                way = replace(self._way, ended=seen.at, outcome=outcome, reason=reason)
                self._begin(config, seen, way)
            self._way = None
        elif self._way is None and (seen.ramping or decided.phase == "progressing"):
            previous = seen.current if seen.current != target else None
            self._way = Period(target, previous, seen.at, seen.at, "under way", "")

    def _begin(self, config: RolloutConfig, seen: Observation, way: Period) -> None:
        if self._task is not None:
            self._task.cancel()  # of the rollout before: what came after it is this one
        self._task = asyncio.create_task(self._write(config, seen, way))

    async def _write(self, config: RolloutConfig, seen: Observation, way: Period) -> None:
        for pause in (0.0, self._again):
            await asyncio.sleep(pause)
            try:
                told = await _told(config, seen, self._supervisor, self._client)
                way = way if pause else since_the_wish(way, told.events)
                found = replace(told, recorder=self._recorder)
                report = await gather(found, way, datetime.now(timezone.utc))
                file = await asyncio.to_thread(keep, report)
            except Exception as error:  # noqa: BLE001 - a report must not hold a rollout up
                events.log_report_failed(error)
                return
            if not pause:
                events.log_reported(str(file), way.outcome)


async def report_now(
    config: RolloutConfig,
    seen: Observation,
    reason: str,
    client: Client | None,
    since: float | None = None,
) -> Report:
    """The report of the last rollout to the target, or of the last ``since`` seconds.

    ``reason`` is what the plan says, which counts while it is under way.
    """
    now = datetime.now(timezone.utc)
    found = await _told(config, seen, Supervisor(), client)
    way = period(found.events, config.deployment.target, reason, now, since)
    return await gather(found, way, now)


async def _told(
    config: RolloutConfig, seen: Observation, supervisor: Supervisor, client: Client | None
) -> Gathered:
    """What the logs tell, beside what was seen."""
    timeline = Timeline(settings.LOG_DIR, seen.deployment, supervisor)
    told = await timeline.past(seen)
    log = LogFile(settings.LOG_DIR, "rollout")
    return Gathered(config, seen, told, client, log, problem=timeline.problem)
