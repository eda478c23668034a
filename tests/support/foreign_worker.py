"""Workers as others write them: with temporalio alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from tests.support.temporal_server import DevServer

__all__ = ["Wait", "connect", "foreign_worker"]


@workflow.defn(name="Wait")
class Wait:
    """Ends when it is told to."""

    def __init__(self) -> None:
        self._told = False

    @workflow.run
    async def run(self, _given: str = "") -> None:
        """Wait for the signal."""
        await workflow.wait_condition(lambda: self._told)

    @workflow.signal
    def finish(self) -> None:
        """End."""
        self._told = True


async def connect(server: DevServer, codec: PayloadCodec | None = None) -> Client:
    """A client whose workers beat every second.

    Those of one client beat together, the first time an interval late.
    """
    runtime = Runtime(
        telemetry=TelemetryConfig(logging=None), worker_heartbeat_interval=timedelta(seconds=1)
    )
    converter = DataConverter(payload_codec=codec)
    return await Client.connect(server.address, runtime=runtime, data_converter=converter)


@asynccontextmanager
async def foreign_worker(
    client: Client,
    deployment: str,
    build_id: str,
    behavior: str = "PINNED",
    *,
    workflows: Sequence[type] = (Wait,),
    max_concurrent_workflow_tasks: int | None = None,
) -> AsyncIterator[Worker]:
    """An SDK's own worker, which knows nothing of this project."""
    worker = Worker(
        client,
        task_queue=deployment,
        workflows=workflows,
        max_concurrent_workflow_tasks=max_concurrent_workflow_tasks,
        max_cached_workflows=0 if max_concurrent_workflow_tasks == 1 else 1000,
        workflow_runner=UnsandboxedWorkflowRunner(),
        deployment_config=WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(deployment, build_id),
            use_worker_versioning=True,
            default_versioning_behavior=VersioningBehavior[behavior],
        ),
    )
    async with worker:
        yield worker
