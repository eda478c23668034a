"""Gathers what a report says, from the logs, the server and Prometheus. It only reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Literal

from temporalio.client import Client
from temporalio.service import RPCError

from rollout.base.log_files import LogFile
from rollout.base.settings import prometheus_url
from rollout.controller.past import Event
from rollout.controller.report.period import Period
from rollout.controller.report.recorder import Recorder
from rollout.core.config import RolloutConfig
from rollout.core.observation import Observation
from rollout.core.report import Curve, Failed, Figures, Happened, Report, builds_of
from rollout.prometheus.client import prometheus_at
from rollout.prometheus.history import Past
from rollout.temporal.ended_runs import ended_runs, failed_runs

__all__ = ["Gathered", "gather"]

_AROUND = timedelta(minutes=2)
"""So much before and after a rollout is shown beside it."""
_SHORTEST = timedelta(seconds=2)
_MOST_EVENTS = 500
_MOST_BUILDS = 12


@dataclass(frozen=True)
class Gathered:
    """Where a report's parts come from; None: not there."""

    config: RolloutConfig
    seen: Observation
    events: Sequence[Event]
    client: Client | None
    controller_log: LogFile | None = None
    recorder: Recorder | None = None
    """What is drawn where Prometheus has nothing."""
    problem: str | None = None
    """Why nobody tells what has happened to the processes; None: somebody does."""


async def gather(found: Gathered, period: Period, now: datetime) -> Report:
    """The report of ``period``; what cannot be found out is said in it."""
    seen, target = found.seen, period.target
    first, last = period.began - _AROUND, min(period.ended + _AROUND, now)
    builds, stopping = builds_of(seen, target, now)
    missing = [f"what has happened to processes: {found.problem}"] if found.problem else []
    names = [build.build_id for build in builds if build.status != "unregistered"]
    events = [event for event in found.events if first <= event.at <= last]
    async with prometheus_at(prometheus_url()) as prometheus:
        span = first.timestamp(), last.timestamp()
        past = Past(prometheus, seen.deployment)
        past = replace(past, kind=await past.most_frequent_type(*span))
        curves = await past.curves(*span)
        if isinstance(curves, str):
            missing.append(f"latency, activities and tasks, for Prometheus gives none: {curves}")
            curves = ()
        if not any(curve.kind == "meant" for curve in curves):
            own = found.recorder.curves(*span) if found.recorder else ()
            curves = (*curves, *(own or _meant(events, period)))
        figures = [
            figures
            for part, start, end in _parts(period, first, last)
            for figures in await _figures(found, past, _Part(part, start, end, names), missing)
        ]
    failed: tuple[Failed, ...] = ()
    if found.client is None:
        missing.append("failed runs, for the server was not asked")
    else:
        try:
            failed = await failed_runs(found.client, seen.deployment, period.began, last)
        except RPCError as error:
            missing.append(f"failed runs: {error.message}")
    return Report(
        deployment=seen.deployment,
        namespace=seen.namespace,
        target=target,
        previous=period.previous,
        outcome=period.outcome,
        reason=period.reason,
        began=period.began,
        ended=period.ended,
        made_at=now,
        builds=builds,
        figures=tuple(figures),
        curves=curves,
        analysis=await asyncio.to_thread(
            lambda: tuple(_analysis(found.controller_log, seen.deployment, first, last))
        ),
        failed=failed,
        stopping=stopping,
        events=tuple(
            Happened(e.at, e.name, _whole(e.text), e.source, e.build_id, _whole(e.who))
            for e in events[-_MOST_EVENTS:]
        ),
        missing=tuple(missing),
    )


@dataclass(frozen=True)
class _Part:
    """One part of the time, and the builds that are looked at in it."""

    name: Literal["before", "during", "after"]
    start: datetime
    end: datetime
    builds: Sequence[str]


def _parts(
    period: Period, first: datetime, last: datetime
) -> Iterator[tuple[Literal["before", "during", "after"], datetime, datetime]]:
    if period.began - first >= _SHORTEST:
        yield "before", first, period.began
    yield "during", period.began, period.ended
    if last - period.ended >= _SHORTEST:
        yield "after", period.ended, last


async def _figures(found: Gathered, past: Past, part: _Part, missing: list[str]) -> list[Figures]:
    figures = []
    for build_id in part.builds[:_MOST_BUILDS]:
        measured, counted = await asyncio.gather(
            past.part(build_id, part.start.timestamp(), part.end.timestamp()),
            _counted(found, build_id, part, missing),
        )
        figures.append(
            Figures(
                part.name,
                build_id,
                (part.end - part.start).total_seconds(),
                *counted,
                measured.activity_failures,
                measured.task_failures,
                measured.p50,
                measured.p95,
            )
        )
    return figures


def _whole(text: str) -> str:
    """``text`` without halves of UTF-16 pairs, which a log may hold and JSON may not."""
    return text.encode(errors="backslashreplace").decode()


async def _counted(
    found: Gathered, build_id: str, part: _Part, missing: list[str]
) -> tuple[float | None, float | None]:
    """How many runs completed, and how many failed."""
    if found.client is None:
        return None, None
    try:
        ended = await ended_runs(
            found.client, found.seen.deployment, build_id, part.start, part.end
        )
    except RPCError as error:
        told = f"ended runs of {build_id}: {error.message}"
        if told not in missing:
            missing.append(told)
        return None, None
    return float(ended.completed), float(ended.failed)


def _meant(events: Sequence[Event], period: Period) -> Iterator[Curve]:
    """Who was meant to get new runs, by what the controller did, where nothing was recorded."""
    shares: list[tuple[float, float]] = [(period.began.timestamp(), 0.0)]
    for event in events:
        at = event.at.timestamp()
        if event.build_id == period.target and event.percentage is not None:
            shares.append((at, event.percentage / 100))
        elif event.name == "routing.current-set":
            shares.append((at, float(event.build_id == period.target)))
        elif event.name == "routing.ramp-ended":
            shares.append((at, 0.0))
    shares.append((max(period.ended.timestamp(), shares[-1][0]), shares[-1][1]))
    yield Curve("meant", period.target, tuple(shares))
    if period.previous:
        yield Curve("meant", period.previous, tuple((at, 1 - share) for at, share in shares))


def _analysis(
    log: LogFile | None, deployment: str, first: datetime, last: datetime
) -> Iterator[tuple[datetime, str, str, int, int]]:
    """What analysis had counted, as the controller has logged it with its plans."""
    for record in log.history() if log else ():
        counted = record.fields.get("counted")
        at = datetime.fromtimestamp(record.time, tz=timezone.utc)
        of = record.fields.get("deployment_name")
        if not isinstance(counted, dict) or not first <= at <= last or of not in (None, deployment):
            continue
        for build_id, kinds in counted.items():
            for what, (failed, executed) in kinds.items():
                if executed:
                    yield at, str(build_id), str(what), int(failed), int(executed)
