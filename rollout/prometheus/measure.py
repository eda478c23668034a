"""Asks Prometheus how the target does beside the current build; writes nothing.

What is counted is what the workers' own SDK exports (`rollout.prometheus.sdk_metrics`), each
piece of work once. Runs that time out or are terminated
end on the server, without their worker: a check of your own has to look for those.

Work and failures are counted since traffic last changed, latencies over a window.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rollout.core.config import Analysis
from rollout.core.judge import slowest_allowed
from rollout.core.observation import BuildSample, CheckResult, Measurements
from rollout.prometheus.client import Prometheus, Series, prometheus_at
from rollout.prometheus.comparison import CLOSED, Comparison, questions

__all__ = ["measure", "measure_checks"]

SHORTEST_WINDOW = 10.0
"""Seconds; with a scrape each 2 s a shorter window holds too few of them."""

LONGEST_COUNT = 86400.0
"""Seconds; a step that is held for longer is counted over its last day."""

STALE_INTERVALS = 5
"""After so many intervals without a scrape, what is known is old..."""

STALE = 10.0
"""...but not before so many seconds."""


async def measure(  # noqa: PLR0913 - what is compared, how, and since when
    base_url: str, deployment: str, target: str, current: str, analysis: Analysis, *, since: float
) -> Measurements:
    """Target against current.

    ``base_url`` is Prometheus's, ``since`` the seconds since traffic last changed: so far back
    (a day at most) work and failures are counted. Latencies are those of the last
    ``min(analysis.window, since)`` seconds. Neither is shorter than 10 s.
    Never raises for Prometheus's sake: what went wrong is the measurements'
    ``problem``. All is asked at once, and given up after 3 s.
    """
    comparison = _comparison(deployment, target, current, analysis, since)
    async with prometheus_at(base_url) as prometheus:
        return await _measure(prometheus, comparison, analysis)


async def measure_checks(
    base_url: str, counted: Measurements, deployment: str, analysis: Analysis, *, since: float
) -> Measurements:
    """``counted`` by the server, and the checks of your own, which Prometheus alone can answer."""
    if not analysis.checks:
        return counted
    builds = counted.target.build_id, counted.current.build_id
    comparison = _comparison(deployment, *builds, analysis, since)
    async with prometheus_at(base_url) as prometheus:
        checks = await _all_checked(prometheus, comparison, analysis)
    return replace(_with_checks(counted, analysis, checks), window=comparison.seconds)


def _comparison(
    deployment: str, target: str, current: str, analysis: Analysis, since: float
) -> Comparison:
    seconds, counted = (
        math.floor(max(SHORTEST_WINDOW, min(longest, since)))
        for longest in (analysis.window, LONGEST_COUNT)
    )
    return Comparison(deployment, target, current, seconds, counted)


async def _measure(
    prometheus: Prometheus, comparison: Comparison, analysis: Analysis
) -> Measurements:
    wanted = questions(comparison)
    answers, checks = await asyncio.gather(
        asyncio.gather(*(prometheus.ask(query) for query in wanted.values())),
        _all_checked(prometheus, comparison, analysis),
    )
    found: dict[str, Series] = {}
    for name, answer in zip(wanted, answers, strict=True):
        if isinstance(answer, str):
            return _without_numbers(comparison, answer)
        found[name] = answer
    if unseen := _unseen(comparison, found["ages"], found["intervals"]):
        return _without_numbers(comparison, unseen)

    compared = _type_to_compare(comparison, analysis, found)
    measured = Measurements(
        window=comparison.seconds,
        target=_sample(comparison.target, found, analysis, compared),
        current=_sample(comparison.current, found, analysis, compared),
        counted=comparison.counted,
        compared_type=compared,
    )
    return _with_checks(measured, analysis, checks)


def _with_checks(
    measured: Measurements, analysis: Analysis, checks: Sequence[float | str]
) -> Measurements:
    results = list(zip(analysis.checks, checks, strict=True))
    return replace(
        measured,
        checks=tuple(
            CheckResult(check.name, value if isinstance(value, float) else None)
            for check, value in results
        ),
        check_problems=tuple(
            f"check {check.name} has no value: {value}"
            for check, value in results
            if isinstance(value, str)
        ),
    )


def _without_numbers(comparison: Comparison, problem: str) -> Measurements:
    target, current = BuildSample(comparison.target), BuildSample(comparison.current)
    return Measurements(
        comparison.seconds, target, current, counted=comparison.counted, problem=problem
    )


def _unseen(comparison: Comparison, ages: Series, intervals: Series) -> str | None:
    """Which build Prometheus has no fresh scrape of; its counters would read as no failures."""
    age_of = {labels.get("build_id"): age for labels, age in ages}
    interval_of = {labels.get("build_id"): interval for labels, interval in intervals}
    for build_id in (comparison.target, comparison.current):
        age = age_of.get(build_id)
        if age is None:
            return (
                f"it scrapes no worker of {build_id} (is one up, with a metrics port? "
                '[analysis] source = "server" needs none)'
            )
        interval = interval_of.get(build_id, 0.0)
        if age > max(STALE, STALE_INTERVALS * interval):
            usually = f", instead of every {interval:.0f} s" if interval else ""
            return f"it last scraped a worker of {build_id} {age:.0f} s ago{usually}"
    return None


def _sample(
    build_id: str, found: Mapping[str, Series], analysis: Analysis, compared: str | None
) -> BuildSample:
    def total(name: str, **labels: str) -> float:
        return _total(found[name], build_id=build_id, **labels)

    def seconds(name: str, **labels: str) -> float | None:
        value = _total(found[name], build_id=build_id, **labels)
        return value if value > 0 else None

    enough = total("waited") >= analysis.min_samples
    return BuildSample(
        build_id,
        tasks=total("tasks"),
        task_failures=total("task_failures"),
        activities=total("activities") + total("local"),
        activity_failures=total("activity_failures") + total("local_failures"),
        workflows=sum(map(total, CLOSED)),
        workflow_failures=total("workflow_failed"),
        non_determinism=total("task_failures", failure_reason="NonDeterminismError"),
        schedule_to_start_p95=seconds("waits") if enough else None,
        end_to_end_p95=seconds("ends", workflow_type=compared) if compared else None,
    )


def _type_to_compare(
    comparison: Comparison, analysis: Analysis, found: Mapping[str, Series]
) -> str | None:
    """The workflow type on which the target is furthest beyond what it is allowed.

    A type is compared with itself alone: in a short window two builds close
    different mixes, a fresh one for a while only its short runs. Types of which
    either build ended fewer than ``min_samples`` are left out.
    """
    ended: defaultdict[str, dict[str, float]] = defaultdict(dict)
    p95: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for numbers, name in ((ended, "ended"), (p95, "ends")):
        for labels, value in found[name]:
            numbers[labels.get("workflow_type", "")][labels.get("build_id", "")] = value
    builds = (comparison.target, comparison.current)
    beyond = {
        name: p95[name][comparison.target]
        - slowest_allowed(analysis, p95[name][comparison.current])
        for name, numbers in ended.items()
        if all(
            build in p95[name] and numbers.get(build, 0.0) >= analysis.min_samples
            for build in builds
        )
    }
    return max(beyond, key=lambda name: beyond[name], default=None)


def _total(series: Series, **wanted: str) -> float:
    """The sum of the values whose labels are as ``wanted``."""
    return math.fsum(
        value
        for labels, value in series
        if all(labels.get(label) == text for label, text in wanted.items())
    )


async def _all_checked(
    prometheus: Prometheus, comparison: Comparison, analysis: Analysis
) -> Sequence[float | str]:
    """The value of each check, or why it has none."""
    queries = (check.query for check in analysis.checks)
    return await asyncio.gather(*(_checked(prometheus, comparison, query) for query in queries))


async def _checked(prometheus: Prometheus, comparison: Comparison, query: str) -> float | str:
    """The one value of a query of rollout.toml, or why it has none."""
    series = await prometheus.ask(comparison.check(query))
    if isinstance(series, str):
        return series
    if len(series) != 1:
        how_many = f"{len(series)} values, aggregate them to one" if series else "nothing"
        return f"its query gives {how_many}"
    return series[0][1]
