"""How the runs of two versions ended, as the server counts them: whatever their language.

A failed run and one that timed out are failures. A terminated one is not counted at all: that was
somebody's decision, and says nothing of the code.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rollout.core.observation import BuildSample, Measurements
from rollout.temporal.visibility import (
    FAILED,
    count,
    count_by_status,
    is_countable,
    on,
    open_runs_query,
    timestamp,
)

__all__ = ["ClosedRuns"]

_ENDED = ("Completed", "Canceled", "ContinuedAsNew", *FAILED)

_NON_DETERMINISM = (
    "TemporalReportedProblems IN ('cause=WorkflowTaskFailedCauseNonDeterministicError')"
)
"""By default the server says so of a run whose task has failed five times on end."""

LONGEST = timedelta(days=1)
"""So far back runs are counted at most, as `rollout.prometheus.measure` counts."""


class ClosedRuns:
    """Counts the runs of two versions that ended since a moment, and keeps the counts a while."""

    def __init__(self, client: Client, deployment: str, *, at_once: bool) -> None:
        """With ``at_once`` they are counted each time."""
        self._client = client
        self._deployment = deployment
        self._at_once = at_once
        self._last: tuple[tuple[str, str, datetime], datetime, Measurements] | None = None

    async def compare(
        self, target: str, current: str, since: datetime, period: float
    ) -> Measurements:
        """Target against current since ``since``, counted now or at most ``period`` seconds ago.

        Never raises for the server's sake: what went wrong is the measurements' ``problem``.
        """
        now = datetime.now(timezone.utc)
        begin = max(since, now - LONGEST)
        asked = (target, current, since)
        if self._last is not None and not self._at_once:
            of, at, counted = self._last
            age = (now - at).total_seconds()
            if of == asked and 0 <= age < period and not counted.problem:
                return counted
        counted = await self._compare(target, current, begin, (now - begin).total_seconds())
        self._last = (asked, now, counted)
        return counted

    async def _compare(
        self, target: str, current: str, begin: datetime, seconds: float
    ) -> Measurements:
        problem = None
        samples = BuildSample(target), BuildSample(current)
        names = (self._deployment, target, current)
        if odd := next((name for name in names if not is_countable(name)), None):
            problem = f"it cannot count the runs of a version with such a name: {odd!r}"
        else:
            try:
                of_target, of_current, broken = await asyncio.gather(
                    self._sample(target, begin),
                    self._sample(current, begin),
                    self._non_determinism(target),
                )
                samples = replace(of_target, non_determinism=broken), of_current
            except RPCError as error:
                problem = error.message
        return Measurements(
            0.0, *samples, counted=max(0.0, seconds), problem=problem, source="server"
        )

    async def _sample(self, build_id: str, begin: datetime) -> BuildSample:
        query = f"{on(self._deployment, build_id)} AND CloseTime > {timestamp(begin)}"
        ended = await count_by_status(self._client, query)
        return BuildSample(
            build_id,
            workflows=sum(ended.get(status, 0) for status in _ENDED),
            workflow_failures=sum(ended.get(status, 0) for status in FAILED),
        )

    async def _non_determinism(self, build_id: str) -> int:
        """Open runs that the code of ``build_id`` could not replay, several times on end.

        They never end. A server that is older than this search attribute refuses the query.
        """
        query = f"{open_runs_query(self._deployment, build_id)} AND {_NON_DETERMINISM}"
        try:
            return await count(self._client, query)
        except RPCError as error:
            if error.status == RPCStatusCode.INVALID_ARGUMENT:
                return 0
            raise
