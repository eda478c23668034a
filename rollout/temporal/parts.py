"""What an observation holds beside the routing: read less often than that, and kept in between."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from temporalio.api.deployment.v1 import WorkerDeploymentInfo
from temporalio.client import Client
from temporalio.service import RPCError

from rollout.core.host_notes import Hosts
from rollout.core.liveness import Liveness
from rollout.core.observation import Status
from rollout.core.turns import Turn, in_turn
from rollout.core.zeros import APART, zeros
from rollout.temporal.hosts import beats_in, note_version
from rollout.temporal.new_runs import Unassigned, count_starts, count_unassigned
from rollout.temporal.open_runs import OpenRunCounts, OpenRuns
from rollout.temporal.programs import Programs
from rollout.temporal.rpc import latest, time_of
from rollout.temporal.versions import Described, describe_version, status_of
from rollout.temporal.workers import Workers, heartbeats, workers_of

__all__ = ["Parts", "PartsReader", "statuses_of"]

_DESCRIBED = 1
"""So many versions are described in one look beside the routed ones; the others in turn."""

_TOGETHER = 4
"""So many descriptions are asked for at a time: a version answers one question after another."""

_ROUTED: tuple[Status, ...] = ("current", "ramping")
_SOON = APART
"""After which what failed, is not known yet, or does not live yet, is asked for again."""


@dataclass(frozen=True)
class Parts:
    """What was read at `at`, or, where it says so itself, before that."""

    at: datetime
    """When the first of its questions was asked."""
    cause: Hashable = None
    """What was known when it was read: another cause makes it old."""
    liveness: Liveness = field(default_factory=Liveness)
    listed_at: datetime | None = None
    """When the workers were listed; None where they could not be."""
    open_runs: OpenRuns = field(default_factory=OpenRuns)
    started: Mapping[str, int | None] = field(default_factory=dict)
    unassigned: Unassigned = field(default_factory=Unassigned)
    described: Mapping[str, Described] = field(default_factory=dict)
    zeros: Mapping[str, datetime] = field(default_factory=dict)
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    hosts: Hosts = field(default_factory=Hosts)
    wanted: str | None = None
    """What the hosts were told last, where that could be read."""
    problems: tuple[str, ...] = ()

    def workers(self, programs: Mapping[str, Programs]) -> Workers:
        """Who lived when the workers were last listed, and is not known to be down by now."""
        if self.listed_at is None:
            return Workers()
        return workers_of(self.liveness, programs, self.listed_at)

    def of(self, build_id: str) -> Described:
        """What the version said when it was last described."""
        return self.described.get(build_id, Described(known=False))

    @property
    def lacks_something(self) -> bool:
        """Whether something could not be read, or has not been yet."""
        return bool(self.problems) or not all(known.known for known in self.described.values())

    @property
    def wants_another(self) -> bool:
        """Whether a version had no open run for the first time: one zero proves nothing."""
        return any(self.at < since for since in self.zeros.values())


class PartsReader:
    """Reads the parts of one deployment again when it is time to.

    With ``at_once`` everything is read each time. Otherwise the number of questions does not grow
    with the number of versions.
    """

    def __init__(self, client: Client, deployment: str, *, at_once: bool) -> None:
        self._client = client
        self._deployment = deployment
        self._at_once = at_once
        self._counts = OpenRunCounts(client, deployment, at_once=at_once)
        self._last: Parts | None = None

    def expire(self, build_ids: Collection[str]) -> None:
        """Something was changed, of these versions in particular: all is to be read anew."""
        if self._last is not None:
            described = {
                build_id: replace(known, status=None) if build_id in build_ids else known
                for build_id, known in self._last.described.items()
            }
            self._last = replace(self._last, cause=object(), described=described)

    async def read(
        self,
        info: WorkerDeploymentInfo,
        wanted: str | None,
        programs: Mapping[str, Programs],
        period: float,
    ) -> Parts:
        """The parts as of now, or as they were read at most ``period`` seconds ago."""
        routing = info.routing_config
        statuses = statuses_of(info)
        cause = (wanted, frozenset(statuses.items()), routing.SerializeToString(deterministic=True))
        last = self._last or Parts(datetime.now(timezone.utc), cause=object())
        self._last = last
        if self._is_due(last, cause, period):
            self._last = await self._all(info, statuses, wanted, programs, cause)
        elif self._lacks_workers(last, statuses, wanted, programs):
            self._last = await self._workers(last)
        return self._last

    def _is_due(self, last: Parts, cause: Hashable, period: float) -> bool:
        age = datetime.now(timezone.utc) - last.at
        if self._at_once or last.cause != cause or not timedelta() <= age:
            return True
        if age >= _SOON and (last.wants_another or last.lacks_something):
            return True
        return age.total_seconds() >= period

    def _lacks_workers(
        self,
        last: Parts,
        statuses: Mapping[str, Status],
        wanted: str | None,
        programs: Mapping[str, Programs],
    ) -> bool:
        """Whether one that is to get new runs has no live worker, as far as was seen by now."""
        asked_at = last.listed_at or last.at
        if datetime.now(timezone.utc) - asked_at < _SOON:
            return False
        workers = last.workers(programs)
        needed = [b for b in statuses if b == wanted or statuses[b] in _ROUTED]
        return any(not workers.of(build_id).alive for build_id in needed)

    async def _all(
        self,
        info: WorkerDeploymentInfo,
        statuses: Mapping[str, Status],
        wanted: str | None,
        programs: Mapping[str, Programs],
        cause: Hashable,
    ) -> Parts:
        at, problems = datetime.now(timezone.utc), list[str]()
        last, noted = self._last or Parts(at), note_version(info)
        (liveness, listed_at), open_runs, started, described = await asyncio.gather(
            self._list(last, problems),
            self._counts.look(statuses, problems),
            self._starts(info),
            self._describe(last, statuses, wanted, noted, problems),
        )
        now = datetime.now(timezone.utc)
        read = Parts(
            at,
            cause,
            liveness,
            listed_at,
            open_runs,
            started,
            Unassigned(),
            described,
            zeros(last.zeros, _holding(open_runs), now),
            # A version that has just registered is unknown to the description and known to its
            # runs: only what two looks have missed is forgotten.
            {
                build_id: number
                for build_id, number in open_runs.elsewhere.items()
                if self._at_once or build_id in last.open_runs.elsewhere
            },
        )
        # A note may be on any version, so that all have to be known once.
        if all(each.known for each in described.values()):
            told = read.of(noted or "").metadata.wanted
            read = replace(read, hosts=last.hosts.saw(beats_in(described), now), wanted=told)
        else:
            read = replace(read, hosts=last.hosts, wanted=last.wanted)
        queues = _task_queues(read, programs)
        unassigned = await count_unassigned(self._client, queues, now, problems)
        return replace(read, unassigned=unassigned, problems=tuple(problems))

    async def _workers(self, last: Parts) -> Parts:
        problems: list[str] = []
        liveness, listed_at = await self._list(last, problems)
        problems = [*last.problems, *problems]
        return replace(last, liveness=liveness, listed_at=listed_at, problems=tuple(problems))

    async def _list(self, last: Parts, problems: list[str]) -> tuple[Liveness, datetime | None]:
        now = datetime.now(timezone.utc)
        try:
            found = await heartbeats(self._client, deployment=self._deployment)
        except RPCError as error:
            problems.append(f"the workers could not be listed: {error.message}")
            return last.liveness, None
        return last.liveness.saw(found, now), now

    async def _starts(self, info: WorkerDeploymentInfo) -> Mapping[str, int | None]:
        """Who has got how many new runs since the routing last changed."""
        routing = info.routing_config
        since = latest(
            time_of(routing.current_version_changed_time),
            time_of(routing.ramping_version_changed_time),
            time_of(routing.ramping_version_percentage_changed_time),
        )
        if since is None:
            return {}
        versions = (routing.current_deployment_version, routing.ramping_deployment_version)
        routed = [version.build_id for version in versions if version.build_id]
        return await count_starts(self._client, self._deployment, routed, since)

    async def _describe(
        self,
        last: Parts,
        statuses: Mapping[str, Status],
        wanted: str | None,
        noted: str | None,
        problems: list[str],
    ) -> Mapping[str, Described]:
        """Describe the versions whose turn it is, and keep what was said of the others."""
        chosen = self._in_turn(last, statuses, {wanted, noted})
        together = asyncio.Semaphore(_TOGETHER)

        async def describe(build_id: str) -> Described:
            async with together:
                found = await describe_version(self._client, self._deployment, build_id, problems)
            return replace(found, status=statuses[build_id])

        described = await asyncio.gather(*map(describe, chosen))
        kept = {build_id: last.of(build_id) for build_id in statuses}
        return kept | dict(zip(chosen, described, strict=True))

    def _in_turn(
        self, last: Parts, statuses: Mapping[str, Status], wanted: Collection[str | None]
    ) -> list[str]:
        if self._at_once:
            return list(statuses)

        def turn(build_id: str) -> Turn:
            known, status = last.of(build_id), statuses[build_id]
            each_time = build_id in wanted or status in _ROUTED
            return Turn(each_time, is_news=known.status != status, asked_at=known.at)

        return in_turn({build_id: turn(build_id) for build_id in statuses}, _DESCRIBED)


def statuses_of(info: WorkerDeploymentInfo) -> dict[str, Status]:
    """The status of each version that the server knows."""
    return {
        summary.deployment_version.build_id: status_of(summary)
        for summary in info.version_summaries
    }


def _holding(open_runs: OpenRuns) -> dict[str, int | None]:
    """The open runs that need their version's workers; see `Version.holding`."""
    return {
        build_id: counted.total if counted.pinned is None else counted.pinned
        for build_id, counted in open_runs.versions.items()
        if counted.at is not None
    }


def _task_queues(read: Parts, programs: Mapping[str, Programs]) -> frozenset[str]:
    """The task queues on which new runs of the deployment may wait."""
    polled = [each.queues for each in read.workers(programs).by_build.values()]
    described = [each.queues for each in read.described.values()]
    return frozenset().union(*polled, *described)
