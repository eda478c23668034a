"""The load's one account of what happened, read by its summary and by Prometheus alike."""

from __future__ import annotations

import json
from collections import Counter as Tally
from typing import Any, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from client.quantiles import Quantiles
from client.results import Ran
from client.schedule import WorkflowType
from rollout.base.exit import Failure, stamp
from rollout.base.settings import metrics_host

__all__ = ["Score"]

_LATENCY_BUCKETS = (
    *(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 90, 120),
)
_LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 300)


class Score:
    """Counts of starts and outcomes, latencies and schedule lag, since the load began."""

    def __init__(self) -> None:
        self.started = 0
        self.completed = 0
        self.failed = 0
        self.crossed = 0
        self.by_build: Tally[str] = Tally()
        self._greeting_latency = Quantiles()
        self._lag = Quantiles()
        self._registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._m_started = Counter(
            "client_workflows_started_total",
            "Workflows that the server took.",
            ["workflow_type"],
            registry=registry,
        )
        self._m_finished = Counter(
            "client_workflows_finished_total",
            "Workflows that ended, by the build that completed them ('unknown' where one failed).",
            ["workflow_type", "build_id", "outcome"],
            registry=registry,
        )
        self._m_open = Gauge(
            "client_workflows_open",
            "Workflows that the server took and that have not ended.",
            ["workflow_type"],
            registry=registry,
        )
        self._m_crossings = Counter(
            "client_version_crossings_total",
            "Workflows that were run by more than one build.",
            registry=registry,
        )
        self._m_latency = Histogram(
            "client_workflow_latency_seconds",
            "From the time a workflow's start was due to its result.",
            ["workflow_type", "build_id"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self._m_lag = Histogram(
            "client_schedule_lag_seconds",
            "From the time a start was due to its first attempt.",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self._m_retries = Counter(
            "client_start_retries_total",
            "Further attempts at starts that the server had not taken, beyond the SDK's own.",
            registry=registry,
        )
        for workflow_type in get_args(WorkflowType):  # rate() needs the zero before the first
            self._m_started.labels(workflow_type)
            self._m_open.labels(workflow_type)

    @property
    def open(self) -> int:
        """Workflows that the server took and whose end is not known."""
        return self.started - self.completed - self.failed

    def serve(self, port: int) -> None:
        """Serve the metrics on the loopback ``port``; `Failure` where it is taken."""
        try:
            start_http_server(port, addr=metrics_host(), registry=self._registry)
        except OSError as error:
            raise Failure(f"could not serve metrics on port {port}: {error.strerror}") from error

    def attempted(self, lag: float) -> None:
        """A start is tried for the first time, ``lag`` seconds after it was due."""
        self._lag.add(lag)
        self._m_lag.observe(lag)

    def retried(self) -> None:
        """A start that the server had not taken is tried again."""
        self._m_retries.inc()

    def took(self, workflow_type: WorkflowType) -> None:
        """The server took a start."""
        self.started += 1
        self._m_started.labels(workflow_type).inc()
        self._m_open.labels(workflow_type).inc()

    def complete(self, workflow_type: WorkflowType, ran: Ran, latency: float) -> None:
        """A workflow completed ``latency`` seconds after its start was due."""
        self.completed += 1
        self.by_build[ran.build_id] += 1
        if ran.crossed:
            self.crossed += 1
            self._m_crossings.inc()
        if workflow_type == "Greeting":
            self._greeting_latency.add(latency)
        self._m_latency.labels(workflow_type, ran.build_id).observe(latency)
        self._m_finished.labels(workflow_type, ran.build_id, "completed").inc()
        self._m_open.labels(workflow_type).dec()

    def fail(self, workflow_type: WorkflowType) -> None:
        """A workflow that the server took ended without a good result."""
        self.failed += 1
        self._m_finished.labels(workflow_type, "unknown", "failed").inc()
        self._m_open.labels(workflow_type).dec()

    def summary(self) -> dict[str, Any]:
        """The contract of ``--json``. Latencies are the greetings' alone; null where none ended."""
        latency = self._greeting_latency
        return {
            "started": self.started,
            "completed": self.completed,
            "failed": self.failed,
            "crossed": self.crossed,
            "open": self.open,
            "by_build": dict(sorted(self.by_build.items())),
            "latency_seconds": {
                **{f"p{p}": _rounded(latency.percentile(p)) for p in (50, 95, 99)},
                "max": _rounded(latency.largest),
            },
            "schedule_lag_seconds": {"p99": _rounded(self._lag.percentile(99))},
        }

    def as_json(self) -> str:
        """`summary` in one line, which is a record of the log too, with a time and a level."""
        told = {"event": "load summary", "level": "info", "timestamp": stamp()}
        return json.dumps({**self.summary(), **told})

    def as_text(self) -> str:
        """`summary` for a person."""
        summary = self.summary()
        rows = [(name, str(summary[name])) for name in ("started", "completed", "failed")]
        rows += [("crossed builds", str(self.crossed)), ("still open", str(self.open))]
        rows += [(f"completed by {build}", str(n)) for build, n in summary["by_build"].items()]
        rows += [
            (f"greeting latency {name}", _seconds(value))
            for name, value in summary["latency_seconds"].items()
        ]
        rows.append(("schedule lag p99", _seconds(summary["schedule_lag_seconds"]["p99"])))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value:>10}" for name, value in rows)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"
