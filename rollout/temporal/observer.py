"""Reads Temporal and supervisord into one `Observation`; writes nothing.

What cannot be read is said in `Observation.problems` and left ``None``: it is
never taken for zero.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone

from temporalio.api.deployment.v1 import RoutingConfig, WorkerDeploymentInfo
from temporalio.api.enums.v1 import RoutingConfigUpdateState
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rollout.core.observation import Observation, Ramp, Version
from rollout.supervision.rpc import Supervisor
from rollout.temporal.open_runs import count_open_runs
from rollout.temporal.programs import NO_PROGRAMS, Programs, programs_by_build
from rollout.temporal.rpc import TIMEOUT, latest, patiently, time_of
from rollout.temporal.versions import Described, Summary, describe_version, status_of
from rollout.temporal.workers import live_workers

__all__ = ["Observer"]

SETTLING_CAP = timedelta(seconds=15)
"""A routing change takes 1.0-1.3 s to reach every task queue; now and then the server reports
IN_PROGRESS for ever although it has, so a change older than this is taken as settled."""


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
        programs = await programs_by_build(self._supervisor, self._deployment, problems)
        deployment = await self._describe()
        info = deployment.worker_deployment_info
        versions = await self._versions(info.version_summaries, programs, problems)
        strangers = programs.keys() - {version.build_id for version in versions}
        versions += [
            Version(build_id, "unregistered", process=programs[build_id].state)
            for build_id in strangers
        ]
        routing = info.routing_config
        return Observation(
            deployment=self._deployment,
            namespace=self._client.namespace,
            at=datetime.now(timezone.utc),
            exists=deployment.HasField("worker_deployment_info"),
            current=routing.current_deployment_version.build_id or None,
            ramping=_ramp(routing),
            current_changed_at=time_of(routing.current_version_changed_time),
            ramping_changed_at=_ramping_changed_at(routing),
            routing_settled=_settled(info),
            conflict_token=deployment.conflict_token,
            manager=info.manager_identity,
            versions=tuple(sorted(versions, key=_by_age)),
            problems=tuple(problems),
        )

    async def _describe(self) -> DescribeWorkerDeploymentResponse:
        """What the server says of the deployment; an empty answer where it does not know it."""
        try:
            reply: DescribeWorkerDeploymentResponse = await patiently(
                self._client.workflow_service.describe_worker_deployment,
                DescribeWorkerDeploymentRequest(
                    namespace=self._client.namespace, deployment_name=self._deployment
                ),
                timeout=TIMEOUT,
            )
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
                return DescribeWorkerDeploymentResponse()
            raise
        return reply

    async def _versions(
        self, summaries: Sequence[Summary], programs: Mapping[str, Programs], problems: list[str]
    ) -> list[Version]:
        if not summaries:
            return []
        workers = await self._workers(problems)
        statuses = {each.deployment_version.build_id: status_of(each) for each in summaries}
        open_runs = await count_open_runs(self._client, self._deployment, statuses, problems)
        described = await asyncio.gather(
            *(describe_version(self._client, self._deployment, each, problems) for each in statuses)
        )
        return [
            _version(
                summary,
                details,
                programs.get(build_id, NO_PROGRAMS),
                open_runs=open_runs[build_id],
                polled=None if workers is None else workers.get(build_id, Counter()),
            )
            for build_id, summary, details in zip(statuses, summaries, described, strict=True)
        ]

    async def _workers(self, problems: list[str]) -> dict[str, Counter[str]] | None:
        """The live workers by build id and task queue; None where they could not be listed."""
        try:
            return await live_workers(self._client, f"DeploymentName='{self._deployment}'")
        except RPCError as error:
            problems.append(f"the workers could not be listed: {error.message}")
            return None


def _version(
    summary: Summary,
    described: Described,
    programs: Programs,
    *,
    open_runs: int | None,
    polled: Counter[str] | None,
) -> Version:
    """One version, of what was read about it in several places."""
    status = status_of(summary)
    metadata = described.metadata
    drainage = summary.drainage_info
    return Version(
        summary.deployment_version.build_id,
        status,
        strategy=metadata.strategy,
        version_set=metadata.version_set,
        fingerprint=metadata.fingerprint,
        behavior=metadata.behavior,
        behavior_exceptions=metadata.behavior_exceptions or None,
        blocked=metadata.of_this_code(metadata.blocked),
        unblocked=metadata.of_this_code(metadata.unblocked) is not None,
        verified=metadata.outcomes,
        gate_round=metadata.gate_round or 0,
        described=described.known,
        created_at=time_of(summary.create_time),
        first_activated_at=time_of(summary.first_activation_time),
        last_current_at=time_of(summary.last_current_time),
        deactivated_at=None
        if status in ("current", "ramping")
        else time_of(summary.last_deactivation_time),
        drained_since=time_of(drainage.last_changed_time) if status == "drained" else None,
        drainage_checked_at=time_of(drainage.last_checked_time),
        open_runs=open_runs,
        backlog=described.backlog,
        workers=None if polled is None else sum(polled.values()),
        queues=None if polled is None else frozenset(polled),
        process=programs.state,
        partly_stopped=programs.partly_stopped,
        started_at=programs.started_at,
    )


def _ramp(routing: RoutingConfig) -> Ramp | None:
    build_id = routing.ramping_deployment_version.build_id
    return Ramp(build_id, round(routing.ramping_version_percentage, 3)) if build_id else None


def _ramping_changed_at(routing: RoutingConfig) -> datetime | None:
    return latest(
        time_of(routing.ramping_version_changed_time),
        time_of(routing.ramping_version_percentage_changed_time),
    )


def _settled(info: WorkerDeploymentInfo) -> bool:
    in_progress = RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_IN_PROGRESS
    if info.routing_config_update_state != in_progress:
        return True
    routing = info.routing_config
    changed = latest(time_of(routing.current_version_changed_time), _ramping_changed_at(routing))
    return changed is not None and datetime.now(timezone.utc) - changed > SETTLING_CAP


def _by_age(version: Version) -> tuple[datetime, datetime, str]:
    """In the order of their first traffic; those without any after them, as they registered."""
    never = datetime.max.replace(tzinfo=timezone.utc)
    return version.first_activated_at or never, version.created_at or never, version.build_id
