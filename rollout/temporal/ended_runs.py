"""The runs of a deployment that ended in a time: how many of each build, and which of them failed.

As `rollout.temporal.closed_runs` counts them: a terminated run is no failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client

from rollout.core.report import Failed
from rollout.temporal.rpc import TIMEOUT
from rollout.temporal.visibility import FAILED, count_by_status, of_deployment, on, timestamp

__all__ = ["Ended", "ended_runs", "failed_runs"]

MOST = 100
"""So many failed runs are listed at most, the last of them."""


@dataclass(frozen=True)
class Ended:
    """How many runs of one build ended in a time."""

    completed: int
    """Continued as new and canceled ones among them."""
    failed: int


async def ended_runs(
    client: Client, deployment: str, build_id: str, began: datetime, ended: datetime
) -> Ended:
    """Count those whose last task ``build_id`` completed. Raises `RPCError`."""
    query = f"{on(deployment, build_id)} AND {_closed(began, ended)}"
    counts = await count_by_status(client, query)
    failed = sum(counts.get(status, 0) for status in FAILED)
    return Ended(sum(counts.values()) - failed - counts.get("Terminated", 0), failed)


async def failed_runs(
    client: Client, deployment: str, began: datetime, ended: datetime
) -> tuple[Failed, ...]:
    """Those of all builds that failed or timed out, at most `MOST`. Raises `RPCError`."""
    statuses = ", ".join(f"'{status}'" for status in FAILED)
    query = f"{of_deployment(deployment)} AND {_closed(began, ended)}"
    query += f" AND ExecutionStatus IN ({statuses})"
    found = []
    async for run in client.list_workflows(query, limit=MOST, rpc_timeout=TIMEOUT):
        attributes = run.search_attributes
        version = str(attributes.get("TemporalWorkerDeploymentVersion", [""])[0])
        found.append(
            Failed(
                workflow_id=run.id,
                run_id=run.run_id,
                workflow_type=run.workflow_type,
                build_id=version.removeprefix(f"{deployment}:"),
                status=run.status.name.lower().replace("_", " ") if run.status else "?",
                closed_at=run.close_time,
            )
        )
    return tuple(found)


def _closed(began: datetime, ended: datetime) -> str:
    return f"CloseTime > {timestamp(began)} AND CloseTime <= {timestamp(ended)}"
