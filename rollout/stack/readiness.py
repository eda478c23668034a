"""What *ready* means for each program: not that it runs, but that it does its work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from rollout.base.settings import metrics_address
from rollout.supervision.launches import Launch

__all__ = ["FIRST_WORKFLOW", "Step", "ready", "steps"]

FIRST_WORKFLOW = "the first workflow has completed"
_TIMEOUT = 2.0
_FAILURES = (httpx.HTTPError, ValueError, KeyError)  # no answer, or one that is no answer


@dataclass(frozen=True)
class Step:
    """One thing that has to be true before the stack is ready."""

    program: str
    """Whose log tells more if it does not come true."""
    text: str
    probe: Callable[[httpx.AsyncClient], Awaitable[bool]]


async def ready(client: httpx.AsyncClient, waiting: Sequence[Step]) -> list[Step]:
    """Those of ``waiting`` that are true now."""

    async def ask(step: Step) -> bool:
        try:
            return await asyncio.wait_for(step.probe(client), _TIMEOUT)
        except (*_FAILURES, TimeoutError, asyncio.TimeoutError):
            return False

    answers = await asyncio.gather(*map(ask, waiting))
    return [step for step, answer in zip(waiting, answers, strict=True) if answer]


def steps(launches: Sequence[Launch]) -> list[Step]:
    """Every step of a stack that runs ``launches``, in the order they are likely to come true."""
    order = ("temporal", "exporter", "grafana", "worker", "rollout", "load", "prometheus")
    found = [step for launch in launches for step in _of(launch, launches)]
    return sorted(
        found,
        key=lambda step: next(
            (place for place, name in enumerate(order) if step.program.startswith(name)),
            len(order),
        ),
    )


def _of(launch: Launch, launches: Sequence[Launch]) -> list[Step]:
    """The steps of one program; none where nobody knows how it shows that it works."""
    name = launch.name
    if name == "temporal" and (ui := launch.flag("--ui-port")):
        # The UI's HTTP API asks the frontend itself, and costs no gRPC client here.
        url = f"http://127.0.0.1:{ui}/api/v1/namespaces/default"
        text = "Temporal serves the namespace default"
        return [Step(name, text, lambda client: _answers(client, url))]
    if name == "grafana":
        url = f"http://127.0.0.1:{launch.ports[0]}/api/health"
        return [Step(name, "Grafana answers", lambda client: _answers(client, url))]
    if name == "prometheus":
        base = f"http://127.0.0.1:{launch.ports[0]}"
        expected = {int(each) for other in launches if (each := _metrics_port(other))}
        return [
            Step(name, "Prometheus is ready", lambda c: _answers(c, f"{base}/-/ready")),
            Step(name, "Prometheus scrapes every program", lambda c: _scrapes(c, base, expected)),
        ]
    return _of_ours(launch)


def _of_ours(launch: Launch) -> list[Step]:
    name, module, metrics = launch.name, launch.module(), _metrics_port(launch)
    if metrics is None:
        return []
    url = f"http://{metrics_address(int(metrics), launch.environ)}/metrics"
    if module == "workers":
        build = launch.flag("--build-id") or name
        return [Step(name, f"{name} polls as build {build}", lambda c: _polls(c, url))]
    steps = [Step(name, f"{name} serves metrics", lambda c: _answers(c, url))]
    if module == "client":
        steps.append(Step(name, FIRST_WORKFLOW, lambda c: _completed(c, url)))
    return steps


def _metrics_port(launch: Launch) -> str | None:
    """Where one of our own programs serves its metrics."""
    if launch.module() is None:
        return None
    return launch.flag("--metrics-port") or launch.flag("--port")


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    return (await client.get(url)).is_success


async def _polls(client: httpx.AsyncClient, url: str) -> bool:
    pollers = await _sum(client, url, "temporal_num_pollers", poller_type="workflow_task")
    return pollers > 0


async def _completed(client: httpx.AsyncClient, url: str) -> bool:
    return await _sum(client, url, "client_workflows_finished_total", outcome="completed") > 0


async def _sum(client: httpx.AsyncClient, url: str, name: str, **labels: str) -> float:
    response = await client.get(url)
    response.raise_for_status()
    return sum(
        sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def _scrapes(client: httpx.AsyncClient, base: str, expected: set[int]) -> bool:
    """Whether Prometheus has scraped every port of ``expected``.

    It may know of more: a worker that someone has stopped stays a target, and is down.
    """
    response = await client.get(f"{base}/api/v1/targets", params={"state": "active"})
    response.raise_for_status()
    targets = response.json()["data"]["activeTargets"]
    up = {httpx.URL(each["scrapeUrl"]).port for each in targets if each["health"] == "up"}
    return expected <= up
