"""Pure: what `rollout watch` shows at one moment, as plain data, and what has changed since."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rollout.controller.past import Event
from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.hosts import hosts_shown
from rollout.core.observation import Observation, Version
from rollout.core.shares import real_samples, real_share
from rollout.core.steps import StepMark, step_marks
from rollout.core.verdict import Verdict, safe_to_stop, target_share
from rollout.prometheus.traffic import Traffic

__all__ = ["Context", "Row", "Trends", "View", "view_of", "what_changed"]

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
    """The part of its closed runs that failed, 0 to 1."""
    p95: float | None
    """Seconds."""
    verdict: Verdict
    hosts: str | None = None
    """On how many hosts it runs; None where there are no others."""

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
        rows=tuple(
            Row(
                version=version,
                meant=target_share(seen, version.build_id),
                real=_really(seen, traffic, version.build_id),
                open_runs=context.trends.of(version.build_id),
                failures=traffic.failures.get(version.build_id),
                p95=traffic.p95.get(version.build_id),
                verdict=safe_to_stop(seen, version.build_id, target, now),
                hosts=None if seen.hosts == () else hosts_shown(seen, version.build_id),
            )
            for version in seen.versions
        ),
        measured=traffic.workflow_type,
        samples=real_samples(seen) if seen.ramping else None,
        events=events,
        notes=problems,
    )


def _really(seen: Observation, traffic: Traffic, build_id: str) -> float | None:
    """Who gets new runs: while they are divided as counted on the server, else as measured."""
    counted = real_share(seen, build_id) if seen.ramping else None
    return traffic.share(build_id) if counted is None else counted


def what_changed(before: Observation, after: Observation, target: str) -> tuple[str, ...]:
    """What has happened between two observations, a sentence each."""
    return (*_of_routing(before, after), *_of_versions(before, after, target))


def _of_routing(before: Observation, after: Observation) -> Iterator[str]:
    if after.manager != before.manager:
        yield f"{after.manager} manages the deployment" if after.manager else "nobody manages it"
    if after.ramping != before.ramping:
        if after.ramping:
            yield f"{after.ramping.percentage:g} % of new runs go to {after.ramping.build_id}"
        elif before.ramping and before.ramping.build_id != after.current:
            yield f"the ramp of {before.ramping.build_id} has ended"
    if after.current != before.current:
        yield f"new runs go to {after.current}" if after.current else "nothing is current"
    for run in after.gates:
        if run not in before.gates:
            why = f": {run.detail}" if run.detail else ""
            yield f"the gate on {run.task_queue}, try {run.attempt}, {_verb(run.outcome)}{why}"


def _verb(outcome: str) -> str:
    return {"running": "has begun", "passed": "has passed", "failed": "has failed"}[outcome]


def _of_versions(before: Observation, after: Observation, target: str) -> Iterator[str]:
    known: Mapping[str, Version] = {version.build_id: version for version in before.versions}
    for version in after.versions:
        old = known.get(version.build_id) or Version(version.build_id, "unregistered")
        yield from _of_version(old, version)
        # Each as it was then: an observation that was not repeated is no change of the version.
        was = safe_to_stop(before, version.build_id, target, before.at).safe_to_stop
        now = safe_to_stop(after, version.build_id, target, after.at).safe_to_stop
        if version.build_id in known and was != now:
            yield f"{version.build_id} is {'safe' if now else 'no longer safe'} to stop"
    there = {version.build_id for version in after.versions}
    yield from (f"{build_id} is gone" for build_id in known if build_id not in there)


def _of_version(old: Version, new: Version) -> Iterator[str]:
    name = new.build_id
    if new.shown_status != old.shown_status:
        yield f"{name} is {new.shown_status} (was {old.shown_status})"
    if new.process and new.process != old.process:
        yield f"the process of {name} is {new.process}"
    had = 0 if old.status == "unregistered" else old.workers
    if None not in (had, new.workers) and new.workers != had:
        count = new.workers or "no"
        yield f"{name} has {count} live {'worker' if new.workers == 1 else 'workers'}"
    if old.open_runs and new.open_runs == 0:
        yield f"no run is open on {name} any more"
    if new.blocked and new.blocked != old.blocked:
        yield f"{name} gets no traffic: {new.blocked}"
    for source, outcome in new.verified.items():
        if outcome != old.verified.get(source):
            yield f"the replay of {source}'s runs on {name}: {outcome}"
