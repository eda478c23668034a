"""The curves of the page: from Prometheus where it knows more, else from the controller's memory.

Each is a list of moments, in whole seconds since 1970, and values, the oldest first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rollout.page.memory import Memory, Point, Sample
from rollout.prometheus.client import Curves, prometheus_at
from rollout.prometheus.promql import selector

__all__ = ["SPANS", "Curve", "ask_prometheus", "past"]

SPANS: Mapping[str, timedelta] = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
}
"""How far back one may look, by name; no more, so that Prometheus is asked for little."""

_POINTS = 240
_BUILDS = 12
_KINDS = {"open": "open_workflows", "meant": "target_ratio", "real": "real_ratio"}
"""What is drawn, and the exporter's series of it, after ``temporal_worker_deployment_version_``."""

Curve = dict[str, list[tuple[int, float]]]
"""By build."""


def past(
    memory: Memory, span: timedelta, now: datetime, measured: Mapping[str, Curve]
) -> dict[str, Any]:
    """The curves of the last ``span``; ``measured`` are Prometheus's, empty where it has none."""
    since = now - span
    step = _step(span)
    samples = _thinned([s for s in memory.samples() if since <= s.at], step)
    own = {kind: _own(samples, kind) for kind in _KINDS}
    first, first_own = _first(measured), _first(own)
    uses_own = first is None or (first_own is not None and first_own < first)
    return {
        "source": "controller" if uses_own else "prometheus",
        "from": math.floor(since.timestamp()),
        "to": math.ceil(now.timestamp()),
        "step": step,
        "curves": own if uses_own else measured,
    }


def ask_prometheus(
    url: str, deployment: str, span: timedelta, now: datetime
) -> Mapping[str, Curve]:
    """What Prometheus has; empty where it cannot be asked, or has nothing of the deployment."""
    return asyncio.run(_ask(url, deployment, span, now))


async def _ask(url: str, deployment: str, span: timedelta, now: datetime) -> Mapping[str, Curve]:
    end, step = now.timestamp(), _step(span)
    async with prometheus_at(url) as prometheus:
        found = await asyncio.gather(
            *(
                prometheus.ask_range(query, end - span.total_seconds(), end, step)
                for query in (_query(name, deployment) for name in _KINDS.values())
            )
        )
    curves: dict[str, Curve] = {}
    for kind, answer in zip(_KINDS, found, strict=True):
        if isinstance(answer, str):
            return {}
        curves[kind] = _by_build(answer)
    return curves


def _query(name: str, deployment: str) -> str:
    series = selector(
        f"temporal_worker_deployment_version_{name}", job="exporter", deployment_name=deployment
    )
    return f"max by (build_id) ({series})"


def _by_build(curves: Curves) -> Curve:
    """Those with most to show, and none that is 0 all the time."""
    found = {
        labels["build_id"]: [(round(at), value) for at, value in values]
        for labels, values in curves
        if labels.get("build_id") and any(value for _, value in values)
    }
    most = sorted(found, key=lambda build: -max(value for _, value in found[build]))[:_BUILDS]
    return {build_id: found[build_id] for build_id in sorted(most)}


def _own(samples: Sequence[Sample], kind: str) -> Curve:
    found: Curve = {}
    for sample in samples:
        for build_id, point in sample.builds.items():
            value = _value(point, kind)
            if value is not None:
                found.setdefault(build_id, []).append((round(sample.at.timestamp()), value))
    return {build: values for build, values in sorted(found.items()) if any(v for _, v in values)}


def _value(point: Point, kind: str) -> float | None:
    return {"open": point.open_runs, "meant": point.meant, "real": point.real}[kind]


def _step(span: timedelta) -> float:
    return max(2.0, math.ceil(span.total_seconds() / _POINTS))


def _thinned(samples: Sequence[Sample], step: float) -> list[Sample]:
    """One in each ``step`` seconds, and the last."""
    kept: list[Sample] = []
    for sample in samples:
        if not kept or (sample.at - kept[-1].at).total_seconds() >= step or sample is samples[-1]:
            kept.append(sample)
    return kept


def _first(curves: Mapping[str, Curve]) -> float | None:
    return min(
        (values[0][0] for curve in curves.values() for values in curve.values() if values),
        default=None,
    )
