"""The dashboards' words for PromQL: each series within the chosen deployment and builds.

What a worker's SDK measures goes by many names; `rollout.prometheus.sdk_metrics` knows them all.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollout.prometheus.promql import pattern, selector
from rollout.prometheus.sdk_metrics import counter, each, observed, quantile

__all__ = [
    "BUILD",
    "MATTERS",
    "REACHED",
    "SCOPE",
    "TYPE",
    "by_build",
    "controller",
    "deployment",
    "failed_ratio",
    "numbered",
    "of_sdk",
    "p95",
    "rate_of",
    "version",
]

SCOPE: Mapping[str, str] = {"namespace": "$namespace", "deployment_name": "$deployment"}
BUILD = pattern("$build")
TYPE = pattern("$workflow_type")

_RATED = "[$__rate_interval]"


def version(name: str, **labels: str) -> str:
    """A series of each chosen version, by what the exporter says of it."""
    called = f"temporal_worker_deployment_version_{name}"
    return selector(called, job="exporter", **SCOPE, build_id=BUILD, **labels)


def deployment(name: str) -> str:
    """A series of the whole deployment, by what the exporter says of it."""
    return selector(f"temporal_worker_deployment_{name}", job="exporter", **SCOPE)


def controller(name: str, **labels: str) -> str:
    """A series of the deployment, by what its controller says."""
    return selector(f"rollout_{name}", job="rollout", **SCOPE, **labels)


def by_build(expression: str, one: str = "max") -> str:
    """Several machines may export what one server says: ``one``, max or min, of them counts."""
    return f"{one} by (build_id) ({expression})"


MATTERS = (
    f"({by_build(version('target_ratio'))} > 0 or {by_build(version('open_workflows'))} > 0 or "
    f"{by_build(version('workers'))} > 0)"
)
"""The versions that get runs, have some, or live: those that are retired stay on the server, and
would fill each legend."""

# A worker's target says of which deployment it is, and not in which namespace.
REACHED = selector("up", job="worker", deployment_name="$deployment", build_id=BUILD)


def numbered(
    metric: str, label: str, names: tuple[str, ...], by: str, scope: Mapping[str, str]
) -> str:
    """One series for each value of ``by``: the place in ``names``, from 1, of what it is at.

    ``metric`` has a series of 0 or 1 for each, or of 1 for one, told apart by ``label``.
    """
    each_one = (
        f"{code} * ({selector(metric, **scope, **{label: name})} == 1)"
        for code, name in enumerate(names, start=1)
    )
    return f"max by ({by}) ({' or '.join(each_one)})"


def of_sdk(name: str, **labels: str) -> str:
    """A series of each chosen build's workers, as the SDK calls it."""
    return selector(name, job="worker", **SCOPE, build_id=BUILD, **labels)


def rate_of(names: tuple[str, ...], *by: str, **labels: str) -> str:
    """How many a second, by build and ``by``; ``names`` are those of `counter` or `observed`."""
    rates = each(names, lambda name: f"rate({of_sdk(name, **labels)}{_RATED})")
    return f"sum by ({', '.join(('build_id', *by))}) ({rates})"


def failed_ratio(failed: str, work: str) -> str:
    """Which part of the ``work`` of a build failed, 0 to 1; none where it did nothing.

    The counter of failures appears with the first of them: without it, none has failed.
    """
    done = rate_of(observed(work))
    failures = rate_of(counter(failed))
    return f"(({failures}) or 0 * ({done})) / (({done}) > 0)"


def p95(latency: str, part: float = 0.95, labels: Mapping[str, str] | None = None) -> str:
    """Seconds: a quantile of a latency of the SDK, by build; no value without any."""
    labels = labels or {}

    def rise(buckets: str) -> str:
        return f"sum by (build_id, le) (rate({of_sdk(buckets, **labels)}{_RATED}))"

    within = {"job": "worker", **SCOPE, "build_id": BUILD, **labels}
    return f"{quantile(part, latency, rise, ('build_id',), **within)} >= 0"
