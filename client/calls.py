"""How the client talks to Temporal: its names for things, and calls that outlast an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import tenacity
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.connect import is_transient
from rollout.base.logs import core_logging

__all__ = ["outlast", "quiet_runtime", "reason_of", "start_once"]

_RPC_TIMEOUT = timedelta(seconds=10)

Answer = TypeVar("Answer")


def quiet_runtime() -> Runtime:
    """A runtime whose own log lines go to stderr: by default they mix with the results."""
    return Runtime(telemetry=TelemetryConfig(logging=core_logging()))


async def start_once(
    client: Client,
    workflow_type: str,
    workflow_id: str,
    *,
    task_queue: str,
    argument: Any = None,  # noqa: ANN401 - anything that the data converter takes
) -> None:
    """Start the workflow unless an earlier attempt, whose answer was lost, already did.

    The id is ours alone and is refused a second time even after the run has
    ended, so that "already started" can only mean that the server took it.
    """
    try:
        await client.start_workflow(
            workflow_type,
            args=[] if argument is None else [argument],
            id=workflow_id,
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            rpc_timeout=_RPC_TIMEOUT,
        )
    except WorkflowAlreadyStartedError:
        return


async def outlast(
    call: Callable[[], Awaitable[Answer]],
    *,
    starting: bool = False,
    on_retry: Callable[[BaseException], None] = lambda _: None,
) -> Answer:
    """The answer to ``call``, however long the server is away; other errors are raised.

    With ``starting``, "not found" is worth another try as well: a server that
    has only just begun to serve does not know its namespaces yet.
    """

    def is_worth_another_try(error: BaseException) -> bool:
        if starting and isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
            return True
        return is_transient(error)

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            on_retry(error)

    retrying = tenacity.AsyncRetrying(
        sleep=asyncio.sleep,
        retry=tenacity.retry_if_exception(is_worth_another_try),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
        before_sleep=tell,
        reraise=True,
    )

    async def attempt() -> Answer:  # tenacity awaits coroutine functions alone, not lambdas
        return await call()

    return await retrying(attempt)


def reason_of(error: BaseException) -> str:
    """Why a workflow did not complete, in one line."""
    if isinstance(error, WorkflowFailureError):
        causes = [error.cause]
        while (deeper := causes[-1].__cause__) is not None:  # an activity's error lies below
            causes.append(deeper)
        return ": ".join(_cause(cause) for cause in causes)
    if isinstance(error, RPCError):
        return f"{error.status.name.lower()}: {error.message}"
    return f"{type(error).__name__}: {error}"


def _cause(error: BaseException) -> str:
    message = error.message if isinstance(error, FailureError) else str(error)
    return " ".join(message.split()) or type(error).__name__
