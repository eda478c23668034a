"""Runs of the demo's workflows on real workers: started, and seen on the server."""

from __future__ import annotations

import secrets
from typing import Any

from temporalio.client import Client, WorkflowHandle

from rollout.core.observation import Observation
from rollout.temporal.observer import Observer
from tests.support.waiting import eventually, until
from tests.support.worker_process import Command

__all__ = ["begun", "builds", "finished_by", "greet", "order", "see", "settled"]


def settled(command: Command) -> None:
    """Wait until a worker has its place."""

    def has_its_place() -> bool:
        assert command.returncode is None, command.log_file.read_text()
        return bool(command.records("took its place") or command.records("keeping its place"))

    eventually(has_its_place, seconds=30)


async def greet(client: Client, name: str) -> str:
    """Run one greeting."""
    greeting_id = f"greeting-{secrets.token_hex(4)}"
    return str(await client.execute_workflow("Greeting", id=greeting_id, task_queue=name))


async def order(client: Client, name: str, seconds: float) -> WorkflowHandle[Any, Any]:
    """Start one order that takes about ``seconds``."""
    order_id = f"order-{secrets.token_hex(4)}"
    return await client.start_workflow(
        "Order", {"order_id": order_id, "seconds": seconds}, id=order_id, task_queue=name
    )


async def see(client: Client, name: str) -> Observation:
    """Observe the deployment."""
    return await Observer(client, name).observe()


async def begun(client: Client, name: str, build_id: str, runs: int) -> None:
    """Wait until ``runs`` runs are open on the build."""

    async def counted() -> bool:
        return (await see(client, name)).version(build_id).open_runs == runs

    await until(counted)


def builds(result: dict[str, Any]) -> set[str]:
    """The builds whose workflow code ran the steps of an order."""
    return {step["workflow_build_id"] for step in result["steps"]}


async def finished_by(handle: WorkflowHandle[Any, Any]) -> str:
    """The build that completed a run's last workflow task."""
    build_id = ""
    async for event in handle.fetch_history_events():
        if event.HasField("workflow_task_completed_event_attributes"):
            done = event.workflow_task_completed_event_attributes
            build_id = done.deployment_version.build_id
    return build_id
