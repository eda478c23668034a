"""Version sets, the older API of Temporal: for servers without worker deployments.

The server itself keeps the sets, a list a task queue: the last set is the default and
gets new runs; the last build of a set gets every task of the set's runs. Deprecated, and
off unless the dynamic config ``frontend.workerVersioningDataAPIs`` is true.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal, NoReturn

import structlog
from temporalio.client import (
    BuildIdOp,
    BuildIdOpAddNewCompatible,
    BuildIdOpAddNewDefault,
    Client,
)
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.connect import is_transient
from rollout.base.exit import Failure
from rollout.core.verdict import Evidence, Verdict
from rollout.temporal.rpc import TIMEOUT
from rollout.temporal.workers import live_workers

__all__ = ["Build", "Place", "VersionSets", "register", "safe_to_stop", "status"]

log = structlog.get_logger(__name__)

Place = Literal[
    "default",  # gets new runs, and every task of its own set
    "set-default",  # gets every task of its own set
    "superseded",  # gets nothing, once the newer build of its set polls
]

_LONGEST_PERIOD = 5.0


@dataclass(frozen=True)
class Build:
    """One build of a version set."""

    build_id: str
    place: Place
    open_runs: int | None
    """Running workflows whose last task it completed; None where the count failed."""
    workers: int | None
    """Worker processes with a fresh heartbeat; None where the server cannot list workers."""


@dataclass(frozen=True)
class VersionSets:
    """The version sets of one task queue, oldest first: the last one is the default."""

    namespace: str
    task_queue: str
    sets: tuple[tuple[Build, ...], ...] = ()
    """The builds of each set, oldest first: the last one takes the set's tasks."""
    not_begun: int | None = 0
    """Running workflows of which no build has completed a task; None where the count failed."""
    problems: tuple[str, ...] = ()
    """What could not be read, a sentence each."""

    @property
    def builds(self) -> tuple[Build, ...]:
        """Every build, in the order of `sets`."""
        return tuple(build for version_set in self.sets for build in version_set)

    @property
    def default(self) -> str | None:
        """The build that gets new runs; None before the first."""
        return self.sets[-1][-1].build_id if self.sets else None


async def register(client: Client, task_queue: str, build_id: str, strategy: str) -> Place:
    """Give ``build_id`` its place, as ``strategy`` says, and return that; call it before polling.

    A worker that polls under a build id that the server does not know hears nothing for up
    to a minute. ``compatible`` joins the default set as its newest build; any other strategy,
    and the first build of all, makes a new default set. A build that is in a set keeps its
    place, so that a restart changes nothing.

    Waits for as long as the server is away. Raises `Failure` where it refuses.
    """
    period = 0.5
    while True:
        try:
            sets = await _read_sets(client, task_queue)
            if not any(build_id in builds for builds in sets):
                await client.update_worker_build_id_compatibility(
                    task_queue, _operation(sets, build_id, strategy), rpc_timeout=TIMEOUT
                )
                log.info("took its place", task_queue=task_queue, strategy=strategy)
                return "default"
        except RPCError as error:
            if not is_transient(error):
                _refused(error, f"{build_id} cannot be registered for task queue {task_queue}")
            log.warning("waiting for Temporal", error=error.message, retry_in_seconds=period)
            await asyncio.sleep(period)
            period = min(2 * period, _LONGEST_PERIOD)
        else:
            place = _place(sets, build_id)
            log.info("keeping its place", task_queue=task_queue, place=place, default=sets[-1][-1])
            return place


async def status(client: Client, task_queue: str) -> VersionSets:
    """Read the version sets of ``task_queue``. Raises `Failure` where the server refuses."""
    try:
        sets = await _read_sets(client, task_queue)
    except RPCError as error:
        _refused(error, f"the version sets of task queue {task_queue} cannot be read")
    problems: list[str] = []
    workers = await _live_workers(client, task_queue, problems)

    async def build(builds: list[str], index: int) -> Build:
        build_id = builds[index]
        return Build(
            build_id,
            _place(sets, build_id),
            await _count(client, task_queue, _last_ran_on(builds, index), problems),
            None if workers is None else workers.get(build_id, 0),
        )

    # Oldest first: a run that moves to a newer build between two counts is then in both, and
    # never in neither.
    known: list[tuple[Build, ...]] = []
    for builds in sets:
        known.append(tuple([await build(builds, index) for index in range(len(builds))]))  # noqa: PERF401
    return VersionSets(
        client.namespace,
        task_queue,
        tuple(known),
        await _count(client, task_queue, "BuildIds IS NULL", problems),
        tuple(problems),
    )


def safe_to_stop(seen: VersionSets, build_id: str) -> Verdict:
    """Whether the workers of ``build_id`` may be stopped without a run waiting for them.

    Every point needs a known value: what could not be read speaks against.
    """
    own_set = next(ids for ids in seen.sets if any(b.build_id == build_id for b in ids))
    build = next(b for b in own_set if b.build_id == build_id)
    if build.place == "default":
        return Verdict(build_id, (Evidence("routing", False, f"new runs go to {build_id}"),))
    if build.place == "superseded":
        heir = own_set[-1]
        moved = f"the tasks of its set go to {heir.build_id}"
        return Verdict(build_id, (Evidence("routing", True, moved), _alive(heir)))
    return Verdict(
        build_id,
        (
            Evidence("routing", True, f"no new runs go to {build_id}"),
            _none_open(own_set),
            _all_begun(seen.not_begun),
            _alive(seen.sets[-1][-1]),
        ),
    )


def _none_open(version_set: tuple[Build, ...]) -> Evidence:
    counts = [build.open_runs for build in version_set]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return Evidence("open_runs", False, "the open runs of its set could not be counted")
    if not sum(known):
        return Evidence("open_runs", True, "no run of its set is open")
    runs = "run is" if sum(known) == 1 else "runs are"
    return Evidence("open_runs", False, f"{sum(known)} {runs} open in its set")


def _all_begun(not_begun: int | None) -> Evidence:
    """A run waits for the set that was the default at its start, and does not say which it was."""
    if not_begun is None:
        return Evidence("not_begun", False, "the runs that have not begun could not be counted")
    if not_begun == 0:
        return Evidence("not_begun", True, "every run has begun")
    runs = "1 run has" if not_begun == 1 else f"{not_begun} runs have"
    return Evidence("not_begun", False, f"{runs} not begun and may be for its set")


def _alive(build: Build) -> Evidence:
    if build.workers is None:
        return Evidence("replacement", False, f"the workers of {build.build_id} are not known")
    if build.workers == 0:
        return Evidence("replacement", False, f"{build.build_id} has no live worker")
    plural = "worker" if build.workers == 1 else "workers"
    return Evidence("replacement", True, f"{build.build_id} has {build.workers} live {plural}")


async def _read_sets(client: Client, task_queue: str) -> list[list[str]]:
    reply = await client.get_worker_build_id_compatibility(task_queue, rpc_timeout=TIMEOUT)
    return [list(version_set.build_ids) for version_set in reply.version_sets]


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


async def _count(
    client: Client, task_queue: str, condition: str, problems: list[str]
) -> int | None:
    query = f"TaskQueue='{_quoted(task_queue)}' AND ExecutionStatus='Running' AND {condition}"
    try:
        return (await client.count_workflows(query, rpc_timeout=TIMEOUT)).count
    except RPCError as error:
        problems.append(f"open runs could not be counted ({condition}): {error.message}")
        return None


async def _live_workers(
    client: Client, task_queue: str, problems: list[str]
) -> dict[str, int] | None:
    """Worker processes with a fresh heartbeat, by build id; None where it cannot be read."""
    try:
        alive = await live_workers(client, f"TaskQueue='{_quoted(task_queue)}'")
    except RPCError as error:
        problems.append(f"the workers could not be listed: {error.message}")
        return None
    return {build_id: sum(polled.values()) for build_id, polled in alive.items()}


def _quoted(text: str) -> str:
    """As a text within the quotes of a query."""
    return text.replace("'", "''")
