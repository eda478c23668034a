"""Pure: what `rollout watch` shows at one moment, as plain data."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rollout.controller.past import Event
from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.hosts import hosts_shown
from rollout.core.observation import Observation, Version
from rollout.core.shares import real_samples, real_share
from rollout.core.steps import StepMark, step_marks
from rollout.core.verdict import Verdict, safe_to_stop, target_share
from rollout.core.work import Work, work_of, worst
from rollout.prometheus.traffic import Traffic

__all__ = ["Context", "Row", "Trends", "View", "view_of"]

TREND_LENGTH = 60


@dataclass(frozen=True)
class Row:
    """One version."""

    version: Version
    meant: float
    """The share of new runs, 0 to 1, that the routing gives to it."""
    real: float | None
    """The share that it gets, as measured; None where that is not known."""
    open_runs: tuple[int | None, ...]
    """The last counts, oldest first."""
    failures: float | None
    """The part of its work that failed, 0 to 1, of the kind that does worst: as analysis counts it,
    else of the last minute."""
    p95: float | None
    """Seconds."""
    verdict: Verdict
    hosts: str | None = None
    """On how many hosts it runs; None where there are no others."""
    work: tuple[Work, ...] = ()
    """What analysis has counted of it since traffic last changed; empty: it is not compared."""
    restarts: int | None = None
    """How often its processes here were started again by themselves; None: not known."""

    @property
    def is_quiet(self) -> bool:
        """Nothing goes there and nothing is left there: one line says all of it."""
        idle = self.meant == 0 and not self.version.open_runs
        return idle and self.version.open_runs is not None and (self.real or 0) < 0.005


@dataclass(frozen=True)
class View:
    """One picture."""

    deployment: str
    target: str
    at: datetime
    namespace: str = ""
    phase: str = ""
    reason: str = ""
    news: Hashable = None
    """Equal while the phase and the reason say nothing new; see `Plan.news`."""
    steps: tuple[StepMark, ...] = ()
    rows: tuple[Row, ...] = ()
    measured: str | None = None
    """The workflow type that the real shares are of, where they are measured."""
    samples: int | None = None
    """How many new runs the real shares are of, where these were counted on the server."""
    events: tuple[Event, ...] = ()
    """Oldest first."""
    notes: tuple[str, ...] = ()
    """What could not be read, a sentence each."""


class Trends:
    """The open runs of each version in the last observations."""

    def __init__(self) -> None:
        self._counts: dict[str, deque[int | None]] = {}

    def add(self, seen: Observation) -> None:
        """Take in one more observation; a version that is gone is forgotten."""
        self._counts = {
            version.build_id: self._counts.get(version.build_id, deque(maxlen=TREND_LENGTH))
            for version in seen.versions
        }
        for version in seen.versions:
            self._counts[version.build_id].append(version.open_runs)

    def of(self, build_id: str) -> tuple[int | None, ...]:
        """The counts of a version, oldest first."""
        return tuple(self._counts.get(build_id, ()))


@dataclass(frozen=True)
class Context:
    """What surrounds an observation in the picture."""

    traffic: Traffic
    trends: Trends
    events: Sequence[Event] = ()
    """Oldest first."""
    notes: Sequence[str] = ()
    restarts: Mapping[str, int] = field(default_factory=dict)
    """By build; see `Row.restarts`."""


def view_of(
    config: RolloutConfig,
    seen: Observation | None,
    decided: Plan | None,
    now: datetime,
    context: Context,
) -> View:
    """The picture at ``now`` of what was ``seen`` last; None: nothing yet."""
    target = config.deployment.target
    traffic, events, notes = context.traffic, tuple(context.events), tuple(context.notes)
    if seen is None or decided is None:
        return View(config.deployment.name, target, now, events=events, notes=notes)
    problems = (*notes, *seen.problems, *([traffic.problem] if traffic.problem else []))
    return View(
        deployment=seen.deployment,
        target=target,
        at=now,
        namespace=seen.namespace,
        phase=decided.phase,
        reason=decided.reason,
        news=decided.news,
        steps=step_marks(config, seen, now),
        rows=tuple(_row(seen, version, target, now, context) for version in seen.versions),
        measured=traffic.workflow_type,
        samples=real_samples(seen) if seen.ramping else None,
        events=events,
        notes=problems,
    )


def _row(seen: Observation, version: Version, target: str, now: datetime, context: Context) -> Row:
    build_id, traffic = version.build_id, context.traffic
    work = _judged(seen, build_id)
    compared = worst(work)
    return Row(
        version=version,
        meant=target_share(seen, build_id),
        real=_really(seen, traffic, build_id),
        open_runs=context.trends.of(build_id),
        failures=compared.ratio if compared else traffic.failures.get(build_id),
        p95=traffic.p95.get(build_id),
        verdict=safe_to_stop(seen, build_id, target, now),
        hosts=None if seen.hosts == () else hosts_shown(seen, build_id),
        work=work,
        restarts=context.restarts.get(build_id),
    )


def _judged(seen: Observation, build_id: str) -> tuple[Work, ...]:
    """What analysis compares of a build; nothing where it does not, or could not be measured."""
    measured = seen.measurements
    if measured is None or measured.problem:
        return ()
    samples = (measured.target, measured.current)
    found = next((sample for sample in samples if sample.build_id == build_id), None)
    return work_of(measured, found) if found else ()


def _really(seen: Observation, traffic: Traffic, build_id: str) -> float | None:
    """Who gets new runs: while they are divided as counted on the server, else as measured."""
    counted = real_share(seen, build_id) if seen.ramping else None
    return traffic.share(build_id) if counted is None else counted
