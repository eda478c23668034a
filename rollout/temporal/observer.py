"""Reads Temporal and supervisord into one `Observation`; writes nothing.

What cannot be read is said in `Observation.problems` and left ``None``: it is
never taken for zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from temporalio.api.deployment.v1 import RoutingConfig, WorkerDeploymentInfo
from temporalio.api.enums.v1 import RoutingConfigUpdateState
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rollout.core.liveness import Liveness
from rollout.core.observation import Observation, Ramp, Status, Version
from rollout.core.zeros import zeros
from rollout.supervision.rpc import Supervisor
from rollout.temporal.new_runs import Unassigned, count_starts, count_unassigned
from rollout.temporal.open_runs import count_open_runs
from rollout.temporal.programs import NO_PROGRAMS, Programs, programs_by_build
from rollout.temporal.rpc import THROTTLED, TIMEOUT, latest, patiently, time_of
from rollout.temporal.versions import Described, Summary, describe_version, status_of
from rollout.temporal.workers import Polled, Workers, heartbeats, workers_of

__all__ = ["Observer"]

SETTLING_CAP = timedelta(seconds=15)
"""A routing change takes 1.0-1.3 s to reach every task queue; now and then the server reports
IN_PROGRESS for ever although it has, so a change older than this is taken as settled."""


_ROUND = 10.0
"""Seconds that one whole look may take."""

_STARTS_PERIOD = timedelta(seconds=5)
"""How often starts are counted: the counts are for judging shares, not for reacting."""

_DESCRIBED_A_LOOK = 3
"""So many versions are described in one look, however many there are: the routed ones, and in
turn the others. What was not described in a look keeps the time at which it was."""


class Observer:
    """Observes one worker deployment, again and again.

    What one look cannot tell it remembers from the last ones: whose heartbeat goes on, and what
    was said of versions that are not described each time. With ``at_once`` every version is
    described in each look, for one who looks once; otherwise the number of calls a look does not
    grow with the number of versions.
    """

    def __init__(
        self,
        client: Client,
        deployment: str,
        supervisor: Supervisor | None = None,
        *,
        at_once: bool = True,
    ) -> None:
        self._client = client
        self.deployment = deployment
        self._supervisor = supervisor
        self._at_once = at_once
        self._liveness = Liveness()
        self._described: dict[str, Described] = {}
        self._started: tuple[datetime, datetime, dict[str, int | None]] | None = None
        self._elsewhere: Mapping[str, int] = {}
        self._zeros: Mapping[str, datetime] = {}

    async def observe(self, wanted: str | None = None) -> Observation:
        """Look once. The version ``wanted`` is described each time, as the routed ones are.

        Raises `RPCError` where the deployment itself cannot be read, or the look as a whole takes
        longer than 10 s.
        """
        try:
            return await asyncio.wait_for(self._observe(wanted), _ROUND)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise RPCError(
                f"no whole look at {self.deployment} within {_ROUND:g} s",
                RPCStatusCode.DEADLINE_EXCEEDED,
                b"",
            ) from error

    async def _observe(self, wanted: str | None) -> Observation:
        began, throttled = datetime.now(timezone.utc), THROTTLED.calls
        problems: list[str] = []
        programs = await programs_by_build(self._supervisor, self.deployment, problems)
        deployment = await self._describe()
        info = deployment.worker_deployment_info
        routing = info.routing_config
        read = await self._read(info, wanted, programs, problems)
        return Observation(
            deployment=self.deployment,
            namespace=self._client.namespace,
            at=began,
            exists=deployment.HasField("worker_deployment_info"),
            current=routing.current_deployment_version.build_id or None,
            ramping=_ramp(routing),
            current_changed_at=time_of(routing.current_version_changed_time),
            ramping_changed_at=_ramping_changed_at(routing),
            routing_settled=_settled(info, began),
            conflict_token=deployment.conflict_token,
            manager=info.manager_identity,
            versions=tuple(sorted(_with_strangers(read.versions, programs), key=_by_age)),
            unassigned=read.unassigned.total,
            stuck=read.unassigned.stuck,
            elsewhere=read.elsewhere,
            skewed=read.skewed,
            throttled=THROTTLED.calls > throttled,
            problems=tuple(problems),
        )

    async def _describe(self) -> DescribeWorkerDeploymentResponse:
        """What the server says of the deployment; an empty answer where it does not know it."""
        try:
            reply: DescribeWorkerDeploymentResponse = await patiently(
                self._client.workflow_service.describe_worker_deployment,
                DescribeWorkerDeploymentRequest(
                    namespace=self._client.namespace, deployment_name=self.deployment
                ),
                timeout=TIMEOUT,
            )
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
                return DescribeWorkerDeploymentResponse()
            raise
        return reply

    async def _read(
        self,
        info: WorkerDeploymentInfo,
        wanted: str | None,
        programs: Mapping[str, Programs],
        problems: list[str],
    ) -> _Read:
        """Everything but the routing; what could not be read is added to ``problems``."""
        summaries = {each.deployment_version.build_id: each for each in info.version_summaries}
        if not summaries:
            return _Read()
        statuses = {build_id: status_of(each) for build_id, each in summaries.items()}
        workers, open_runs, started, _ = await asyncio.gather(
            self._workers(programs, problems),
            count_open_runs(self._client, self.deployment, statuses, problems),
            self._starts(info.routing_config),
            self._describe_some(statuses, wanted, problems),
        )
        versions = [
            _version(
                summary,
                self._described.get(build_id, Described(known=False)),
                programs.get(build_id, NO_PROGRAMS),
                _Counts(
                    open_runs.total.get(build_id),
                    open_runs.pinned.get(build_id),
                    started.get(build_id),
                ),
                workers.of(build_id),
            )
            for build_id, summary in summaries.items()
        ]
        holding = {version.build_id: version.holding for version in versions}
        self._zeros = zeros(self._zeros, holding, datetime.now(timezone.utc))
        versions = [replace(v, zero_since=self._zeros.get(v.build_id)) for v in versions]
        unassigned = await count_unassigned(
            self._client, self._task_queues(workers), datetime.now(timezone.utc), problems
        )
        # A version that has just registered is unknown to the description and known to its runs:
        # only what two looks have missed is forgotten.
        lost, self._elsewhere = self._elsewhere, open_runs.elsewhere
        elsewhere = {b: n for b, n in open_runs.elsewhere.items() if b in lost or self._at_once}
        return _Read(versions, unassigned, elsewhere, workers.skewed)

    async def _workers(self, programs: Mapping[str, Programs], problems: list[str]) -> Workers:
        now = datetime.now(timezone.utc)
        try:
            found = await heartbeats(self._client, deployment=self.deployment)
        except RPCError as error:
            problems.append(f"the workers could not be listed: {error.message}")
            return Workers()
        self._liveness = self._liveness.saw(found, now)
        return workers_of(self._liveness, programs, now)

    async def _describe_some(
        self, statuses: Mapping[str, Status], wanted: str | None, problems: list[str]
    ) -> None:
        """Describe the versions whose turn it is, and keep what was said of the others."""
        chosen = list(statuses)
        if not self._at_once:
            never = datetime.min.replace(tzinfo=timezone.utc)

            def turn(build_id: str) -> tuple[bool, datetime]:
                known = self._described.get(build_id)
                routed = statuses[build_id] in ("current", "ramping") or build_id == wanted
                return not routed, (known.at if known and known.at else never)

            chosen = sorted(statuses, key=turn)
            # However many are described each time, the others have their turn.
            each_time = sum(not turn(build_id)[0] for build_id in statuses)
            chosen = chosen[: max(_DESCRIBED_A_LOOK, each_time + 1)]
        described = await asyncio.gather(
            *(describe_version(self._client, self.deployment, each, problems) for each in chosen)
        )
        kept = {b: known for b, known in self._described.items() if b in statuses}
        self._described = kept | dict(zip(chosen, described, strict=True))

    async def _starts(self, routing: RoutingConfig) -> dict[str, int | None]:
        """Who has got how many new runs since the routing last changed, counted every 5 s."""
        since = latest(time_of(routing.current_version_changed_time), _ramping_changed_at(routing))
        if since is None:
            return {}
        now = datetime.now(timezone.utc)
        if self._started is not None:
            counted, of, starts = self._started
            if of == since and now - counted < _STARTS_PERIOD:
                return starts
        versions = (routing.current_deployment_version, routing.ramping_deployment_version)
        routed = [version.build_id for version in versions if version.build_id]
        starts = await count_starts(self._client, self.deployment, routed, since)
        self._started = (now, since, starts)
        return starts

    def _task_queues(self, workers: Workers) -> frozenset[str]:
        """The task queues on which new runs of the deployment may wait."""
        polled = [each.queues for each in workers.by_build.values()]
        described = [each.queues for each in self._described.values()]
        return frozenset().union(*polled, *described)


@dataclass(frozen=True)
class _Counts:
    """What visibility says of one version; None where it did not say."""

    open_runs: int | None = None
    pinned: int | None = None
    started: int | None = None


@dataclass(frozen=True)
class _Read:
    """What was read besides the routing."""

    versions: Sequence[Version] = ()
    unassigned: Unassigned = field(default_factory=Unassigned)
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    skewed: tuple[str, ...] = ()


def _with_strangers(versions: Sequence[Version], programs: Mapping[str, Programs]) -> list[Version]:
    """``versions``, and those that only a program here knows."""
    known = {version.build_id for version in versions}
    return [
        *versions,
        *(
            Version(build_id, "unregistered", process=mine.state)
            for build_id, mine in programs.items()
            if build_id not in known
        ),
    ]


def _version(
    summary: Summary,
    described: Described,
    programs: Programs,
    counts: _Counts,
    workers: Polled,
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
        described_at=described.at,
        created_at=time_of(summary.create_time),
        first_activated_at=time_of(summary.first_activation_time),
        last_current_at=time_of(summary.last_current_time),
        deactivated_at=None
        if status in ("current", "ramping")
        else time_of(summary.last_deactivation_time),
        drained_since=time_of(drainage.last_changed_time) if status == "drained" else None,
        drainage_checked_at=time_of(drainage.last_checked_time),
        open_runs=counts.open_runs,
        open_pinned=counts.pinned,
        started=counts.started,
        backlog=described.backlog,
        waiting_age=described.waiting_age,
        workers=workers.alive,
        returning=workers.returning,
        queues=None if workers.alive is None else workers.queues,
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
