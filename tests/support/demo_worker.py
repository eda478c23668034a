"""A pinned, versioned worker inside the test process that keeps the demo's workflow contract.

It lets the client be tested apart from the real workers, and can misbehave on
purpose: fail, or report builds as a run would that crossed from one to another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio import workflow
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

__all__ = ["CrossingOrder", "FailingGreeting", "Greeting", "Order", "demo_worker"]


def _build_id() -> str:
    version = workflow.info().get_current_deployment_version()
    return version.build_id if version else "none"


@workflow.defn(name="Greeting")
class Greeting:
    """Greets at once."""

    @workflow.run
    async def run(self) -> str:
        """The line that the demo's builds return."""
        return f"Hello from worker Build ID: {_build_id()}!"


@workflow.defn(name="Greeting")
class FailingGreeting:
    """Fails at once."""

    @workflow.run
    async def run(self) -> str:
        """Nothing but the failure."""
        raise ApplicationError("out of ink")


@workflow.defn(name="Order")
class Order:
    """Takes as long as it is asked to, in two steps."""

    @workflow.run
    async def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """The builds of both steps."""
        steps = []
        for name in ("pack", "ship"):
            await workflow.sleep(order["seconds"] / 2)
            steps.append(_step(name, _build_id()))
        return {"order_id": order["order_id"], "steps": steps}


@workflow.defn(name="Order")
class CrossingOrder:
    """Reports that its second step ran on another build."""

    @workflow.run
    async def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """The builds of a run that crossed."""
        steps = [_step("pack", "v1"), _step("ship", "v2")]
        return {"order_id": order["order_id"], "steps": steps}


def _step(name: str, build_id: str) -> dict[str, str]:
    return {"name": name, "workflow_build_id": build_id, "activity_build_id": build_id}


@asynccontextmanager
async def demo_worker(
    address: str, name: str, *workflows: type, build_id: str = "v1"
) -> AsyncIterator[Client]:
    """Run ``build_id`` of deployment ``name`` on task queue ``name``, current at once."""
    client = await Client.connect(address)
    version = WorkerDeploymentVersion(name, build_id)
    config = WorkerDeploymentConfig(
        version=version,
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )
    async with Worker(
        client,
        task_queue=name,
        workflows=workflows or (Greeting, Order),
        workflow_runner=UnsandboxedWorkflowRunner(),
        deployment_config=config,
    ):
        await _make_current(client, version)
        yield client


async def _make_current(client: Client, version: WorkerDeploymentVersion) -> None:
    """Ask until the server knows the version, which its first poll tells it."""
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=version.deployment_name,
        build_id=version.build_id,
    )
    deadline = time.monotonic() + 20
    while True:
        try:
            await client.workflow_service.set_worker_deployment_current_version(request)
        except RPCError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return
