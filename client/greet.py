"""``python -m client``: one greeting, and which build it came from."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

from temporalio.client import WorkflowFailureError
from temporalio.exceptions import TimeoutError as WorkflowTimeoutError
from temporalio.service import RPCError

from client.calls import quiet_runtime, reason_of
from rollout.base.connect import connect
from rollout.base.exit import Failure
from rollout.base.tracing import traced

__all__ = ["greet"]


async def greet(task_queue: str, timeout: float) -> str:
    """The greeting of whichever build gets new runs; `Failure` after ``timeout`` seconds.

    The run is given the same time by the server, so that nothing stays behind.
    """
    client = await connect(runtime=quiet_runtime(), own=traced("client"))
    workflow_id = f"greeting-{uuid.uuid4().hex[:12]}"
    unanswered = Failure(
        f"no worker answered within {timeout:g} s; is one running for task queue {task_queue!r}, "
        "and is its build current? `rollout status` tells"
    )
    try:
        return await asyncio.wait_for(
            client.execute_workflow(
                "Greeting",
                id=workflow_id,
                task_queue=task_queue,
                execution_timeout=timedelta(seconds=timeout),
                result_type=str,
            ),
            timeout,
        )
    except asyncio.TimeoutError as error:
        raise unanswered from error
    except WorkflowFailureError as error:
        if isinstance(error.cause, WorkflowTimeoutError):
            raise unanswered from error
        raise Failure(f"the workflow {workflow_id} failed: {reason_of(error)}") from error
    except RPCError as error:
        raise Failure(f"Temporal refused the call: {reason_of(error)}") from error
