"""Asks Prometheus how the target does beside the current build; writes nothing.

What is counted is what the workers' own SDK exports (`temporal_*`, labelled by
`rollout.worker.telemetry`). Runs that time out or are terminated end on the server,
without their worker: a check of your own has to look for those.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import ssl
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from rollout.core.config import Analysis
from rollout.core.judge import slowest_allowed
from rollout.core.observation import BuildSample, CheckResult, Measurements
from rollout.prometheus.promql import Question

__all__ = ["measure"]

SHORTEST_WINDOW = 10.0
"""Seconds; with a scrape each 2 s a shorter window holds too few of them."""

STALE = 60.0
"""Seconds after which a scrape proves nothing any more."""

_TIMEOUT = 3.0
_NO_ADDRESS = "its address is none, set PROMETHEUS_URL to one as http://HOST:PORT"

_Series = list[tuple[dict[str, str], float]]


async def measure(  # noqa: PLR0913 - what is compared, how, and since when
    base_url: str, deployment: str, target: str, current: str, analysis: Analysis, *, since: float
) -> Measurements:
    """Target against current over the last ``min(analysis.window, since)`` seconds, 10 at least.

    ``base_url`` is Prometheus's, ``since`` the seconds since traffic last changed.
    Never raises for Prometheus's sake: what went wrong is the measurements'
    ``problem``. All is asked at once, and given up after 3 s.
    """
    seconds = math.floor(max(SHORTEST_WINDOW, min(analysis.window, since)))
    question = Question(deployment, target, current, seconds)
    try:
        async with httpx.AsyncClient(
            base_url=f"{base_url.rstrip('/')}/api/v1/",
            timeout=_TIMEOUT,
            trust_env=False,
            verify=_certificates(),
        ) as client:
            return await _measure(client, question, analysis)
    except httpx.InvalidURL:
        return _without_numbers(question, _NO_ADDRESS)


async def _measure(
    client: httpx.AsyncClient, question: Question, analysis: Analysis
) -> Measurements:
    of_type = "workflow_type"
    queries = {
        "ages": question.scrape_ages(),
        "tasks": question.increase("temporal_workflow_task_execution_latency_seconds_count"),
        "task_failures": question.increase(
            "temporal_workflow_task_execution_failed_total", "failure_reason"
        ),
        "activities": question.increase("temporal_activity_execution_latency_seconds_count"),
        "activity_failures": question.increase("temporal_activity_execution_failed_total"),
        "local": question.increase("temporal_local_activity_execution_latency_seconds_count"),
        "local_failures": question.increase("temporal_local_activity_execution_failed_total"),
        "workflows": question.increase("temporal_workflow_endtoend_latency_seconds_count", of_type),
        "workflow_failures": question.increase("temporal_workflow_failed_total"),
        "waits": question.p95("temporal_workflow_task_schedule_to_start_latency_seconds"),
        "ends": question.p95("temporal_workflow_endtoend_latency_seconds", of_type),
    }
    answers, checks = await asyncio.gather(
        asyncio.gather(*(_answer(client, query) for query in queries.values())),
        asyncio.gather(*(_checked(client, question, each.query) for each in analysis.checks)),
    )
    found: dict[str, _Series] = {}
    for name, answer in zip(queries, answers, strict=True):
        if isinstance(answer, str):
            return _without_numbers(question, answer)
        found[name] = answer
    if unseen := _unseen(question, found["ages"]):
        return _without_numbers(question, unseen)

    compared = _type_to_compare(question, analysis, found)
    results = list(zip(analysis.checks, checks, strict=True))
    return Measurements(
        window=question.seconds,
        target=_sample(question.target, found, compared),
        current=_sample(question.current, found, compared),
        compared_type=compared,
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


def _without_numbers(question: Question, problem: str) -> Measurements:
    target, current = BuildSample(question.target), BuildSample(question.current)
    return Measurements(question.seconds, target, current, problem=problem)


def _unseen(question: Question, ages: _Series) -> str | None:
    """Which build Prometheus has no fresh scrape of; its counters would read as no failures."""
    age_of = {labels.get("build_id"): age for labels, age in ages}
    for build_id in (question.target, question.current):
        age = age_of.get(build_id)
        if age is None:
            return f"it scrapes no worker of {build_id} (is one up, with a --metrics-port?)"
        if age > STALE:
            return f"it last scraped a worker of {build_id} {age:.0f} s ago"
    return None


def _sample(build_id: str, found: Mapping[str, _Series], compared: str | None) -> BuildSample:
    def total(name: str, **labels: str) -> float:
        return _total(found[name], build_id=build_id, **labels)

    def seconds(name: str, **labels: str) -> float | None:
        value = _total(found[name], build_id=build_id, **labels)
        return value if value > 0 else None

    return BuildSample(
        build_id,
        tasks=total("tasks"),
        task_failures=total("task_failures"),
        activities=total("activities") + total("local"),
        activity_failures=total("activity_failures") + total("local_failures"),
        workflows=total("workflows"),
        workflow_failures=total("workflow_failures"),
        non_determinism=total("task_failures", failure_reason="NonDeterminismError"),
        schedule_to_start_p95=seconds("waits"),
        end_to_end_p95=seconds("ends", workflow_type=compared) if compared else None,
    )


def _type_to_compare(
    question: Question, analysis: Analysis, found: Mapping[str, _Series]
) -> str | None:
    """The workflow type on which the target is furthest beyond what it is allowed.

    A type is compared with itself alone: in a short window two builds close
    different mixes, a fresh one for a while only its short runs. Types of which
    either build closed fewer than ``min_samples`` are left out.
    """
    closed: defaultdict[str, dict[str, float]] = defaultdict(dict)
    p95: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for numbers, name in ((closed, "workflows"), (p95, "ends")):
        for labels, value in found[name]:
            numbers[labels.get("workflow_type", "")][labels.get("build_id", "")] = value
    builds = (question.target, question.current)
    beyond = {
        name: p95[name][question.target] - slowest_allowed(analysis, p95[name][question.current])
        for name, numbers in closed.items()
        if all(
            build in p95[name] and numbers.get(build, 0.0) >= analysis.min_samples
            for build in builds
        )
    }
    return max(beyond, key=lambda name: beyond[name], default=None)


def _total(series: _Series, **wanted: str) -> float:
    """The sum of the values whose labels are as ``wanted``."""
    return math.fsum(
        value
        for labels, value in series
        if all(labels.get(label) == text for label, text in wanted.items())
    )


async def _checked(client: httpx.AsyncClient, question: Question, query: str) -> float | str:
    """The one value of a query of rollout.toml, or why it has none."""
    series = await _answer(client, question.check(query))
    if isinstance(series, str):
        return series
    if len(series) != 1:
        how_many = f"{len(series)} values, aggregate them to one" if series else "nothing"
        return f"its query gives {how_many}"
    return series[0][1]


async def _answer(client: httpx.AsyncClient, query: str) -> _Series | str:
    """The labels and values of an instant query, NaN left out, or why there are none."""
    try:
        reply = await asyncio.wait_for(
            client.post("query", data={"query": query, "timeout": f"{_TIMEOUT:g}s"}), _TIMEOUT
        )
        answer = json.loads(reply.content)
        if answer["status"] != "success":
            return " ".join(str(answer["error"]).split())  # its own words name the place
        return _numbers(answer["data"])
    except (asyncio.TimeoutError, TimeoutError, httpx.TimeoutException):
        return f"no answer within {_TIMEOUT:g} s at {_where(client)}"
    except httpx.UnsupportedProtocol:
        return _NO_ADDRESS
    except httpx.HTTPError:
        return f"no answer at {_where(client)}"
    except (ValueError, KeyError, TypeError, IndexError):
        return f"what answers at {_where(client)} is no Prometheus"


def _numbers(data: Mapping[str, Any]) -> _Series | str:
    if data["resultType"] == "scalar":
        results: Sequence[Mapping[str, Any]] = [{"metric": {}, "value": data["result"]}]
    elif data["resultType"] == "vector":
        results = data["result"]
    else:
        return f"its query gives a {data['resultType']}, not a number"
    values = [(dict(each["metric"]), float(each["value"][1])) for each in results]
    return [(labels, value) for labels, value in values if not math.isnan(value)]


def _where(client: httpx.AsyncClient) -> str:
    """The address without what may be secret in it."""
    url = client.base_url
    return f"{url.host}:{url.port}" if url.port else url.host


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Made once: reading the authorities takes longer than all the questions."""
    return httpx.create_ssl_context()
