"""Pure: the PromQL that compares two builds of one deployment."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rollout.prometheus.promql import quoted, selector
from rollout.prometheus.sdk_metrics import counter, each, observed, quantile

__all__ = ["CLOSED", "Comparison", "questions"]

CLOSED = (
    "workflow_completed",
    "workflow_failed",
    "workflow_canceled",
    "workflow_continue_as_new",
)
"""What the SDK counts once a run. The count of its end-to-end latencies has some runs twice:
those whose last workflow task timed out and was done again."""

_LOOKBACK = "5m"
"""How long before the window a counter may have been seen last (a scrape in vain, a restart of
Prometheus) and still be known for one that began earlier."""


@dataclass(frozen=True)
class Comparison:
    """Which builds of which deployment are asked for, and how far back."""

    deployment: str
    target: str
    current: str
    seconds: int
    """How far back latencies are compared, and the ``$window`` of checks."""
    counted: int
    """How far back work and its failures are counted."""

    @property
    def window(self) -> str:
        """As PromQL writes it."""
        return f"{self.seconds}s"

    def selector(self, name: str) -> str:
        """The series called ``name`` of both builds' workers."""
        return selector(name, **self._labels)

    @property
    def _labels(self) -> dict[str, str | tuple[str, ...]]:
        return {
            "job": "worker",
            "deployment_name": self.deployment,
            "build_id": (self.target, self.current),
        }

    def count(self, names: tuple[str, ...], *by: str) -> str:
        """By how much the counters ``names`` rose in ``counted``, summed by build and ``by``."""
        return self._rise(names, self.counted, by)

    def recent(self, names: tuple[str, ...], *by: str) -> str:
        """By how much they rose within the window of latencies."""
        return self._rise(names, self.seconds, by)

    def _rise(self, names: tuple[str, ...], seconds: int, by: tuple[str, ...]) -> str:
        """By how much the counters ``names`` rose in ``seconds``, summed by build and ``by``.

        Prometheus's own ``increase`` loses what a counter began with, and a
        worker's counter appears with its first event: of 3 failures in all it
        would see none. So the last value counts, less the one before
        if there was one. Where the counter began anew meanwhile, with
        its process, ``increase`` does know how to add up.
        """

        def rise(name: str) -> str:
            series, back = self.selector(name), f"{seconds}s"
            last = f"last_over_time({series}[{back}])"
            before = f"last_over_time({series}[{_LOOKBACK}] offset {back})"
            rose = f"((({last} - {before}) >= 0) or {last})"
            return f"{rose} unless (resets({series}[{back}]) > 0) or increase({series}[{back}])"

        return f"sum by ({', '.join(('build_id', *by))}) ({each(names, rise)})"

    def p95(self, latency: str, *by: str) -> str:
        """The 95th percentile of ``latency`` within the window, in seconds; a summary's own."""
        return quantile(
            0.95,
            latency,
            lambda buckets: self.recent((buckets,), "le", *by),
            ("build_id", *by),
            **self._labels,
        )

    def scrape_ages(self) -> str:
        """How many seconds ago each build was last scraped, of those that now answer."""
        up = self.selector("up")
        return f"time() - max by (build_id) (timestamp({up}) and {up} == 1)"

    def scrape_intervals(self) -> str:
        """How many seconds lie between two scrapes of each build, from those of five minutes.

        From the first to the last of them, for a worker is younger than that, and scrapes
        that have ceased must not make the interval look longer. Of one scrape there is none.
        """
        up = self.selector("up")
        since_first = f"timestamp({up}) - min_over_time(timestamp({up})[5m:1s])"
        return f"min by (build_id) (({since_first}) / (count_over_time({up}[5m]) - 1 > 0))"

    def check(self, query: str) -> str:
        """``query`` of rollout.toml with its ``$target`` and the like filled in.

        A text goes into a PromQL string as it is; ``$window`` is a duration.
        """
        values = {
            "target": quoted(self.target),
            "current": quoted(self.current),
            "deployment": quoted(self.deployment),
            "window": self.window,
        }
        names = "|".join(values)
        return re.sub(rf"\$({names})\b", lambda found: values[found[1]], query)


def questions(comparison: Comparison) -> dict[str, str]:
    """What is asked of both builds, by the names under which `rollout.prometheus.measure` reads."""
    of_type, waiting = "workflow_type", "workflow_task_schedule_to_start"
    count, recent = comparison.count, comparison.recent
    return {
        "ages": comparison.scrape_ages(),
        "intervals": comparison.scrape_intervals(),
        "tasks": count(observed("workflow_task_execution")),
        "task_failures": count(counter("workflow_task_execution_failed"), "failure_reason"),
        "activities": count(observed("activity_execution")),
        "activity_failures": count(counter("activity_execution_failed")),
        "local": count(observed("local_activity_execution")),
        "local_failures": count(counter("local_activity_execution_failed")),
        **{name: count(counter(name)) for name in CLOSED},
        "waited": recent(observed(waiting)),
        "waits": comparison.p95(waiting),
        "ended": recent(observed("workflow_endtoend"), of_type),
        "ends": comparison.p95("workflow_endtoend", of_type),
    }
