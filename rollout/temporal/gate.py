"""The gate: smoke runs that are pinned to the target, before any real traffic goes there.

The runs themselves are the state: their workflow ids say which try of which
build and code they are, so that a controller finds them again after a restart.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import (
    PinnedVersioningOverride,
    WorkerDeploymentVersion,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from rollout.core.actions import StartGate
from rollout.core.config import Gate
from rollout.core.observation import GateRun, Version
from rollout.temporal.rpc import TIMEOUT

__all__ = ["read_gate", "start_gate"]


async def read_gate(
    client: Client, deployment: str, version: Version, gate: Gate, task_queue: str
) -> tuple[GateRun, ...]:
    """The tries of the version's current round and code on ``task_queue``, the first first."""
    tries: list[GateRun] = []
    for attempt in range(1, gate.retries + 2):
        workflow_id = _workflow_id(deployment, version, task_queue, attempt)
        handle = client.get_workflow_handle(workflow_id)
        try:
            run = await handle.describe(rpc_timeout=TIMEOUT)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                break
            raise
        if run.status == WorkflowExecutionStatus.RUNNING:
            tries.append(GateRun(task_queue, attempt, "running"))
        elif run.status == WorkflowExecutionStatus.COMPLETED:
            tries.append(GateRun(task_queue, attempt, "passed"))
        else:
            detail = f"{workflow_id} {await _why(client, workflow_id)}"
            tries.append(GateRun(task_queue, attempt, "failed", detail))
    return tuple(tries)


async def start_gate(
    client: Client, deployment: str, version: Version, gate: Gate, action: StartGate
) -> None:
    """Start one try. It has ``gate.timeout`` seconds; started already is fine."""
    task_queue = action.task_queue
    arguments = [] if gate.input is msgspec.UNSET else [gate.input]
    try:
        await client.start_workflow(
            gate.workflow,
            args=arguments,
            id=_workflow_id(deployment, version, task_queue, action.attempt),
            task_queue=task_queue,
            execution_timeout=timedelta(seconds=gate.timeout),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            versioning_override=PinnedVersioningOverride(
                WorkerDeploymentVersion(deployment, version.build_id)
            ),
            rpc_timeout=TIMEOUT,
        )
    except WorkflowAlreadyStartedError:
        return


def _workflow_id(deployment: str, version: Version, task_queue: str, attempt: int) -> str:
    code = version.fingerprint or "-"
    return (
        f"gate/{deployment}/{version.build_id}/{code}/{version.gate_round}/{task_queue}/{attempt}"
    )


async def _why(client: Client, workflow_id: str) -> str:
    """How a closed run ended: its failure's message, on one line."""
    try:
        await client.get_workflow_handle(workflow_id).result(rpc_timeout=TIMEOUT)
    except WorkflowFailureError as failure:
        cause: BaseException = failure.cause
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return " ".join(str(cause).split()) or type(cause).__name__
    except RPCError as error:
        return error.message
    return "completed after all"
