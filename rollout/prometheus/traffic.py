"""What Prometheus has measured of each build in the last moments: traffic, failures, latency."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rollout.prometheus.client import Prometheus, Series
from rollout.prometheus.graphs import completed_share
from rollout.prometheus.promql import selector
from rollout.prometheus.sdk_metrics import counter, each, observed, quantile

__all__ = [
    "Traffic",
    "failure_ratios",
    "most_frequent",
    "p95_by_build",
    "read_traffic",
    "runs_by_type",
]


@dataclass(frozen=True)
class Traffic:
    """By build id; a build that is missing had no samples."""

    workflow_type: str | None = None
    """The type that ``shares`` are of; None where no workflow was completed."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """The part of the runs completed in the last 30 s, 0 to 1."""
    failures: Mapping[str, float] = field(default_factory=dict)
    """The part of the last minute's work that failed, 0 to 1: of workflow tasks, activities or
    closed runs, whichever did worst."""
    p95: Mapping[str, float] = field(default_factory=dict)
    """Seconds from start to end, over the last minute, of ``workflow_type``."""
    problem: str | None = None
    """Why Prometheus could not be asked."""

    def share(self, build_id: str) -> float | None:
        """The share of ``build_id``; None where nothing at all was measured."""
        return min(self.shares.get(build_id, 0.0), 1.0) if self.shares else None


async def read_traffic(
    prometheus: Prometheus, deployment: str, workflow_type: str | None = None
) -> Traffic:
    """Ask ``prometheus``; it never raises, but says what the problem is.

    Without ``workflow_type`` it is the one that is completed most often. Only of a type
    that takes next to no time are the completed runs a measure of the new ones
    (`rollout.prometheus.graphs.completed_share`), and the most frequent type is the likeliest.
    """
    first = await _ask_all(prometheus, runs_by_type(deployment), *failure_ratios(deployment))
    if isinstance(first, str):
        return _without_numbers(first)
    rates, *kinds = first
    failures = _worst(kinds)
    kind = workflow_type or most_frequent(rates)
    if kind is None:  # where every run fails, none completes
        return Traffic(failures=failures)
    found = await _ask_all(
        prometheus, completed_share(kind, deployment), p95_by_build(deployment, kind)
    )
    if isinstance(found, str):
        return _without_numbers(found)
    shares, p95 = (_by("build_id", series) for series in found)
    return Traffic(workflow_type=kind, shares=shares, failures=failures, p95=p95)


async def _ask_all(prometheus: Prometheus, *queries: str) -> list[Series] | str:
    """The answer to each, or why there is none to one of them."""
    found = []
    for answer in await asyncio.gather(*map(prometheus.ask, queries)):
        if isinstance(answer, str):
            return answer
        found.append(answer)
    return found


def _without_numbers(reason: str) -> Traffic:
    return Traffic(problem=f"Prometheus gives no numbers: {reason}")


def runs_by_type(deployment: str) -> str:
    """PromQL: how many runs of each workflow type complete a second, just now."""
    rate = selector("build_type:temporal_workflow_completed:rate30s", deployment_name=deployment)
    return f"sum by (workflow_type) ({rate}) > 0"


def most_frequent(rates: Series) -> str | None:
    """The workflow type with the highest value; None where there is none."""
    by_type = _by("workflow_type", rates)
    return max(sorted(by_type), key=lambda kind: by_type[kind], default=None)


def failure_ratios(deployment: str) -> tuple[str, ...]:
    """PromQL: the part that failed of each kind of work of `rollout.core.work`, by build."""
    labels = {"job": "worker", "deployment_name": deployment}

    def rate(names: tuple[str, ...]) -> str:
        return each(names, lambda name: f"sum by (build_id) (rate({selector(name, **labels)}[1m]))")

    def ratio(failed: str, executed: str) -> str:
        return (
            f"(({rate(counter(failed))}) or 0 * ({rate(observed(executed))}))"
            f" / ({rate(observed(executed))} > 0)"
        )

    return (
        selector("build:temporal_workflow_failed:ratio1m", deployment_name=deployment),
        ratio("workflow_task_execution_failed", "workflow_task_execution"),
        ratio("activity_execution_failed", "activity_execution"),
        ratio("local_activity_execution_failed", "local_activity_execution"),
    )


def _worst(kinds: Sequence[Series]) -> dict[str, float]:
    """The highest value of each build."""
    found: dict[str, float] = {}
    for kind in kinds:
        for build_id, value in _by("build_id", kind).items():
            found[build_id] = max(min(value, 1.0), found.get(build_id, 0.0))
    return found


def p95_by_build(deployment: str, workflow_type: str) -> str:
    """PromQL: seconds from start to end of a run, over the last minute, by build."""
    labels = {"job": "worker", "workflow_type": workflow_type, "deployment_name": deployment}

    def rise(buckets: str) -> str:
        return f"sum by (build_id, le) (rate({selector(buckets, **labels)}[1m]))"

    return quantile(0.95, "workflow_endtoend", rise, ("build_id",), **labels)


def _by(label: str, series: Series) -> dict[str, float]:
    """The value of each series that has ``label``, by it."""
    return {labels[label]: value for labels, value in series if labels.get(label)}
