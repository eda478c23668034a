"""Version sets, for servers without worker deployments: read, and taken a place in.

Deprecated, and off unless the dynamic config ``frontend.workerVersioningDataAPIs`` is true.
"""

from __future__ import annotations

from typing import NoReturn

import tenacity
from temporalio.client import (
    BuildIdOp,
    BuildIdOpAddNewCompatible,
    BuildIdOpAddNewDefault,
    Client,
)
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.connect import is_transient
from rollout.base.exit import Failure
from rollout.base.logger import get_logger
from rollout.core.version_sets import Build, Place, VersionSets
from rollout.temporal.rpc import TIMEOUT
from rollout.temporal.visibility import quoted
from rollout.temporal.workers import live_workers

__all__ = ["VersionSetRouting"]

log = get_logger(__name__)

_LONGEST_WAIT = 5.0
"""Seconds between two tries to take a place."""


class VersionSetRouting:
    """The version sets of one task queue; `Observed`, and the server routes by itself."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def take_place(self, build_id: str, strategy: str) -> Place:
        """Give ``build_id`` its place, as ``strategy`` says, and return that.

        Call it before polling: a worker that polls under a build id that the server does not
        know hears nothing for up to a minute. ``compatible`` joins the default set as its newest
        build; any other strategy, and the first build of all, makes a new default set. A build
        that is in a set keeps its place, so that a restart changes nothing.

        Waits for as long as the server is away. Raises `Failure` where it refuses.
        """
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(is_transient),
            wait=tenacity.wait_exponential(multiplier=0.5, max=_LONGEST_WAIT),
            before_sleep=_say_that_it_waits,
        )
        try:
            place: Place = await retrying(self._take_place, build_id, strategy)
        except RPCError as error:
            _refused(error, f"{build_id} cannot be registered for task queue {self._task_queue}")
        return place

    async def _take_place(self, build_id: str, strategy: str) -> Place:
        sets = await self._read()
        if not any(build_id in builds for builds in sets):
            await self._client.update_worker_build_id_compatibility(
                self._task_queue, _operation(sets, build_id, strategy), rpc_timeout=TIMEOUT
            )
            log.info("took its place", task_queue=self._task_queue, strategy=strategy)
            return "default"
        place = _place(sets, build_id)
        default = sets[-1][-1]
        log.info("keeping its place", task_queue=self._task_queue, place=place, default=default)
        return place

    async def observe(self) -> VersionSets:
        """Read the version sets once. Raises `Failure` where the server refuses."""
        try:
            sets = await self._read()
        except RPCError as error:
            _refused(error, f"the version sets of task queue {self._task_queue} cannot be read")
        problems: list[str] = []
        workers = await self._live_workers(problems)

        async def build(builds: list[str], index: int) -> Build:
            build_id = builds[index]
            return Build(
                build_id,
                _place(sets, build_id),
                await self._count(_last_ran_on(builds, index), problems),
                None if workers is None else workers.get(build_id, 0),
            )

        # Oldest first: a run that moves to a newer build between two counts is then in both, and
        # never in neither.
        known: list[tuple[Build, ...]] = []
        for builds in sets:
            known.append(tuple([await build(builds, index) for index in range(len(builds))]))  # noqa: PERF401
        return VersionSets(
            self._client.namespace,
            self._task_queue,
            tuple(known),
            await self._count("BuildIds IS NULL", problems),
            tuple(problems),
        )

    async def _read(self) -> list[list[str]]:
        reply = await self._client.get_worker_build_id_compatibility(
            self._task_queue, rpc_timeout=TIMEOUT
        )
        return [list(version_set.build_ids) for version_set in reply.version_sets]

    async def _count(self, condition: str, problems: list[str]) -> int | None:
        query = (
            f"TaskQueue={quoted(self._task_queue)} AND ExecutionStatus='Running' AND {condition}"
        )
        try:
            return (await self._client.count_workflows(query, rpc_timeout=TIMEOUT)).count
        except RPCError as error:
            problems.append(f"open runs could not be counted ({condition}): {error.message}")
            return None

    async def _live_workers(self, problems: list[str]) -> dict[str, int] | None:
        """Worker processes with a fresh heartbeat, by build id; None where it cannot be read."""
        try:
            alive = await live_workers(self._client, self._task_queue)
        except RPCError as error:
            problems.append(f"the workers could not be listed: {error.message}")
            return None
        return {build_id: sum(polled.values()) for build_id, polled in alive.items()}


def _say_that_it_waits(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = round(state.upcoming_sleep, 1)
    log.warning("waiting for Temporal", error=str(error), retry_in_seconds=pause)


def _operation(sets: list[list[str]], build_id: str, strategy: str) -> BuildIdOp:
    if strategy == "compatible" and sets:
        return BuildIdOpAddNewCompatible(build_id, existing_compatible_build_id=sets[-1][-1])
    return BuildIdOpAddNewDefault(build_id)


def _place(sets: list[list[str]], build_id: str) -> Place:
    if sets[-1][-1] == build_id:
        return "default"
    return "set-default" if any(ids[-1] == build_id for ids in sets) else "superseded"


def _refused(error: RPCError, what: str) -> NoReturn:
    """Raise the `Failure` that says what the server would need."""
    switched_off = error.status == RPCStatusCode.PERMISSION_DENIED and "disabled" in error.message
    if switched_off or error.status == RPCStatusCode.UNIMPLEMENTED:
        raise Failure(
            "this Temporal server has version sets switched off: set its dynamic config "
            "frontend.workerVersioningDataAPIs=true, or use --versioning deployment"
        ) from error
    hint = ""
    if "permitted in namespace dynamic config" in error.message:
        hint = (
            "; the server forgets a set some time after its last run has closed, and its dynamic "
            "config limit.versionCompatibleSetLimitPerQueue and limit.versionBuildIdLimitPerQueue "
            "allow more"
        )
    raise Failure(f"{what}: {error.message}{hint}") from error


def _last_ran_on(builds: list[str], index: int) -> str:
    """The condition for runs whose last task was completed by ``builds[index]``.

    A run lists every build that has run it. It moves along its set in one direction, so the
    newest one listed is where it is.
    """
    newer = "".join(f" AND BuildIds!='versioned:{build}'" for build in builds[index + 1 :])
    return f"BuildIds='versioned:{builds[index]}'{newer}"
