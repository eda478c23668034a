"""What is true, from those who know: the server's counts and routing, the kernel's processes.

Nothing of `rollout` that is put to the test is used here but the connection and the errors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psutil
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentVersionRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.converter import PayloadConverter
from temporalio.service import RPCError, RPCStatusCode

__all__ = ["BUILDS", "STUCK", "Counted", "Kernel", "Routing", "ServerLook", "Truth"]

BUILDS = ("v1", "v2")
STUCK = 10
"""Seconds after which a run that no worker has taken up waits for something that does not come."""

_DEPLOYMENT = "greetings"
_TIMEOUT = timedelta(seconds=10)
_WORTH_ANOTHER_TRY = (
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,  # so the SDK calls its own timeout
    RPCStatusCode.ABORTED,
    RPCStatusCode.NOT_FOUND,  # of a task queue of a version that registers just now
)


@dataclass(frozen=True)
class Counted:
    """Runs by visibility, at one moment."""

    running: int = 0
    ended: int = 0

    @property
    def total(self) -> int:
        """Those that have ever been."""
        return self.running + self.ended


@dataclass(frozen=True)
class Routing:
    """Who gets new runs, and since when, in seconds since 1970; 0: never."""

    current: str = ""
    ramping: str = ""
    percentage: float = 0.0
    current_changed: float = 0.0
    ramping_changed: float = 0.0

    def share(self, build_id: str) -> float:
        """The share of new runs, 0 to 1, that is meant for the build."""
        if build_id == self.ramping:
            return self.percentage / 100
        return 1 - self.percentage / 100 if build_id == self.current else 0.0


@dataclass(frozen=True)
class ServerLook:
    """What the server said between ``began`` and ``ended``, in seconds since 1970."""

    began: float
    ended: float
    routing: Routing = Routing()
    statuses: Mapping[str, str] = field(default_factory=dict)
    runs: Mapping[str, Counted] = field(default_factory=dict)
    """By build id."""
    nowhere: Counted = Counted()
    """Those without a version: no worker has completed their first task."""
    started: int = 0
    """All runs on the task queue; counted first in the look."""
    untaken: Mapping[str, float] = field(default_factory=dict)
    """Running workflows without a version by run id, and when each began."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Tasks in each version's queues, which the server itself knows approximately."""

    def of(self, build_id: str) -> Counted:
        """The runs of a build; none where it was not known yet."""
        return self.runs.get(build_id, Counted())


class Truth:
    """Asks the server, each question again until it answers."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.looks: list[ServerLook] = []

    async def keep_looking(self, every: float = 1.0) -> None:
        """Look every so many seconds, or as soon as the last look is over, until cancelled."""
        while True:
            began = time.monotonic()
            self.looks.append(await self.look())
            await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))

    async def look(self) -> ServerLook:
        """Ask everything once."""
        began = time.time()
        # What only grows is counted before what it bounds.
        started = (await self.count(f"TaskQueue='{_DEPLOYMENT}'")).total
        routing, statuses = await self._routing()
        builds = [build_id for build_id in BUILDS if build_id in statuses]
        runs = await asyncio.gather(*(self.runs(build_id) for build_id in builds))
        waiting = await asyncio.gather(*(self._waiting(build_id) for build_id in builds))
        without = f"TaskQueue='{_DEPLOYMENT}' AND TemporalWorkerDeploymentVersion IS NULL"
        nowhere = await self.count(without)
        untaken = await self._began(f"{without} AND ExecutionStatus='Running'", nowhere.running)
        return ServerLook(
            began=began,
            ended=time.time(),
            routing=routing,
            statuses=statuses,
            runs=dict(zip(builds, runs, strict=True)),
            nowhere=nowhere,
            started=started,
            untaken=untaken,
            waiting=dict(zip(builds, waiting, strict=True)),
        )

    async def runs(self, build_id: str, condition: str = "") -> Counted:
        """The runs of a build."""
        version = f"TemporalWorkerDeploymentVersion='{_DEPLOYMENT}:{build_id}'"
        return await self.count(version + condition)

    async def count(self, query: str) -> Counted:
        """The runs that ``query`` finds, those that run and the rest, in one count."""
        reply = await self._ask(
            self._client.workflow_service.count_workflow_executions,
            CountWorkflowExecutionsRequest(
                namespace=self._client.namespace, query=f"{query} GROUP BY ExecutionStatus"
            ),
        )
        by_status: dict[str, int] = {}
        for group in reply.groups:
            (name,) = PayloadConverter.default.from_payloads(group.group_values)
            by_status[name] = group.count
        running = by_status.pop("Running", 0)
        return Counted(running, sum(by_status.values()))

    async def _began(self, query: str, expected: int) -> dict[str, float]:
        """When each of the runs began, by run id; asked only where some are expected."""
        if not expected:
            return {}
        reply = await self._ask(
            self._client.workflow_service.list_workflow_executions,
            ListWorkflowExecutionsRequest(
                namespace=self._client.namespace, page_size=1000, query=query
            ),
        )
        return {each.execution.run_id: _seconds(each.start_time) for each in reply.executions}

    async def _routing(self) -> tuple[Routing, dict[str, str]]:
        try:
            reply = await self._ask(
                self._client.workflow_service.describe_worker_deployment,
                DescribeWorkerDeploymentRequest(
                    namespace=self._client.namespace, deployment_name=_DEPLOYMENT
                ),
            )
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return Routing(), {}
            raise
        info = reply.worker_deployment_info
        config = info.routing_config
        ramping_changed = max(
            _seconds(config.ramping_version_changed_time),
            _seconds(config.ramping_version_percentage_changed_time),
        )
        routing = Routing(
            config.current_deployment_version.build_id,
            config.ramping_deployment_version.build_id,
            round(config.ramping_version_percentage, 3),
            _seconds(config.current_version_changed_time),
            ramping_changed,
        )
        prefix = "WORKER_DEPLOYMENT_VERSION_STATUS_"
        statuses = {
            each.deployment_version.build_id: WorkerDeploymentVersionStatus.Name(each.status)
            .removeprefix(prefix)
            .lower()
            for each in info.version_summaries
        }
        return routing, statuses

    async def _waiting(self, build_id: str) -> int:
        version = WorkerDeploymentVersion(_DEPLOYMENT, build_id)
        reply = await self._ask(
            self._client.workflow_service.describe_worker_deployment_version,
            DescribeWorkerDeploymentVersionRequest(
                namespace=self._client.namespace,
                version=version.to_canonical_string(),
                report_task_queue_stats=True,
            ),
        )
        return sum(queue.stats.approximate_backlog_count for queue in reply.version_task_queues)

    async def _ask(self, call: Any, request: Any) -> Any:
        """The answer, however often the server says that it is asked too much."""
        deadline = time.monotonic() + 120
        while True:
            try:
                return await call(request, timeout=_TIMEOUT)
            except RPCError as error:
                if error.status not in _WORTH_ANOTHER_TRY or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.3)


def _seconds(moment: Any) -> float:
    return float(moment.seconds + moment.nanos / 1e9)


class Kernel:
    """The processes that run a program, by the ids that the kernel gave them, and when."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[int, float]] = {}
        """By program: each process id, and when it began, in seconds since 1970."""

    def look(self, supervisord: int, programs: Mapping[str, str]) -> None:
        """Note supervisord's children; ``programs`` are words that tell their command lines."""
        for child in psutil.Process(supervisord).children():
            try:
                line, began = " ".join(child.cmdline()), child.create_time()
            except psutil.Error:
                continue
            for name, words in programs.items():
                if words in line:
                    self.seen.setdefault(name, {})[child.pid] = began
