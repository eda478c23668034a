"""What Prometheus has measured of each build in the last moments: traffic, failures, latency."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from rollout.prometheus.graphs import completed_share

__all__ = ["Traffic", "read_traffic"]


@dataclass(frozen=True)
class Traffic:
    """By build id; a build that is missing had no samples."""

    workflow_type: str | None = None
    """The type that ``shares`` are of; None where no workflow was completed."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """The part of the runs completed in the last 30 s, 0 to 1."""
    failures: Mapping[str, float] = field(default_factory=dict)
    """The part of the runs closed in the last minute that failed, 0 to 1."""
    p95: Mapping[str, float] = field(default_factory=dict)
    """Seconds from start to end, over the last minute, of ``workflow_type``."""
    problem: str | None = None
    """Why Prometheus could not be asked."""

    def share(self, build_id: str) -> float | None:
        """The share of ``build_id``; None where nothing at all was measured."""
        return min(self.shares.get(build_id, 0.0), 1.0) if self.shares else None


async def read_traffic(
    http: httpx.AsyncClient, url: str, deployment: str, workflow_type: str | None = None
) -> Traffic:
    """Ask the Prometheus at ``url``; it never raises, but says what the problem is.

    Without ``workflow_type`` it is the one that is completed most often. Only of a type
    that takes next to no time are the completed runs a measure of the new ones
    (`rollout.prometheus.graphs.completed_share`), and the most frequent type is the likeliest.
    """
    try:
        kind = workflow_type or await _most_frequent(http, url, deployment)
        if kind is None:
            return Traffic()
        return Traffic(
            workflow_type=kind,
            shares=await _by(http, url, "build_id", completed_share(kind)),
            failures=await _by(
                http,
                url,
                "build_id",
                f"build:temporal_workflow_failed:ratio1m{_of(deployment)}",
            ),
            p95=await _by(http, url, "build_id", _p95(deployment, kind)),
        )
    except (httpx.HTTPError, ValueError, KeyError) as error:
        reason = str(error) or type(error).__name__
        return Traffic(problem=f"Prometheus does not answer at {url} ({reason})")


async def _most_frequent(http: httpx.AsyncClient, url: str, deployment: str) -> str | None:
    series = f"build_type:temporal_workflow_completed:rate30s{_of(deployment)}"
    rates = await _by(http, url, "workflow_type", f"sum by (workflow_type) ({series}) > 0")
    return max(sorted(rates), key=lambda kind: rates[kind], default=None)


def _of(deployment: str, **labels: str) -> str:
    """A selector; PromQL quotes texts as JSON does."""
    labels["deployment_name"] = deployment
    return "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items()) + "}"


def _p95(deployment: str, workflow_type: str) -> str:
    series = "temporal_workflow_endtoend_latency_seconds_bucket"
    series += _of(deployment, job="worker", workflow_type=workflow_type)
    return f"histogram_quantile(0.95, sum by (build_id, le) (rate({series}[1m])))"


async def _by(http: httpx.AsyncClient, url: str, label: str, query: str) -> dict[str, float]:
    """The value of each series by its ``label``; NaN, which a build without traffic has, left out.

    Raises httpx's errors, and ValueError or KeyError where the answer is not Prometheus's.
    """
    answer = await http.get(f"{url.rstrip('/')}/api/v1/query", params={"query": query})
    answer.raise_for_status()
    values = {
        sample["metric"].get(label, ""): float(sample["value"][1])
        for sample in answer.json()["data"]["result"]
    }
    return {name: value for name, value in values.items() if name and not math.isnan(value)}
