"""New runs: those that no version has taken yet, and who has got how many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from rollout.core.observation import STUCK
from rollout.temporal.visibility import RUNNING, count, is_countable, on, quoted, timestamp

__all__ = ["Unassigned", "count_starts", "count_unassigned"]


@dataclass(frozen=True)
class Unassigned:
    """Running workflows that have no version; None where they could not be counted."""

    total: int | None = None
    stuck: int | None = None
    """Those that have been due for more than `STUCK` seconds."""


async def count_unassigned(
    client: Client, task_queues: Collection[str], now: datetime, problems: list[str]
) -> Unassigned:
    """Count the running workflows on ``task_queues`` whose first task nobody has completed.

    A run gets its version with its first workflow task: before that no count by version has it.
    Those whose start is delayed, or whose next cron firing is ahead, are not due yet.
    """
    if not task_queues:
        return Unassigned()
    queues = ", ".join(quoted(queue) for queue in sorted(task_queues))
    waiting = (
        f"TaskQueue IN ({queues}) AND {RUNNING} "
        "AND TemporalWorkerDeploymentVersion IS NULL AND BuildIds IS NULL"
    )

    async def due_before(moment: datetime) -> int:
        return await count(client, f"{waiting} AND ExecutionTime <= {timestamp(moment)}")

    try:
        total = await due_before(now)
        stuck = await due_before(now - timedelta(seconds=STUCK)) if total else 0
    except RPCError as error:
        problems.append(f"the runs without a version could not be counted: {error.message}")
        return Unassigned()
    return Unassigned(total, stuck)


async def count_starts(
    client: Client, deployment: str, build_ids: Collection[str], since: datetime
) -> dict[str, int | None]:
    """By build id, the runs that began after ``since`` and are on it, children left out.

    Children run where their parent does, so they say nothing of the routing. Runs that go on as
    new are counted with the others.
    """

    async def starts(build_id: str) -> int | None:
        if not is_countable(build_id):
            return None
        query = (
            f"{on(deployment, build_id)} AND ParentWorkflowId IS NULL "
            f"AND StartTime > {timestamp(since)}"
        )
        try:
            return await count(client, query)
        except RPCError:
            return None

    ids = list(build_ids)
    return dict(zip(ids, await asyncio.gather(*map(starts, ids)), strict=True))
