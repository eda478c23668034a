"""The way out of worker versioning: new runs go to workers without a version again."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentVersionRequest,
)
from temporalio.client import Client

from rollout.core.observation import Observation
from rollout.temporal.rpc import TIMEOUT

__all__ = ["without_unversioned_worker"]

_POLLER_FRESH = timedelta(seconds=70)
"""A poll lasts a minute at most, and the server remembers pollers for five: a worker that polls
has been seen within this time."""


async def without_unversioned_worker(client: Client, seen: Observation) -> list[str]:
    """The current version's workflow task queues that no worker without a version polls.

    The server would send new runs there all the same, and they would wait. Raises
    `RPCError` where the server cannot be asked.
    """
    queues: set[str] = set()
    routed = (seen.current, seen.ramping.build_id if seen.ramping else None)
    for build_id in filter(None, routed):
        reply = await client.workflow_service.describe_worker_deployment_version(
            DescribeWorkerDeploymentVersionRequest(
                namespace=client.namespace,
                deployment_version=WorkerDeploymentVersion(
                    deployment_name=seen.deployment, build_id=build_id
                ),
            ),
            timeout=TIMEOUT,
        )
        queues |= {
            queue.name
            for queue in reply.version_task_queues
            if queue.type == TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
        }
    return [queue for queue in sorted(queues) if not await _is_polled(client, queue)]


async def _is_polled(client: Client, task_queue: str) -> bool:
    reply = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        ),
        timeout=TIMEOUT,
    )
    versioned = WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
    now = datetime.now(timezone.utc)
    return any(
        poller.deployment_options.worker_versioning_mode != versioned
        and not poller.worker_version_capabilities.use_versioning
        and now - poller.last_access_time.ToDatetime(tzinfo=timezone.utc) < _POLLER_FRESH
        for poller in reply.pollers
    )
