"""The only writer on the server: routing, version metadata and the moving of runs.

Every call is idempotent, so that whoever died half-way can begin again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.batch.v1 import BatchOperationUpdateWorkflowExecutionOptions
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import BatchOperationState
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    DescribeBatchOperationRequest,
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
from rollout.temporal.observer import open_runs_query, patiently

__all__ = ["Actor", "Refused"]

log = structlog.get_logger(__name__)

_TIMEOUT = timedelta(seconds=10)
_BATCH_TIME = timedelta(minutes=5)


class Refused(Failure):
    """The server did not take a change, for a reason that a retry may or may not cure."""


class Actor:
    """Changes the routing of one worker deployment, under one identity."""

    def __init__(self, client: Client, deployment: str, identity: str) -> None:
        self._client = client
        self._service = client.workflow_service
        self._namespace = client.namespace
        self._deployment = deployment
        self._identity = identity

    async def perform(self, action: Action, seen: Observation) -> None:
        """Carry out one action, planned on what was ``seen``.

        A routing change carries the observation's conflict token: the server
        refuses it where somebody else has changed the routing since. Raises
        `Refused` with the server's words.
        """
        try:
            await self._perform(action, seen.conflict_token)
        except RPCError as error:
            raise Refused(f"to {action} was refused: {error.message}") from error
        log.info("done", action=str(action))

    async def _perform(self, action: Action, token: bytes) -> None:
        match action:
            case ClaimManager():
                await self.set_manager(self._identity, token)
            case JoinSet(build_id, version_set):
                await self.annotate(build_id, {"set": version_set})
            case SetCurrent():
                await self._set_current(action, token)
            case SetRamp():
                await self._set_ramp(action, token)
            case ClearRamp():
                await self._set_ramp(SetRamp("", 0.0), token)
            case MoveRuns(source, target):
                await self.move_runs(source, target)
            case _:
                raise TypeError(f"{action} is not a change of routing")

    async def annotate(
        self, build_id: str, entries: Mapping[str, str], remove: Sequence[str] = ()
    ) -> None:
        """Write ``entries`` into the version's metadata and ``remove`` others; the rest stays."""
        converter = PayloadConverter.default
        payloads: dict[str, Payload] = {
            key: converter.to_payload(value) for key, value in entries.items()
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
            timeout=_TIMEOUT,
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
            timeout=_TIMEOUT,
        )

    async def _set_current(self, action: SetCurrent, token: bytes) -> None:
        await self._service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace=self._namespace,
                deployment_name=self._deployment,
                build_id=action.build_id,
                ignore_missing_task_queues=action.ignore_missing_task_queues,
                conflict_token=token,
                identity=self._identity,
            ),
            timeout=_TIMEOUT,
        )

    async def _set_ramp(self, action: SetRamp, token: bytes) -> None:
        await self._service.set_worker_deployment_ramping_version(
            SetWorkerDeploymentRampingVersionRequest(
                namespace=self._namespace,
                deployment_name=self._deployment,
                build_id=action.build_id,
                percentage=action.percentage,
                ignore_missing_task_queues=action.ignore_missing_task_queues,
                conflict_token=token,
                identity=self._identity,
            ),
            timeout=_TIMEOUT,
        )

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
            timeout=_TIMEOUT,
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
                    timeout=_TIMEOUT,
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
        """Return when the batch has ended, or goes on after `_BATCH_TIME` without being watched.

        Raises `Refused` where some runs could not be changed.
        """
        deadline = asyncio.get_running_loop().time() + _BATCH_TIME.total_seconds()
        running = BatchOperationState.BATCH_OPERATION_STATE_RUNNING
        while asyncio.get_running_loop().time() < deadline:
            batch = await self._service.describe_batch_operation(
                DescribeBatchOperationRequest(namespace=self._namespace, job_id=job_id),
                timeout=_TIMEOUT,
            )
            if batch.state != running:
                if failed := batch.failure_operation_count:
                    of = batch.total_operation_count
                    raise Refused(
                        f"{failed} of {of} runs could not be moved: is there a worker of the new "
                        f"build on their task queue? (`temporal batch describe --job-id {job_id}`)"
                    )
                return
            await asyncio.sleep(0.25)
