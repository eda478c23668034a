"""The workers that live, by what they tell the server in their heartbeats."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.workflowservice.v1 import ListWorkersRequest
from temporalio.client import Client

from rollout.temporal.rpc import TIMEOUT, time_of

__all__ = ["live_workers"]

HEARTBEAT_FRESH = timedelta(seconds=10)
"""A worker whose last heartbeat is older is not counted as alive (workers beat every 2 s)."""

_PAGE_SIZE = 200
_ENDING = (
    WorkerStatus.WORKER_STATUS_SHUTTING_DOWN,
    WorkerStatus.WORKER_STATUS_SHUTDOWN,
)


async def live_workers(client: Client, query: str) -> dict[str, Counter[str]]:
    """How many workers live of those that ``query`` finds, by build id and task queue.

    Raises `RPCError` where the server does not list them: old ones cannot.
    """
    alive: dict[str, Counter[str]] = {}
    page = b""
    while True:
        reply = await client.workflow_service.list_workers(
            ListWorkersRequest(
                namespace=client.namespace,
                query=query,
                page_size=_PAGE_SIZE,
                next_page_token=page,
            ),
            timeout=TIMEOUT,
        )
        now = datetime.now(timezone.utc)
        for worker in reply.workers_info:
            beat = worker.worker_heartbeat
            seen = time_of(beat.heartbeat_time)
            ending = beat.status in _ENDING
            if seen is not None and now - seen < HEARTBEAT_FRESH and not ending:
                polled = alive.setdefault(beat.deployment_version.build_id, Counter())
                polled[beat.task_queue] += 1
        page = reply.next_page_token
        if not page:
            return alive
