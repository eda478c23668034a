"""The worker deployment's versions as metrics: what the server says of them, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rollout.core.observation import STATUSES, STUCK, Observation, Version
from rollout.core.shares import falls_short, real_share
from rollout.core.verdict import safe_to_stop, target_share

__all__ = ["STALE_AFTER", "DeploymentMetrics"]

STALE_AFTER = 15.0
"""Seconds for which an observation is served; after that, no value rather than an old one.
A single read that fails or is slow leaves no gap in the graphs."""

_PREFIX = "temporal_worker_deployment"
_VERSION_LABELS = ("namespace", "deployment_name", "build_id")


@dataclass(frozen=True)
class _Reading:
    observation: Observation
    target: str | None
    taken: float


class DeploymentMetrics(Collector):
    """The newest observation of the deployment, as long as it is not stale.

    Written by the event loop, read by the threads that serve scrapes.
    ``clock`` gives seconds that never go back; ``now`` the time of day, by which an
    observation's evidence ages.
    """

    def __init__(
        self,
        deployment: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.deployment = deployment
        """The name of what was read last, or is to be read."""
        self._clock = clock
        self._now = now
        self._reading: _Reading | None = None
        self._reachable = False

    def saw(self, observation: Observation, target: str | None) -> None:
        """Take ``observation`` as what is, and ``target`` as the build that is wanted."""
        self.deployment = observation.deployment
        self._reading = _Reading(observation, target, self._clock())
        self._reachable = True

    def missed(self) -> None:
        """The deployment could not be read just now."""
        self._reachable = False

    def collect(self) -> Iterable[Metric]:
        """Every series of one scrape; those of the versions only from a fresh observation."""
        reading = self._reading
        fresh = reading is not None and self._clock() - reading.taken < STALE_AFTER
        yield self._own(
            f"{_PREFIX}_up",
            "Whether the deployment was read from Temporal just now (1) or not (0).",
            int(fresh and self._reachable),
        )
        if reading is None:
            return
        yield self._own(
            f"{_PREFIX}_last_observation_time_seconds",
            "When the oldest part of what is served was asked for, in seconds since 1970.",
            reading.observation.oldest.timestamp(),
        )
        yield self._own(
            "rollout_observation_age_seconds",
            "Seconds since the oldest part of what is served was asked for.",
            max(0.0, (self._now() - reading.observation.oldest).total_seconds()),
        )
        if fresh:
            yield from _versions(reading.observation, reading.target, self._now())
            yield _routing_changes(reading.observation)
            yield from _whole(reading.observation)
            yield _hosts(reading.observation)

    def _own(self, name: str, documentation: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, documentation, labels=("deployment_name",))
        family.add_metric((self.deployment,), value)
        return family


def _versions(observation: Observation, target: str | None, now: datetime) -> Iterable[Metric]:
    status = _gauge(
        "version_status",
        "Whether the version has this status (1) or not (0); "
        "unregistered: a program runs it, and the server does not know it.",
        "status",
    )
    share = _gauge("version_target_ratio", "Share of new runs meant for the version, 0 to 1.")
    open_runs = _gauge(
        "version_open_workflows", "Running workflows on the version; absent where not known."
    )
    workers = _gauge(
        "version_workers",
        "Worker processes of the version with a fresh heartbeat; absent where not known.",
    )
    safe = _gauge(
        "version_safe_to_stop",
        "Whether the version's workers may be stopped (1) or not (0); unknown is not safe.",
    )
    drained = _gauge(
        "version_drained_since_seconds",
        "When the version was drained, in seconds since 1970; absent while it is not.",
    )
    waiting = _gauge(
        "version_waiting_tasks",
        "Tasks that wait in the version's queues, approximately; absent where not known.",
    )
    waiting_age = _gauge(
        "version_waiting_age_seconds",
        "For how long the oldest of them has waited, approximately; absent where not known.",
    )
    counted = _gauge(
        "version_open_workflows_age_seconds",
        "For how long at most it has been since the version's running workflows were counted.",
    )
    real = _gauge(
        "version_real_ratio",
        "Share of new runs, 0 to 1, that the version has really got since the routing last "
        "changed; absent where not known.",
    )
    pinned = _gauge(
        "version_open_pinned_workflows",
        "Of the running workflows those that can go on nowhere else; absent where not known.",
    )
    short = _gauge(
        "version_falls_short",
        "Whether the version gets far fewer new runs than meant, beyond chance (1), or not (0); "
        "of versions that new runs are meant for.",
    )
    objection = _gauge(
        "version_stop_objection",
        "1 for the first point that speaks against stopping the version's workers; absent where "
        "none does.",
        "check",
    )
    for version in observation.versions:
        labels = _labels(observation, version)
        for name in STATUSES:
            status.add_metric((*labels, name), int(version.status == name))
        share.add_metric(labels, target_share(observation, version.build_id))
        verdict = safe_to_stop(observation, version.build_id, target, now)
        safe.add_metric(labels, int(verdict.safe_to_stop))
        if against := next((point for point in verdict.evidence if not point.ok), None):
            objection.add_metric((*labels, against.check), 1)
        if target_share(observation, version.build_id):
            short.add_metric(labels, falls_short(observation, version.build_id) is not None)
        _add_known(pinned, labels, version.open_pinned)
        _add_known(open_runs, labels, version.open_runs)
        if version.open_runs is not None:
            at = min(version.counted_at or observation.oldest, observation.oldest)
            counted.add_metric(labels, max(0.0, (now - at).total_seconds()))
        _add_known(workers, labels, version.workers)
        _add_known(drained, labels, version.drained_since)
        _add_known(waiting, labels, version.backlog)
        _add_known(waiting_age, labels, version.waiting_age)
        _add_known(real, labels, real_share(observation, version.build_id))
    counts = (open_runs, pinned, counted, workers, drained, waiting, waiting_age)
    return (status, share, real, short, *counts, safe, objection)


def _whole(seen: Observation) -> Iterable[Metric]:
    """What is not of one version."""

    def gauge(name: str, documentation: str, value: float | None) -> Metric:
        labels = ("namespace", "deployment_name")
        family = GaugeMetricFamily(f"{_PREFIX}_{name}", documentation, labels=labels)
        _add_known(family, (seen.namespace, seen.deployment), value)
        return family

    yield gauge(
        "unassigned_runs",
        "Running workflows on the deployment's task queues that no version has taken yet; absent "
        "where not known.",
        seen.unassigned,
    )
    yield gauge(
        "stuck_runs",
        f"Of those the ones that have been due for more than {STUCK:.0f} s: new runs wait; absent "
        "where not known.",
        seen.stuck,
    )
    yield gauge(
        "stranded_runs",
        "Running workflows on versions that the server has forgotten.",
        sum(seen.elsewhere.values()),
    )
    yield gauge(
        "versions",
        "Versions that the server knows.",
        sum(version.status != "unregistered" for version in seen.versions),
    )
    yield gauge(
        "routing_settled",
        "Whether the last routing change has reached every task queue (1) or not (0).",
        int(seen.routing_settled),
    )
    yield gauge("skewed_clocks", "Worker hosts whose clock is far from ours.", len(seen.skewed))


def _routing_changes(observation: Observation) -> Metric:
    changes = _gauge(
        "routing_change_time_seconds",
        "When the current or the ramping version, or its percentage, last changed, in seconds "
        "since 1970; build_id is the version that took the place, empty if none did, and "
        "percentage its share of new runs then.",
        "kind",
        "percentage",
    )
    ramping = observation.ramping.build_id if observation.ramping else ""
    percentage = observation.ramping.percentage if observation.ramping else 0
    for kind, build_id, share, changed_at in (
        ("current", observation.current or "", 100, observation.current_changed_at),
        ("ramping", ramping, percentage, observation.ramping_changed_at),
    ):
        labels = (observation.namespace, observation.deployment, build_id, kind, f"{share:g}")
        _add_known(changes, labels, changed_at)
    return changes


def _hosts(observation: Observation) -> Metric:
    family = GaugeMetricFamily(
        f"{_PREFIX}_host_silent",
        "Whether the worker host has not been heard for a minute (1) or has (0).",
        labels=("namespace", "deployment_name", "host"),
    )
    for host in observation.hosts or ():
        labels = (observation.namespace, observation.deployment, host.name)
        family.add_metric(labels, int(host.silent))
    return family


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", documentation, labels=(*_VERSION_LABELS, *labels))


def _labels(observation: Observation, version: Version) -> tuple[str, ...]:
    return observation.namespace, observation.deployment, version.build_id


def _add_known(
    family: GaugeMetricFamily, labels: tuple[str, ...], value: datetime | float | None
) -> None:
    """Add ``value``; what is not known has no series, so that it never reads as zero."""
    if isinstance(value, datetime):
        family.add_metric(labels, value.timestamp())
    elif value is not None:
        family.add_metric(labels, value)
