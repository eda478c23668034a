"""The gate: smoke runs that are pinned to the target, before any real traffic goes there.

The runs themselves are the state: their workflow ids say which try of which
build and code they are, so that a controller finds them again after a restart.
"""

from __future__ import annotations

import re
from datetime import timedelta

import msgspec
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
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

__all__ = ["has_no_workflow", "read_gate", "start_gate"]

_UNKNOWN_WORKFLOW = re.compile(
    r"is not registered on this worker"  # Python, .NET and Ruby
    r"|no such function is exported by the workflow bundle"  # TypeScript
    r"|unable to find workflow type"  # Go
    r"|unknown workflow type",  # Java
    re.IGNORECASE,
)
"""What each SDK fails a task with whose workflow its worker does not have."""


async def read_gate(
    client: Client, deployment: str, version: Version, gate: Gate, task_queue: str
) -> tuple[GateRun, ...]:
    """The tries of the version's current round and code on ``task_queue``, the first first."""
    tries: list[GateRun] = []
    for attempt in range(1, gate.retries + 2):
        workflow_id = _workflow_id(deployment, version, gate, task_queue, attempt)
        handle = client.get_workflow_handle(workflow_id)
        try:
            run = await handle.describe(rpc_timeout=TIMEOUT)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                break
            raise
        if run.status == WorkflowExecutionStatus.COMPLETED:
            tries.append(GateRun(task_queue, attempt, "passed"))
            continue
        running = run.status == WorkflowExecutionStatus.RUNNING
        task = await _failed_task(client, run) if _has_failed_tasks(run) or not running else None
        if task is not None and has_no_workflow(task, gate.workflow):
            tries.append(GateRun(task_queue, attempt, "failed", task, lacks_workflow=True))
        elif running:
            tries.append(GateRun(task_queue, attempt, "running"))
        else:
            why = await _why(client, workflow_id)
            said = f"; its first task failed: {task}" if task else ""
            tries.append(GateRun(task_queue, attempt, "failed", f"{workflow_id} {why}{said}"))
    return tuple(tries)


def has_no_workflow(said: str, workflow: str) -> bool:
    """Whether a failed task ``said`` that its worker has no ``workflow``, in whichever SDK's words.

    No other try can pass then: the code is what it is.
    """
    return workflow in said and _UNKNOWN_WORKFLOW.search(said) is not None


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
            id=_workflow_id(deployment, version, gate, task_queue, action.attempt),
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


def _workflow_id(
    deployment: str, version: Version, gate: Gate, task_queue: str, attempt: int
) -> str:
    """Another workflow in rollout.toml is another gate, whose first try is still to come."""
    tested = f"{version.build_id}/{version.fingerprint or '-'}/{version.gate_round}"
    return f"gate/{deployment}/{tested}/{task_queue}/{gate.workflow}/{attempt}"


def _has_failed_tasks(run: WorkflowExecutionDescription) -> bool:
    return run.raw_description.pending_workflow_task.attempt > 1


async def _failed_task(client: Client, run: WorkflowExecutionDescription) -> str | None:
    """What its first failed task said, on one line; None where none failed, or nobody knows now.

    A history has the first failure of several in a row alone.
    """
    handle = client.get_workflow_handle(run.id, run_id=run.run_id)
    try:
        async for event in handle.fetch_history_events(rpc_timeout=TIMEOUT):
            if event.HasField("workflow_task_failed_event_attributes"):
                failure = event.workflow_task_failed_event_attributes.failure
                return " ".join(failure.message.split())
    except RPCError:
        return None
    return None


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
