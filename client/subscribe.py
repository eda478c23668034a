"""``python -m client subscribe``: one long-lived workflow, and the builds it moved through."""

from __future__ import annotations

import uuid
from itertools import groupby
from typing import Any

import structlog
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from client.calls import outlast, quiet_runtime, reason_of, start_once
from rollout.base.connect import connect
from rollout.base.exit import Failure
from rollout.base.tracing import traced

__all__ = ["as_text", "subscribe"]

log = structlog.get_logger(__name__)


async def subscribe(task_queue: str, cycles: int, every: float) -> str:
    """Which build ran which cycles of a new subscription, once it has run out.

    ``every`` is in seconds. Outlasts a server that is away; `Failure` where the workflow fails.
    """
    client = await connect(runtime=quiet_runtime(), own=traced("client"))
    workflow_id = f"subscription-{uuid.uuid4().hex[:12]}"
    try:
        return as_text(await _run(client, workflow_id, task_queue, cycles, every))
    except WorkflowFailureError as error:
        raise Failure(f"the workflow {workflow_id} failed: {reason_of(error)}") from error
    except RPCError as error:
        raise Failure(f"Temporal refused the call: {reason_of(error)}") from error


async def _run(
    client: Client, workflow_id: str, task_queue: str, cycles: int, every: float
) -> list[str]:
    argument = {"subscription_id": workflow_id, "cycles": cycles, "seconds": every}
    await outlast(
        lambda: start_once(
            client, "Subscription", workflow_id, task_queue=task_queue, argument=argument
        ),
        starting=True,
    )
    log.info("subscription begins", workflow_id=workflow_id, cycles=cycles)
    handle = client.get_workflow_handle(workflow_id)
    result: Any = await outlast(handle.result)  # follows the runs that it continues as
    try:
        return [str(build) for build in result["builds"]]
    except (KeyError, TypeError) as error:
        raise Failure(f"the workflow {workflow_id} returned {result!r}") from error


def as_text(builds: list[str]) -> str:
    """The cycles of each build, counted from 1: ``v1 1-23, v2 24-60``."""
    parts, begun = [], 1
    for build, run in groupby(builds):
        last = begun + len(list(run)) - 1
        parts.append(f"{build} {begun}" if last == begun else f"{build} {begun}-{last}")
        begun = last + 1
    return ", ".join(parts)
