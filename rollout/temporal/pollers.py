"""Whether a version's workers poll, as its task queues remember it.

Heartbeats say more, and later: the first one of a worker with its SDK's default options may come a
minute after its first poll.
"""

from __future__ import annotations

from datetime import datetime

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.client import Client

from rollout.temporal.rpc import TIMEOUT, latest, patiently, time_of
from rollout.temporal.versions import describe_version

__all__ = ["polled_at"]


async def polled_at(
    client: Client, deployment: str, build_id: str, task_queue: str | None = None
) -> datetime | None:
    """When a worker of the version last asked for workflow tasks; None: not in five minutes.

    The time is the server's own, to be compared with another of its times alone. It is looked for
    on the task queues that the server knows the version to have, and on ``task_queue``. Raises
    `RPCError` where the server cannot be asked.
    """
    described = await describe_version(client, deployment, build_id, [])
    if not described.known:
        return None
    queues = described.queues | ({task_queue} if task_queue else frozenset())
    found: list[datetime | None] = []
    for queue in sorted(queues):
        reply: DescribeTaskQueueResponse = await patiently(
            client.workflow_service.describe_task_queue,
            DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            ),
            timeout=TIMEOUT,
        )
        for poller in reply.pollers:
            named = poller.deployment_options
            if (named.deployment_name, named.build_id) == (deployment, build_id):
                found.append(time_of(poller.last_access_time))
    return latest(*found)
