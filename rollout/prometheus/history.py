"""What Prometheus has kept of a time: curves of each build, and figures of its parts. Bounded."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rollout.core.report import Curve
from rollout.prometheus.client import Curves, Prometheus
from rollout.prometheus.promql import selector
from rollout.prometheus.sdk_metrics import counter, each, observed, quantile
from rollout.prometheus.traffic import failure_ratios, most_frequent, p95_by_build, runs_by_type

__all__ = ["Measured", "Past"]

_POINTS = 240
_BUILDS = 12
"""So many builds are drawn, those with the most to show."""
_VERSION = "temporal_worker_deployment_version_"
_TOLD = {"meant": "target_ratio", "real": "real_ratio", "open": "open_workflows"}


@dataclass(frozen=True)
class Measured:
    """What the workers of one build have told in one part of the time; None: nothing."""

    activity_failures: float | None = None
    task_failures: float | None = None
    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True)
class Past:
    """What ``prometheus`` has kept of a deployment. Times are seconds since 1970."""

    prometheus: Prometheus
    deployment: str
    kind: str | None = None
    """The workflow type whose latency is told; None: of none."""

    async def most_frequent_type(self, start: float, end: float) -> str | None:
        """The one that completed most often; None where none did, or nobody knows."""
        query, step = runs_by_type(self.deployment), _step(start, end)
        found = await self.prometheus.ask_range(query, start, end, step)
        if isinstance(found, str):
            return None
        return most_frequent(
            [(labels, math.fsum(v for _, v in values)) for labels, values in found]
        )

    async def curves(self, start: float, end: float) -> tuple[Curve, ...] | str:
        """Each curve from ``start`` to ``end``, or why there are none."""
        exporter = {"job": "exporter", "deployment_name": self.deployment}
        told = {
            name: f"max by (build_id) ({selector(_VERSION + series, **exporter)})"
            for name, series in _TOLD.items()
        }
        if self.kind is not None:
            told["p95"] = p95_by_build(self.deployment, self.kind)
        queries, step = (*told.values(), *failure_ratios(self.deployment)), _step(start, end)
        found: list[Curves] = []
        asked = (self.prometheus.ask_range(query, start, end, step) for query in queries)
        for answer in await asyncio.gather(*asked):
            if isinstance(answer, str):
                return answer
            found.append(answer)
        drawn = [
            curve
            for name, answer in zip(told, found, strict=False)
            for curve in _by_build(name, answer)
        ]
        return (*drawn, *_by_build("failures", _worst(found[len(told) :])))

    async def part(self, build_id: str, start: float, end: float) -> Measured:
        """The figures of one build from ``start`` to ``end``; what cannot be asked is not known."""
        labels = {"job": "worker", "deployment_name": self.deployment, "build_id": build_id}
        window = f"[{max(1, math.ceil(end - start))}s]"

        def increase(names: tuple[str, ...]) -> str:
            return each(names, lambda name: f"sum (increase({selector(name, **labels)}{window}))")

        def latency(which: float) -> str:
            typed = {**labels, "workflow_type": self.kind or ""}

            def rise(buckets: str) -> str:
                return f"sum by (build_id, le) (rate({selector(buckets, **typed)}{window}))"

            return quantile(which, "workflow_endtoend", rise, ("build_id",), **typed)

        ran = increase(observed("workflow_task_execution"))
        queries = [
            f"({increase(counter('activity_execution_failed'))}) or 0 * ({ran})",
            f"({increase(counter('workflow_task_execution_failed'))}) or 0 * ({ran})",
            *(latency(which) for which in (0.5, 0.95) if self.kind is not None),
        ]
        asked = (self.prometheus.ask_range(query, end, end, 1) for query in queries)
        return Measured(*map(_last, await asyncio.gather(*asked)))


def _last(answer: Curves | str) -> float | None:
    """The last value of the one series; None where there is none."""
    if isinstance(answer, str) or not answer or not answer[0][1]:
        return None
    return answer[0][1][-1][1]


def _by_build(kind: str, found: Curves) -> list[Curve]:
    """Those with the most to show, and none that is 0 all the time."""
    by_build = {
        labels["build_id"]: values
        for labels, values in found
        if labels.get("build_id") and any(value for _, value in values)
    }
    most = sorted(by_build, key=lambda b: -max(value for _, value in by_build[b]))[:_BUILDS]
    return [
        Curve(kind, build_id, tuple((at, value) for at, value in by_build[build_id]))  # type: ignore[arg-type]
        for build_id in sorted(most)
    ]


def _worst(kinds: Sequence[Curves]) -> Curves:
    """At each moment the highest of the kinds of work, by build."""
    found: dict[str, dict[float, float]] = {}
    for kind in kinds:
        for labels, values in kind:
            mine = found.setdefault(labels.get("build_id", ""), {})
            for at, value in values:
                mine[at] = max(min(value, 1.0), mine.get(at, 0.0))
    return [({"build_id": b}, sorted(values.items())) for b, values in found.items()]


def _step(start: float, end: float) -> float:
    return max(2.0, math.ceil((end - start) / _POINTS))
