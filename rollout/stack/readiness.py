"""What *ready* means for each program: not that it runs, but that it does its work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from rollout.base.settings import metrics_address
from rollout.supervision.command_words import Kind
from rollout.supervision.programs import Command

__all__ = ["FIRST_WORKFLOW", "Step", "ready", "steps"]

FIRST_WORKFLOW = "the first workflow has completed"
_ORDER: tuple[Kind, ...] = (
    *("temporal", "exporter", "grafana", "worker", "controller", "load"),
    *("alertmanager", "prometheus", "other"),
)
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


def steps(commands: Sequence[Command]) -> list[Step]:
    """Every step of a stack that runs ``commands``, in the order they are likely to come true."""
    ordered = sorted(commands, key=lambda command: _ORDER.index(command.kind))
    return [step for command in ordered for step in _of(command, commands)]


def _of(command: Command, commands: Sequence[Command]) -> list[Step]:
    """The steps of one program; none where nobody knows how it shows that it works."""
    name = command.name
    if command.kind == "temporal" and (ui := command.flag("--ui-port")):
        # The UI's HTTP API asks the frontend itself, and costs no gRPC client here.
        url = f"http://127.0.0.1:{ui}/api/v1/namespaces/default"
        text = "Temporal serves the namespace default"
        return [Step(name, text, lambda client: _answers(client, url))]
    if command.kind == "grafana" and command.ports:
        url = f"http://127.0.0.1:{command.ports[0]}/api/health"
        return [Step(name, "Grafana answers", lambda client: _answers(client, url))]
    if command.kind == "alertmanager" and command.metrics_port is not None:
        url = f"http://127.0.0.1:{command.metrics_port}/-/ready"
        return [Step(name, "Alertmanager is ready", lambda client: _answers(client, url))]
    if command.kind == "prometheus" and command.metrics_port is not None:
        base = f"http://127.0.0.1:{command.metrics_port}"
        expected = {each.metrics_port for each in commands if each.is_ours} - {None}
        return [
            Step(name, "Prometheus is ready", lambda c: _answers(c, f"{base}/-/ready")),
            Step(name, "Prometheus scrapes every program", lambda c: _scrapes(c, base, expected)),
        ]
    return _of_ours(command) if command.is_ours else []


def _of_ours(command: Command) -> list[Step]:
    name = command.name
    if command.metrics_port is None:
        return []
    url = f"http://{metrics_address(command.metrics_port, command.environ)}/metrics"
    if command.is_runner:  # other workers' metrics may have any names
        text = f"{name} polls as build {command.build_id or name}"
        return [Step(name, text, lambda c: _polls(c, url))]
    steps = [Step(name, f"{name} serves metrics", lambda c: _answers(c, url))]
    if command.kind == "controller":
        status = f"{url.removesuffix('/metrics')}/api/v1/status"
        steps = [Step(name, f"{name} sees the deployment", lambda c: _sees(c, status))]
    if command.kind == "load":
        steps.append(Step(name, FIRST_WORKFLOW, lambda c: _completed(c, url)))
    return steps


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    return (await client.get(url)).is_success


async def _sees(client: httpx.AsyncClient, url: str) -> bool:
    """Whether the controller has looked, so that every reader has something to show."""
    response = await client.get(url)
    response.raise_for_status()
    return bool(response.json()["deployments"])


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


async def _scrapes(client: httpx.AsyncClient, base: str, expected: set[int | None]) -> bool:
    """Whether Prometheus has scraped every port of ``expected``.

    It may know of more: a worker that someone has stopped stays a target, and is down.
    """
    response = await client.get(f"{base}/api/v1/targets", params={"state": "active"})
    response.raise_for_status()
    targets = response.json()["data"]["activeTargets"]
    up = {httpx.URL(each["scrapeUrl"]).port for each in targets if each["health"] == "up"}
    return expected <= up
