"""Reads Temporal and supervisord into one `Observation`; writes nothing.

What cannot be read is said in `Observation.problems` and left ``None``: it is
never taken for zero.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone

from temporalio.api.deployment.v1 import RoutingConfig, WorkerDeploymentInfo
from temporalio.api.enums.v1 import RoutingConfigUpdateState
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentResponse
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rollout.core.observation import Observation, Ramp, Version
from rollout.core.pace import MOVING, Pace, pace
from rollout.supervision.rpc import Supervisor
from rollout.temporal.closed_runs import ClosedRuns
from rollout.temporal.parts import Parts, PartsReader
from rollout.temporal.programs import NO_PROGRAMS, Programs, programs_by_build
from rollout.temporal.rpc import THROTTLED, latest, time_of
from rollout.temporal.versions import Summary, describe_deployment, status_of
from rollout.temporal.workers import Workers

__all__ = ["Observer"]

SETTLING_CAP = timedelta(seconds=15)
"""A routing change takes 1.0-1.3 s to reach every task queue; now and then the server reports
IN_PROGRESS for ever although it has, so a change older than this is taken as settled."""


_ROUND = 20.0
"""Seconds that one whole look may take: each question has 5, and few wait for another's answer."""


class Observer:
    """Observes one worker deployment, again and again.

    What one look cannot tell it remembers from the last ones: whose heartbeat goes on, since when
    no run is open, and, unless it looks ``at_once`` at everything, the parts that need not be read
    each time (`Pace.parts`).
    """

    def __init__(
        self,
        client: Client,
        deployment: str,
        supervisor: Supervisor | None = None,
        *,
        at_once: bool = True,
        here: str | None = None,
    ) -> None:
        """``here``: what the host is called whose ``supervisor`` it is; by default its name."""
        self._here = (socket.gethostname() if here is None else here) if supervisor else ""
        self._client = client
        self.deployment = deployment
        self._supervisor = supervisor
        self._parts = PartsReader(client, deployment, at_once=at_once)
        self.closed_runs = ClosedRuns(client, deployment, at_once=at_once)
        """What analysis compares where it goes by the server's counts."""
        self._asked: tuple[str | None, datetime] = (None, datetime.now(timezone.utc))
        self.pace: Pace = MOVING
        """How soon another look is worth its questions, after the last one."""

    async def observe(self, wanted: str | None = None) -> Observation:
        """Look once. The version ``wanted`` is described with the routed ones.

        Raises `RPCError` where the deployment itself cannot be read, or the look as a whole takes
        longer than 20 s.
        """
        try:
            return await asyncio.wait_for(self._observe(wanted), _ROUND)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise RPCError(
                f"no whole look at {self.deployment} within {_ROUND:g} s",
                RPCStatusCode.DEADLINE_EXCEEDED,
                b"",
            ) from error

    def expire(self, *build_ids: str) -> None:
        """Something was changed: the next look reads every part anew, of these versions too."""
        self._parts.expire(build_ids)

    async def is_as_seen(self, seen: Observation) -> bool:
        """Whether the routing is still what it was in ``seen``. Raises `RPCError`."""
        return (await self._describe()).conflict_token == seen.conflict_token

    async def _observe(self, wanted: str | None) -> Observation:
        began, throttled = datetime.now(timezone.utc), THROTTLED.calls
        if wanted != self._asked[0]:
            self._asked = (wanted, began)
        problems: list[str] = []
        programs = await programs_by_build(
            self._supervisor, self.deployment, problems, unread=problems
        )
        deployment = await self._describe()
        info = deployment.worker_deployment_info
        routing = info.routing_config
        parts = (
            await self._parts.read(info, wanted, programs, self.pace.parts)
            if info.version_summaries
            else Parts(began)
        )
        workers = parts.workers(programs)
        versions = [
            _version(summary, parts, programs, workers) for summary in info.version_summaries
        ]
        seen = Observation(
            deployment=self.deployment,
            namespace=self._client.namespace,
            at=began,
            parts_at=min(parts.at, began),
            exists=deployment.HasField("worker_deployment_info"),
            current=routing.current_deployment_version.build_id or None,
            ramping=_ramp(routing),
            current_changed_at=time_of(routing.current_version_changed_time),
            ramping_changed_at=_ramping_changed_at(routing),
            routing_settled=_settled(info, began),
            conflict_token=deployment.conflict_token,
            manager=info.manager_identity,
            modifier=info.last_modifier_identity,
            versions=tuple(sorted(_with_strangers(versions, programs), key=_by_age)),
            unassigned=parts.unassigned.total,
            stuck=parts.unassigned.stuck,
            elsewhere=parts.elsewhere,
            hosts=parts.hosts.known(began) if info.version_summaries else (),
            here=self._here,
            wanted=parts.wanted,
            skewed=workers.skewed,
            throttled=THROTTLED.calls > throttled,
            problems=(*problems, *parts.problems),
        )
        self.pace = pace(seen, wanted, self._asked[1], datetime.now(timezone.utc))
        return seen

    async def _describe(self) -> DescribeWorkerDeploymentResponse:
        return await describe_deployment(self._client, self.deployment)


def _with_strangers(versions: Sequence[Version], programs: Mapping[str, Programs]) -> list[Version]:
    """``versions``, and those that only a program here knows."""
    known = {version.build_id for version in versions}
    return [
        *versions,
        *(
            Version(build_id, "unregistered", process=mine.state)
            for build_id, mine in programs.items()
            if build_id not in known and not mine.is_unread
        ),
    ]


def _version(
    summary: Summary, parts: Parts, programs: Mapping[str, Programs], workers: Workers
) -> Version:
    """One version, of what was read about it in several places."""
    build_id = summary.deployment_version.build_id
    described, counted, polled = (
        parts.of(build_id),
        parts.open_runs.of(build_id),
        workers.of(build_id),
    )
    mine = programs.get(build_id, NO_PROGRAMS)
    status = status_of(summary)
    metadata = described.metadata
    drainage = summary.drainage_info
    return Version(
        build_id,
        status,
        strategy=metadata.strategy,
        version_set=metadata.version_set,
        fingerprint=metadata.fingerprint,
        behavior=metadata.behavior,
        behavior_exceptions=metadata.behavior_exceptions or None,
        workflows=metadata.workflow_names,
        blocked=metadata.of_this_code(metadata.blocked),
        unblocked=metadata.of_this_code(metadata.unblocked) is not None,
        verified=metadata.outcomes,
        gate_round=metadata.gate_round or 0,
        described=described.known,
        described_at=described.at,
        created_at=time_of(summary.create_time),
        first_activated_at=time_of(summary.first_activation_time),
        last_current_at=time_of(summary.last_current_time),
        deactivated_at=None
        if status in ("current", "ramping")
        else time_of(summary.last_deactivation_time),
        drained_since=time_of(drainage.last_changed_time) if status == "drained" else None,
        drainage_checked_at=time_of(drainage.last_checked_time),
        open_runs=counted.total,
        open_pinned=counted.pinned,
        counted_at=counted.at,
        zero_since=parts.zeros.get(build_id),
        started=parts.started.get(build_id),
        backlog=described.backlog,
        waiting_age=described.waiting_age,
        workers=polled.alive,
        returning=polled.returning,
        worker_hosts=polled.hosts,
        worker_processes=polled.processes,
        queues=None if polled.alive is None else polled.queues,
        told=mine.told,
        process=mine.state,
        processes=mine.processes,
        partly_stopped=mine.partly_stopped,
        started_at=mine.started_at,
    )


def _ramp(routing: RoutingConfig) -> Ramp | None:
    build_id = routing.ramping_deployment_version.build_id
    return Ramp(build_id, round(routing.ramping_version_percentage, 3)) if build_id else None


def _ramping_changed_at(routing: RoutingConfig) -> datetime | None:
    return latest(
        time_of(routing.ramping_version_changed_time),
        time_of(routing.ramping_version_percentage_changed_time),
    )


def _settled(info: WorkerDeploymentInfo, now: datetime) -> bool:
    in_progress = RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_IN_PROGRESS
    if info.routing_config_update_state != in_progress:
        return True
    routing = info.routing_config
    changed = latest(time_of(routing.current_version_changed_time), _ramping_changed_at(routing))
    return changed is not None and now - changed > SETTLING_CAP


def _by_age(version: Version) -> tuple[datetime, datetime, str]:
    """In the order of their first traffic; those without any after them, as they registered."""
    never = datetime.max.replace(tzinfo=timezone.utc)
    return version.first_activated_at or never, version.created_at or never, version.build_id
