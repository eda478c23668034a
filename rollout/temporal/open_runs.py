"""The running workflows of each version, counted by visibility."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.service import RPCError

from rollout.core.observation import Status
from rollout.temporal.rpc import TIMEOUT, patiently

__all__ = ["count_open_runs", "open_runs_query"]

_WITHOUT_RUNS: tuple[Status, ...] = ("created", "inactive", "drained")


def open_runs_query(deployment: str, *build_ids: str) -> str:
    """The visibility query for the running workflows on one or several versions."""
    versions = ", ".join(f"'{deployment}:{build_id}'" for build_id in build_ids)
    return f"TemporalWorkerDeploymentVersion IN ({versions}) AND ExecutionStatus='Running'"


async def count_open_runs(
    client: Client, deployment: str, statuses: Mapping[str, Status], problems: list[str]
) -> dict[str, int | None]:
    """Running workflows of the builds in ``statuses``; None where they could not be counted.

    Those that should have none are counted together: a server answers 10 such
    questions a second by default (dynamic config `frontend.namespaceRPS.visibility`).
    What failed is added to ``problems``.
    """

    async def count(build_ids: Sequence[str]) -> int | None:
        try:
            return await _count(client, open_runs_query(deployment, *build_ids))
        except RPCError as error:
            named = ", ".join(build_ids)
            problems.append(f"the open runs of {named} could not be counted: {error.message}")
            return None

    idle = [build_id for build_id, status in statuses.items() if status in _WITHOUT_RUNS]
    counts: dict[str, int | None] = {}
    if idle and await count(idle) == 0:
        counts = dict.fromkeys(idle, 0)
    rest = [build_id for build_id in statuses if build_id not in counts]
    found = await asyncio.gather(*(count([build_id]) for build_id in rest))
    return {**counts, **dict(zip(rest, found, strict=True))}


async def _count(client: Client, query: str) -> int:
    request = CountWorkflowExecutionsRequest(namespace=client.namespace, query=query)
    reply: Any = await patiently(
        client.workflow_service.count_workflow_executions, request, timeout=TIMEOUT
    )
    return int(reply.count)
