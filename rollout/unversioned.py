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
from temporalio.service import RPCError

from rollout.act import Actor
from rollout.model import ClearRamp, Observation, SetCurrent
from rollout.observe import Observer
from stack.exit import Failure

__all__ = ["NO_BUILD", "UNVERSIONED", "to_unversioned", "without_unversioned_worker"]

UNVERSIONED = "__unversioned__"
"""What stands for a build id where the workers without one are meant, as the server writes it."""

NO_BUILD = SetCurrent("")
"""The action that makes them current: no build id means them in the server's calls."""

_TIMEOUT = timedelta(seconds=5)
_POLLER_FRESH = timedelta(seconds=70)
"""A poll lasts a minute at most, and the server remembers pollers for five: a worker that polls
has been seen within this time."""


async def to_unversioned(client: Client, deployment: str, identity: str) -> bool:
    """Send new runs to workers without a version; False where they went there already.

    Runs that have begun on a build stay on it, as for any other change of the current
    version. Raises `Failure` where the deployment does not exist or somebody else manages
    it, and where no such worker polls each of the current build's task queues: the server
    would take the change, and new runs would wait.
    """
    observer = Observer(client, deployment)
    actor = Actor(client, deployment, identity)
    try:
        seen = await observer.observe()
        _refuse(seen, identity)
        if seen.current is None and seen.ramping is None:
            return False
        if missing := await without_unversioned_worker(client, seen):
            raise Failure(
                f"no worker without a version polls {', '.join(missing)}, and new runs would "
                "wait: start one with `python -m workers --versioning none`"
            )
        if seen.ramping:
            await actor.perform(ClearRamp(), seen)
            seen = await observer.observe()
        if seen.current is not None:
            await actor.perform(NO_BUILD, seen)
    except RPCError as error:
        raise Failure(f"the deployment cannot be read: {error.message}") from error
    return True


async def without_unversioned_worker(client: Client, seen: Observation) -> list[str]:
    """The current version's workflow task queues that no worker without a version polls.

    Raises `RPCError` where the server cannot be asked.
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
            timeout=_TIMEOUT,
        )
        queues |= {
            queue.name
            for queue in reply.version_task_queues
            if queue.type == TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
        }
    return [queue for queue in sorted(queues) if not await _is_polled(client, queue)]


def _refuse(seen: Observation, identity: str) -> None:
    if not seen.exists:
        raise Failure(f"the server knows no deployment {seen.deployment}: nothing is versioned yet")
    if seen.manager and seen.manager != identity:
        raise Failure(
            f"{seen.manager} manages {seen.deployment} and alone may change its routing; "
            "have it release the deployment first"
        )


async def _is_polled(client: Client, task_queue: str) -> bool:
    reply = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        ),
        timeout=_TIMEOUT,
    )
    versioned = WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
    now = datetime.now(timezone.utc)
    return any(
        poller.deployment_options.worker_versioning_mode != versioned
        and not poller.worker_version_capabilities.use_versioning
        and now - poller.last_access_time.ToDatetime(tzinfo=timezone.utc) < _POLLER_FRESH
        for poller in reply.pollers
    )
