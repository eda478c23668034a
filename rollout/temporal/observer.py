"""Reads Temporal and supervisord into one `Observation`; writes nothing.

What cannot be read is said in `Observation.problems` and left ``None``: it is
never taken for zero.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import tenacity
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.deployment.v1 import WorkerDeploymentInfo, WorkerDeploymentVersion
from temporalio.api.enums.v1 import (
    RoutingConfigUpdateState,
    VersionDrainageStatus,
    WorkerDeploymentVersionStatus,
    WorkerStatus,
)
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    DescribeWorkerDeploymentVersionRequest,
    DescribeWorkerDeploymentVersionResponse,
    ListWorkersRequest,
)
from temporalio.client import Client
from temporalio.converter import PayloadConverter
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.exit import Failure
from rollout.core.observation import STARTABLE, Observation, Ramp, Status, Version
from rollout.supervision.programs import workers
from rollout.supervision.rpc import Process, Supervisor

__all__ = [
    "VERIFIED",
    "Observer",
    "note",
    "noted",
    "open_runs_query",
    "patiently",
    "version_metadata",
]

HEARTBEAT_FRESH = timedelta(seconds=10)
"""A worker whose last heartbeat is older is not counted as alive (workers beat every 2 s)."""

SETTLING_CAP = timedelta(seconds=15)
"""A routing change takes 1.0-1.3 s to reach every task queue; now and then the server reports
IN_PROGRESS for ever although it has, so a change older than this is taken as settled."""

VERIFIED = "verified."
"""What a version's metadata keeps the outcome of a replay under, before the other build's id."""

_TIMEOUT = timedelta(seconds=5)

_ENDING = (
    WorkerStatus.WORKER_STATUS_SHUTTING_DOWN,
    WorkerStatus.WORKER_STATUS_SHUTDOWN,
)

_WITHOUT_RUNS: tuple[Status, ...] = ("created", "inactive", "drained")

_STATUSES: Mapping[int, Status] = {
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_CREATED: "created",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_INACTIVE: "inactive",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT: "current",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING: "ramping",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING: "draining",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED: "drained",
}


patiently = tenacity.AsyncRetrying(
    # The server queues few questions to one deployment; with several observers
    # it now and then answers that there are too many.
    retry=tenacity.retry_if_exception(
        lambda error: (
            isinstance(error, RPCError) and error.status == RPCStatusCode.RESOURCE_EXHAUSTED
        )
    ),
    wait=tenacity.wait_random(0.1, 0.5),
    stop=tenacity.stop_after_delay(10),
    reraise=True,
)


def open_runs_query(deployment: str, *build_ids: str) -> str:
    """The visibility query for the running workflows on one or several versions."""
    versions = ", ".join(f"'{deployment}:{build_id}'" for build_id in build_ids)
    return f"TemporalWorkerDeploymentVersion IN ({versions}) AND ExecutionStatus='Running'"


async def version_metadata(client: Client, deployment: str, build_id: str) -> dict[str, str] | None:
    """A version's metadata as texts; None where the server does not know the version."""
    try:
        reply: DescribeWorkerDeploymentVersionResponse = await patiently(
            client.workflow_service.describe_worker_deployment_version,
            DescribeWorkerDeploymentVersionRequest(
                namespace=client.namespace,
                deployment_version=WorkerDeploymentVersion(
                    deployment_name=deployment, build_id=build_id
                ),
            ),
            timeout=_TIMEOUT,
        )
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    return _texts(reply.worker_deployment_version_info.metadata.entries)


class Observer:
    """Observes one worker deployment."""

    def __init__(
        self, client: Client, deployment: str, supervisor: Supervisor | None = None
    ) -> None:
        self._client = client
        self._deployment = deployment
        self._supervisor = supervisor

    async def observe(self) -> Observation:
        """Read everything once. Raises `RPCError` where the deployment itself cannot be read."""
        problems: list[str] = []
        processes = await self._processes(problems)
        info, token = await self._describe()
        if info is None:
            return Observation(
                deployment=self._deployment,
                namespace=self._client.namespace,
                at=datetime.now(timezone.utc),
                exists=False,
                versions=tuple(
                    Version(build_id, "unregistered", process=programs.state)
                    for build_id, programs in sorted(processes.items())
                ),
                problems=tuple(problems),
            )
        workers = await self._live_workers(problems)
        open_runs = await self._open_runs(info.version_summaries, problems)
        versions = await asyncio.gather(
            *(
                self._version(summary, workers, processes, open_runs, problems)
                for summary in info.version_summaries
            )
        )
        known = {version.build_id for version in versions}
        strangers = [
            Version(build_id, "unregistered", process=programs.state)
            for build_id, programs in processes.items()
            if build_id not in known
        ]
        routing = info.routing_config
        ramping_id = routing.ramping_deployment_version.build_id
        return Observation(
            deployment=self._deployment,
            namespace=self._client.namespace,
            at=datetime.now(timezone.utc),
            current=routing.current_deployment_version.build_id or None,
            ramping=Ramp(ramping_id, round(routing.ramping_version_percentage, 3))
            if ramping_id
            else None,
            current_changed_at=_time(routing.current_version_changed_time),
            ramping_changed_at=_latest(
                _time(routing.ramping_version_changed_time),
                _time(routing.ramping_version_percentage_changed_time),
            ),
            routing_settled=_settled(info),
            conflict_token=token,
            manager=info.manager_identity,
            versions=tuple(sorted([*versions, *strangers], key=_by_age)),
            problems=tuple(problems),
        )

    async def _describe(self) -> tuple[WorkerDeploymentInfo | None, bytes]:
        try:
            reply: DescribeWorkerDeploymentResponse = await patiently(
                self._client.workflow_service.describe_worker_deployment,
                DescribeWorkerDeploymentRequest(
                    namespace=self._client.namespace, deployment_name=self._deployment
                ),
                timeout=_TIMEOUT,
            )
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
                return None, b""
            raise
        return reply.worker_deployment_info, reply.conflict_token

    async def _version(
        self,
        summary: WorkerDeploymentInfo.WorkerDeploymentVersionSummary,
        workers: Mapping[str, Counter[str]] | None,
        processes: Mapping[str, _Programs],
        open_runs: Mapping[str, int | None],
        problems: list[str],
    ) -> Version:
        build_id = summary.deployment_version.build_id
        known, backlog = await self._details(build_id, problems)
        metadata = known or {}
        status = _status(summary)
        polled = None if workers is None else workers.get(build_id, Counter())
        programs = processes.get(build_id, _Programs())
        gate_round = metadata.get("gate_round", "")
        return Version(
            build_id,
            status,
            strategy=metadata.get("strategy"),
            version_set=metadata.get("set"),
            fingerprint=metadata.get("fingerprint"),
            created_at=_time(summary.create_time),
            first_activated_at=_time(summary.first_activation_time),
            drained_since=_time(summary.drainage_info.last_changed_time)
            if status == "drained"
            else None,
            drainage_checked_at=_time(summary.drainage_info.last_checked_time),
            open_runs=open_runs[build_id],
            backlog=backlog,
            workers=None if polled is None else sum(polled.values()),
            queues=None if polled is None else frozenset(polled),
            process=programs.state,
            partly_stopped=programs.partly_stopped,
            started_at=programs.started_at,
            behavior=metadata.get("behavior"),
            blocked=noted(metadata, "blocked"),
            unblocked=noted(metadata, "unblocked") is not None,
            verified=_verified(metadata),
            described=known is not None,
            gate_round=int(gate_round) if gate_round.isdecimal() else 0,
            last_current_at=_time(summary.last_current_time),
            deactivated_at=_time(summary.last_deactivation_time)
            if status not in ("current", "ramping")
            else None,
        )

    async def _details(
        self, build_id: str, problems: list[str]
    ) -> tuple[dict[str, str] | None, int | None]:
        """A version's metadata, and the tasks that wait in its queues; None: not known."""
        request = DescribeWorkerDeploymentVersionRequest(
            namespace=self._client.namespace,
            deployment_version=WorkerDeploymentVersion(
                deployment_name=self._deployment, build_id=build_id
            ),
            report_task_queue_stats=True,
        )
        describe = self._client.workflow_service.describe_worker_deployment_version
        backlog: int | None = None
        reply: DescribeWorkerDeploymentVersionResponse
        try:
            try:
                reply = await patiently(describe, request, timeout=_TIMEOUT)
                backlog = sum(
                    queue.stats.approximate_backlog_count for queue in reply.version_task_queues
                )
            except RPCError:
                # In a version's first seconds its queues are not all known, and
                # asking for their statistics is an error.
                request.report_task_queue_stats = False
                reply = await patiently(describe, request, timeout=_TIMEOUT)
        except RPCError as error:
            problems.append(f"{build_id} could not be described: {error.message}")
            return None, None
        return _texts(reply.worker_deployment_version_info.metadata.entries), backlog

    async def _open_runs(
        self,
        summaries: Iterable[WorkerDeploymentInfo.WorkerDeploymentVersionSummary],
        problems: list[str],
    ) -> dict[str, int | None]:
        """Running workflows by build id; None where they could not be counted.

        Those that should have none are counted together: a server answers 10 such
        questions a second by default (dynamic config `frontend.namespaceRPS.visibility`).
        """
        statuses = {each.deployment_version.build_id: _status(each) for each in summaries}
        idle = [each for each, status in statuses.items() if status in _WITHOUT_RUNS]
        counts: dict[str, int | None] = {}
        if idle and await self._count(idle, problems) == 0:
            counts = dict.fromkeys(idle, 0)
        rest = [each for each in statuses if each not in counts]
        found = await asyncio.gather(*(self._count([each], problems) for each in rest))
        return {**counts, **dict(zip(rest, found, strict=True))}

    async def _count(self, build_ids: Sequence[str], problems: list[str]) -> int | None:
        request = CountWorkflowExecutionsRequest(
            namespace=self._client.namespace, query=open_runs_query(self._deployment, *build_ids)
        )
        count = self._client.workflow_service.count_workflow_executions
        try:
            reply: Any = await patiently(count, request, timeout=_TIMEOUT)
        except RPCError as error:
            named = ", ".join(build_ids)
            problems.append(f"the open runs of {named} could not be counted: {error.message}")
            return None
        return int(reply.count)

    async def _live_workers(self, problems: list[str]) -> dict[str, Counter[str]] | None:
        """Workers with a fresh heartbeat, by build id and task queue."""
        alive: dict[str, Counter[str]] = {}
        page = b""
        try:
            while True:
                reply = await self._client.workflow_service.list_workers(
                    ListWorkersRequest(
                        namespace=self._client.namespace,
                        query=f"DeploymentName='{self._deployment}'",
                        page_size=200,
                        next_page_token=page,
                    ),
                    timeout=_TIMEOUT,
                )
                now = datetime.now(timezone.utc)
                for worker in reply.workers_info:
                    beat = worker.worker_heartbeat
                    seen = _time(beat.heartbeat_time)
                    ending = beat.status in _ENDING
                    if seen is not None and now - seen < HEARTBEAT_FRESH and not ending:
                        polled = alive.setdefault(beat.deployment_version.build_id, Counter())
                        polled[beat.task_queue] += 1
                page = reply.next_page_token
                if not page:
                    return alive
        except RPCError as error:
            problems.append(f"the workers could not be listed: {error.message}")
            return None

    async def _processes(self, problems: list[str]) -> dict[str, _Programs]:
        """What supervisord says of each build's programs."""
        if self._supervisor is None:
            return {}
        try:
            programs = workers(await self._supervisor.config())
            processes = await self._supervisor.processes()
        except Failure as failure:
            problems.append(str(failure))
            return {}
        found = {process.namespec: process for process in processes}
        by_build: dict[str, list[Process]] = {}
        for program in programs:
            process = found.get(program.namespec)
            versioned = program.versioning == "deployment"
            if program.deployment == self._deployment and versioned and process:
                by_build.setdefault(program.build_id or "", []).append(process)
        return {build_id: _programs(mine) for build_id, mine in by_build.items()}


@dataclass(frozen=True)
class _Programs:
    """One build's programs in supervisord, taken together; see `Version` for the fields."""

    state: str | None = None
    partly_stopped: bool = False
    started_at: datetime | None = None


def _programs(processes: Sequence[Process]) -> _Programs:
    states = [process.state for process in processes]
    return _Programs(
        "RUNNING" if "RUNNING" in states else states[-1],
        any(state in STARTABLE for state in states) and not all(s in STARTABLE for s in states),
        _latest(*(process.started_at for process in processes)),
    )


def _verified(metadata: Mapping[str, str]) -> dict[str, str]:
    """What was noted of each replay, by the build whose runs were replayed."""
    found: dict[str, str] = {}
    for key in metadata:
        outcome = noted(metadata, key) if key.startswith(VERIFIED) else None
        if outcome:
            found[key.removeprefix(VERIFIED)] = outcome
    return found


def _status(summary: WorkerDeploymentInfo.WorkerDeploymentVersionSummary) -> Status:
    """The server's status, where its drainage does not contradict it.

    DRAINED with a drainage that is not DRAINED was the Kubernetes controller's
    way to strand pinned runs: it reads `unknown` here.
    """
    status = _STATUSES.get(summary.status, "unknown")
    drained = summary.drainage_info.status == VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINED
    if status == "drained" and not drained:
        return "unknown"
    return status


def _settled(info: WorkerDeploymentInfo) -> bool:
    in_progress = RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_IN_PROGRESS
    if info.routing_config_update_state != in_progress:
        return True
    routing = info.routing_config
    changed = _latest(
        _time(routing.current_version_changed_time),
        _time(routing.ramping_version_changed_time),
        _time(routing.ramping_version_percentage_changed_time),
    )
    return changed is not None and datetime.now(timezone.utc) - changed > SETTLING_CAP


def note(fingerprint: str | None, text: str) -> str:
    """``text`` as it is kept in a version's metadata: it holds for this code alone."""
    return f"{fingerprint or '-'} {text}"


def noted(metadata: Mapping[str, str], key: str) -> str | None:
    """What `note` has kept under ``key``; None where there is none, or the code has changed."""
    fingerprint, _, text = metadata.get(key, "").partition(" ")
    return text if text and fingerprint == metadata.get("fingerprint", "-") else None


def _texts(entries: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: str(PayloadConverter.default.from_payload(payload)) for key, payload in entries.items()
    }


def _time(stamp: Timestamp) -> datetime | None:
    """A protobuf time; None where it was never set."""
    if not stamp.seconds:
        return None
    return stamp.ToDatetime(tzinfo=timezone.utc)


def _latest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time is not None), default=None)


def _by_age(version: Version) -> tuple[datetime, datetime, str]:
    """In the order of their first traffic; those without any after them, as they registered."""
    never = datetime.max.replace(tzinfo=timezone.utc)
    return version.first_activated_at or never, version.created_at or never, version.build_id
