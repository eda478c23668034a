"""Visibility queries, in which a name from outside never ends a text or begins a condition.

The server reads texts as MySQL does: a quote is doubled, a backslash begins an escape.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest
from temporalio.client import Client

from rollout.temporal.rpc import TIMEOUT, patiently

__all__ = [
    "FAILED",
    "RUNNING",
    "count",
    "count_by_status",
    "is_countable",
    "not_on",
    "of_deployment",
    "on",
    "open_runs_query",
    "quoted",
    "timestamp",
]

RUNNING = "ExecutionStatus='Running'"

FAILED = ("Failed", "TimedOut")
"""The statuses of a run that count as failures."""


def quoted(text: str) -> str:
    """``text`` as a text of a query."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def timestamp(moment: datetime) -> str:
    """``moment`` as a time of a query, to the microsecond."""
    return f"'{moment.astimezone(timezone.utc).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}'"


def on(deployment: str, *build_ids: str) -> str:
    """The condition for runs whose last task one of these versions completed."""
    return f"TemporalWorkerDeploymentVersion IN ({_versions(deployment, build_ids)})"


def not_on(deployment: str, build_ids: Iterable[str]) -> str:
    """The condition for runs of the deployment on none of these versions."""
    versions = _versions(deployment, build_ids)
    rest = f" AND TemporalWorkerDeploymentVersion NOT IN ({versions})" if versions else ""
    return of_deployment(deployment) + rest


def of_deployment(deployment: str) -> str:
    """The condition for runs of any version of ``deployment``, known to the server or not."""
    return f"TemporalWorkerDeployment={quoted(deployment)}"


def open_runs_query(deployment: str, *build_ids: str) -> str:
    """The query for the running workflows on one or several versions."""
    return f"{on(deployment, *build_ids)} AND {RUNNING}"


def is_countable(name: str) -> bool:
    """Whether the server's own counts of the runs of this build, or this deployment, are right.

    Server 1.32 finds no run where the name has a double quote, a backslash or a control
    character, says so to its own drainage check as well, and calls such a version drained while
    its runs are open.
    """
    return not any(character in '"\\' or ord(character) < 32 for character in name)


async def count(client: Client, query: str) -> int:
    """How many runs ``query`` finds. Raises `RPCError`."""
    request = CountWorkflowExecutionsRequest(namespace=client.namespace, query=query)
    reply: Any = await patiently(
        client.workflow_service.count_workflow_executions, request, timeout=TIMEOUT
    )
    return int(reply.count)


async def count_by_status(client: Client, query: str) -> Mapping[str, int]:
    """How many of the runs that ``query`` finds are in each status. Raises `RPCError`."""
    request = CountWorkflowExecutionsRequest(
        namespace=client.namespace, query=f"{query} GROUP BY ExecutionStatus"
    )
    reply: Any = await patiently(
        client.workflow_service.count_workflow_executions, request, timeout=TIMEOUT
    )
    return {json.loads(each.group_values[0].data): int(each.count) for each in reply.groups}


def _versions(deployment: str, build_ids: Iterable[str]) -> str:
    return ", ".join(quoted(f"{deployment}:{build_id}") for build_id in build_ids)
