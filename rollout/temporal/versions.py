"""One version of a worker deployment: what the server answers when asked for it by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from temporalio.api.common.v1 import Payload
from temporalio.api.deployment.v1 import WorkerDeploymentInfo, WorkerDeploymentVersion
from temporalio.api.enums.v1 import (
    TaskQueueType,
    VersionDrainageStatus,
    WorkerDeploymentVersionStatus,
)
from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    DescribeWorkerDeploymentVersionRequest,
    DescribeWorkerDeploymentVersionResponse,
)
from temporalio.client import Client
from temporalio.converter import PayloadConverter
from temporalio.service import RPCError, RPCStatusCode

from rollout.core.observation import Status
from rollout.temporal.metadata import Metadata
from rollout.temporal.rpc import TIMEOUT, patiently

__all__ = [
    "Described",
    "Summary",
    "describe_deployment",
    "describe_version",
    "status_of",
    "version_metadata",
]

Summary = WorkerDeploymentInfo.WorkerDeploymentVersionSummary
"""What the description of a deployment says of each version."""

_STATUSES: Mapping[int, Status] = {
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_CREATED: "created",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_INACTIVE: "inactive",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT: "current",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING: "ramping",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING: "draining",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED: "drained",
}


@dataclass(frozen=True)
class Described:
    """What only a question for the version itself tells."""

    metadata: Metadata = field(default_factory=Metadata)
    backlog: int | None = None
    """Tasks that wait in its queues, approximately; None where the server did not say."""
    waiting_age: float | None = None
    """Seconds for which the oldest of them has waited; None where the server did not say."""
    queues: frozenset[str] = frozenset()
    """The task queues on which its workers take workflow tasks."""
    at: datetime | None = None
    """When the question was asked; None where it never was."""
    known: bool = True
    """Whether it could be described; where not, the rest says nothing."""
    status: Status | None = None
    """What the deployment's description had said of it before."""


def status_of(summary: Summary) -> Status:
    """The server's status, where its drainage does not contradict it.

    DRAINED with a drainage that is not DRAINED was the Kubernetes controller's
    way to strand pinned runs: it reads `unknown` here.
    """
    status = _STATUSES.get(summary.status, "unknown")
    drained = summary.drainage_info.status == VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINED
    if status == "drained" and not drained:
        return "unknown"
    return status


async def describe_deployment(client: Client, deployment: str) -> DescribeWorkerDeploymentResponse:
    """What the server says of a deployment; an empty answer where it does not know it."""
    try:
        reply: DescribeWorkerDeploymentResponse = await patiently(
            client.workflow_service.describe_worker_deployment,
            DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=deployment),
            timeout=TIMEOUT,
        )
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
            return DescribeWorkerDeploymentResponse()
        raise
    return reply


async def describe_version(
    client: Client, deployment: str, build_id: str, problems: list[str]
) -> Described:
    """A version's metadata and backlog; what cannot be read is added to ``problems``."""
    began = datetime.now(timezone.utc)
    backlog: int | None = None
    age: float | None = None
    try:
        try:
            reply = await _describe(client, deployment, build_id, statistics=True)
            statistics = [queue.stats for queue in reply.version_task_queues]
            backlog = sum(each.approximate_backlog_count for each in statistics)
            age = max((_age(each) for each in statistics), default=0.0)
        except RPCError:
            # In a version's first seconds its queues are not all known, and
            # asking for their statistics is an error.
            reply = await _describe(client, deployment, build_id)
    except RPCError as error:
        problems.append(f"{build_id} could not be described: {error.message}")
        return Described(known=False, at=began)
    return Described(_metadata(reply), backlog, age, _workflow_queues(reply), began)


async def version_metadata(client: Client, deployment: str, build_id: str) -> Metadata | None:
    """A version's metadata; None where the server does not know the version."""
    try:
        reply = await _describe(client, deployment, build_id)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    return _metadata(reply)


async def _describe(
    client: Client, deployment: str, build_id: str, *, statistics: bool = False
) -> DescribeWorkerDeploymentVersionResponse:
    reply: DescribeWorkerDeploymentVersionResponse = await patiently(
        client.workflow_service.describe_worker_deployment_version,
        DescribeWorkerDeploymentVersionRequest(
            namespace=client.namespace,
            deployment_version=WorkerDeploymentVersion(
                deployment_name=deployment, build_id=build_id
            ),
            report_task_queue_stats=statistics,
        ),
        timeout=TIMEOUT,
    )
    return reply


def _age(statistics: TaskQueueStats) -> float:
    return statistics.approximate_backlog_age.ToTimedelta().total_seconds()


def _workflow_queues(reply: DescribeWorkerDeploymentVersionResponse) -> frozenset[str]:
    kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
    return frozenset(queue.name for queue in reply.version_task_queues if queue.type == kind) | {
        queue.name
        for queue in reply.worker_deployment_version_info.task_queue_infos
        if queue.type == kind
    }


def _metadata(reply: DescribeWorkerDeploymentVersionResponse) -> Metadata:
    entries = reply.worker_deployment_version_info.metadata.entries
    texts = {key: _text(payload) for key, payload in entries.items()}
    return Metadata.read({key: text for key, text in texts.items() if text is not None})


def _text(payload: Payload) -> str | None:
    """What a payload holds; None where it is somebody else's, in an encoding of their own."""
    try:
        return str(PayloadConverter.default.from_payload(payload))
    except (KeyError, RuntimeError):
        return None
