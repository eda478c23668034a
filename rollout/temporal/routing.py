"""The only writer on the server: the routing, the metadata and the runs of a worker deployment.

Every call is idempotent, so that whoever died half-way can begin again.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.batch.v1 import BatchOperationUpdateWorkflowExecutionOptions
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import BatchOperationState
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    DescribeBatchOperationRequest,
    DescribeBatchOperationResponse,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentManagerRequest,
    SetWorkerDeploymentRampingVersionRequest,
    StartBatchOperationRequest,
    UpdateWorkerDeploymentVersionMetadataRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.client import Client
from temporalio.converter import PayloadConverter
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.exit import Failure
from rollout.base.logger import get_logger
from rollout.base.waiting import until
from rollout.core.actions import (
    Action,
    ClaimManager,
    ClearRamp,
    JoinSet,
    MoveRuns,
    SetCurrent,
    SetRamp,
)
from rollout.core.observation import Observation
from rollout.core.unlearned import COULD_NOT_LEARN
from rollout.temporal.deletion import delete_version
from rollout.temporal.metadata import Metadata
from rollout.temporal.observer import Observer
from rollout.temporal.rpc import CHANGE_TIMEOUT, WITHOUT_ANSWER, patiently
from rollout.temporal.visibility import open_runs_query

__all__ = ["DeploymentRouting", "Overtaken", "Refused", "not_done"]

log = get_logger(__name__)

_BATCH_SECONDS = 300.0


class Refused(Failure):
    """The server did not take a change, for a reason that a retry may or may not cure."""


class Overtaken(Refused):
    """What was planned rests on what is not so any more; the next look decides anew."""


def not_done(action: Action, error: RPCError) -> str:
    """Why ``action`` was not carried out, or that nobody knows whether it was.

    A call that ended without the server's answer may have been carried out all the same.
    """
    said = error.message or error.status.name
    if error.status in WITHOUT_ANSWER:
        return f"{COULD_NOT_LEARN} this was done: {action} ({said}); the next look finds out"
    return f"could not {action}: {said}"


class DeploymentRouting:
    """The routing of one worker deployment, changed under one identity; a `Routing`."""

    def __init__(self, client: Client, deployment: str, identity: str) -> None:
        self._client = client
        self._service = client.workflow_service
        self._namespace = client.namespace
        self._deployment = deployment
        self._identity = identity
        self._observer = Observer(client, deployment)

    async def observe(self) -> Observation:
        """Read the deployment once; see `Observer.observe`."""
        return await self._observer.observe()

    async def is_as_seen(self, seen: Observation) -> bool:
        """Whether nobody has changed the routing since it was ``seen``. Raises `RPCError`."""
        return await self._observer.is_as_seen(seen)

    async def perform(self, action: Action, seen: Observation) -> None:
        """Carry out one action, planned on what was ``seen``.

        A routing change carries the observation's conflict token: the server
        refuses it where somebody else has changed the routing since. Raises
        `Refused` with the server's words.
        """
        try:
            await self.change(action, seen.conflict_token)
        except RPCError as error:
            raise Refused(not_done(action, error)) from error
        log.info("done", action=str(action))

    async def change(self, action: Action, token: bytes) -> None:
        """Carry out one action that is a change of routing, and tell nobody."""
        match action:
            case ClaimManager():
                await self.claim(token)
            case JoinSet(build_id, version_set):
                await self.join_set(build_id, version_set)
            case SetCurrent(build_id, missing):
                await self.set_current(build_id, ignore_missing_task_queues=missing, token=token)
            case SetRamp(build_id, percentage, missing):
                await self.set_ramp(
                    build_id, percentage, ignore_missing_task_queues=missing, token=token
                )
            case ClearRamp():
                await self.clear_ramp(token)
            case MoveRuns(source, target):
                await self.move_runs(source, target)
            case _:
                raise TypeError(f"{action} is not a change of routing")

    async def claim(self, token: bytes = b"") -> None:
        """Become the manager: the only identity that may change the routing."""
        await self.set_manager(self._identity, token)

    async def join_set(self, build_id: str, version_set: str) -> None:
        """Put a version into a version set."""
        await self.annotate(build_id, Metadata(version_set=version_set))

    async def annotate(self, build_id: str, entries: Metadata, remove: Sequence[str] = ()) -> None:
        """Write a part of a version's metadata and ``remove`` keys of it; the rest stays."""
        converter = PayloadConverter.default
        payloads: dict[str, Payload] = {
            key: converter.to_payload(value) for key, value in entries.entries().items()
        }
        await self._service.update_worker_deployment_version_metadata(
            UpdateWorkerDeploymentVersionMetadataRequest(
                namespace=self._namespace,
                deployment_version=WorkerDeploymentVersion(
                    deployment_name=self._deployment, build_id=build_id
                ),
                upsert_entries=payloads,
                remove_entries=remove,
                identity=self._identity,
            ),
            timeout=CHANGE_TIMEOUT,
        )

    async def set_manager(self, manager: str, token: bytes = b"") -> None:
        """Make ``manager`` the only identity that may change the routing; empty: anybody may."""
        await self._service.set_worker_deployment_manager(
            SetWorkerDeploymentManagerRequest(
                namespace=self._namespace,
                deployment_name=self._deployment,
                manager_identity=manager,
                conflict_token=token,
                identity=self._identity,
            ),
            timeout=CHANGE_TIMEOUT,
        )

    async def set_current(
        self, build_id: str, *, ignore_missing_task_queues: bool = False, token: bytes = b""
    ) -> None:
        """Send all new runs to ``build_id``; empty: to workers without a version."""
        await self._service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace=self._namespace,
                deployment_name=self._deployment,
                build_id=build_id,
                ignore_missing_task_queues=ignore_missing_task_queues,
                conflict_token=token,
                identity=self._identity,
            ),
            timeout=CHANGE_TIMEOUT,
        )

    async def set_ramp(
        self,
        build_id: str,
        percentage: float,
        *,
        ignore_missing_task_queues: bool = False,
        token: bytes = b"",
    ) -> None:
        """Send ``percentage`` (0 to 100) of new runs to ``build_id``."""
        await self._service.set_worker_deployment_ramping_version(
            SetWorkerDeploymentRampingVersionRequest(
                namespace=self._namespace,
                deployment_name=self._deployment,
                build_id=build_id,
                percentage=percentage,
                ignore_missing_task_queues=ignore_missing_task_queues,
                conflict_token=token,
                identity=self._identity,
            ),
            timeout=CHANGE_TIMEOUT,
        )

    async def clear_ramp(self, token: bytes = b"") -> None:
        """Send all new runs to the current version."""
        await self.set_ramp("", 0.0, token=token)

    async def delete(self, build_id: str) -> None:
        """Delete the server's record of a version; see `delete_version`."""
        await delete_version(self._client, self._deployment, build_id, self._identity)

    async def move_runs(self, source: str, target: str) -> None:
        """Give every open run of ``source`` a one-time override to ``target``, in one batch.

        Raises `Refused` where some of them could not be moved.
        """
        job_id = f"move-{self._deployment}-{source}-{target}-{uuid.uuid4().hex[:8]}"
        await self._service.start_batch_operation(
            StartBatchOperationRequest(
                namespace=self._namespace,
                visibility_query=open_runs_query(self._deployment, source),
                job_id=job_id,
                reason=f"{target} is compatible with {source} and has taken over its set",
                update_workflow_options_operation=BatchOperationUpdateWorkflowExecutionOptions(
                    identity=self._identity,
                    workflow_execution_options=self._one_time(target),
                    update_mask=FieldMask(paths=["versioning_override"]),
                ),
            ),
            timeout=CHANGE_TIMEOUT,
        )
        await self._wait_for_batch(job_id)

    async def move_these(self, runs: Sequence[tuple[str, str]], target: str) -> int:
        """`move_runs`, for runs named by workflow and run id; how many of them were still open."""
        moved = 0
        for workflow_id, run_id in runs:
            try:
                await patiently(
                    self._service.update_workflow_execution_options,
                    UpdateWorkflowExecutionOptionsRequest(
                        namespace=self._namespace,
                        workflow_execution=WorkflowExecution(
                            workflow_id=workflow_id, run_id=run_id
                        ),
                        workflow_execution_options=self._one_time(target),
                        update_mask=FieldMask(paths=["versioning_override"]),
                        identity=self._identity,
                    ),
                    timeout=CHANGE_TIMEOUT,
                )
            except RPCError as error:
                if error.status != RPCStatusCode.NOT_FOUND:  # it has ended meanwhile
                    raise
            else:
                moved += 1
        return moved

    def _one_time(self, target: str) -> WorkflowExecutionOptions:
        """The override that lets a run go on with ``target`` at its next task, and then ends."""
        version = WorkerDeploymentVersion(deployment_name=self._deployment, build_id=target)
        one_time = VersioningOverride.OneTimeOverride(target_deployment_version=version)
        return WorkflowExecutionOptions(versioning_override=VersioningOverride(one_time=one_time))

    async def _wait_for_batch(self, job_id: str) -> None:
        """Return when the batch has ended, or goes on after `_BATCH_SECONDS` without being watched.

        Raises `Refused` where some runs could not be changed.
        """

        async def ended() -> DescribeBatchOperationResponse | None:
            batch: DescribeBatchOperationResponse = await self._service.describe_batch_operation(
                DescribeBatchOperationRequest(namespace=self._namespace, job_id=job_id),
                timeout=CHANGE_TIMEOUT,
            )
            running = BatchOperationState.BATCH_OPERATION_STATE_RUNNING
            return batch if batch.state != running else None

        batch = await until(ended, _BATCH_SECONDS, period=0.25)
        if batch is not None and (failed := batch.failure_operation_count):
            of = batch.total_operation_count
            raise Refused(
                f"{failed} of {of} runs could not be moved: is there a worker of the new "
                f"build on their task queue? (`temporal batch describe --job-id {job_id}`)"
            )
