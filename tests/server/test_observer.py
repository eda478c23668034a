"""What an observation says of a real deployment: counts, what waits, names from outside."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import PinnedVersioningOverride, WorkerDeploymentVersion
from temporalio.converter import PayloadCodec

from rollout.core.config_file import parse
from rollout.core.observation import Observation
from rollout.core.pace import MOVING, RESTING
from rollout.core.plan import plan
from rollout.core.warned import warnings
from rollout.temporal.observer import Observer
from rollout.temporal.routing import DeploymentRouting
from tests.support.foreign_worker import Wait, connect, foreign_worker
from tests.support.temporal_server import DevServer
from tests.support.waiting import until

pytestmark = pytest.mark.temporal


class Slow(PayloadCodec):
    """It takes its time over what each run is given, in which a worker with one slot is busy."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """As it is."""
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Much later than v1 takes for many runs, on a busy machine too."""
        await asyncio.sleep(5)
        return list(payloads)


async def start(client: Client, deployment: str, build_id: str, number: int) -> None:
    """Start ``number`` runs that are pinned to ``build_id``."""
    override = PinnedVersioningOverride(WorkerDeploymentVersion(deployment, build_id))
    for _ in range(number):
        await client.start_workflow(
            Wait.run,
            id=uuid4().hex,
            task_queue=deployment,
            versioning_override=override,
            execution_timeout=timedelta(minutes=5),
        )


NAMES = {
    "plain": 1,
    "it's": 2,
    'a"b': 3,
    "release/2026-11": 1,
    "ü 1": 2,
    "back\\slash": 1,
    "日本": 1,
}
"""Build ids that the server accepts, and how many runs each gets here."""


async def test_names_from_outside(temporal_server: DevServer) -> None:
    """The counts of all versions are right, whatever they and their deployment are called.

    That of a build id with a double quote, which the server itself counts as 0, is taken from the
    runs themselves; no live worker is called dead.
    """
    client = await connect(temporal_server)
    deployment = f"it's/a shop ü {uuid4().hex[:6]}"
    observer = Observer(client, deployment)
    async with AsyncExitStack() as workers:
        for build_id in NAMES:
            await workers.enter_async_context(foreign_worker(client, deployment, build_id))

        async def registered() -> bool:
            return len((await observer.observe()).versions) == len(NAMES)

        await until(registered, seconds=20)
        for build_id, number in NAMES.items():
            await start(client, deployment, build_id, number)

        async def counted() -> bool:
            seen = await observer.observe()
            return {v.build_id: v.open_runs for v in seen.versions} == NAMES

        await until(counted, seconds=20)

        async def alive() -> bool:
            seen = await observer.observe()
            return {v.build_id: v.workers for v in seen.versions} == dict.fromkeys(NAMES, 1)

        await until(alive, seconds=20)
        seen = await observer.observe()
        assert {v.build_id: v.open_pinned for v in seen.versions} == NAMES
        assert seen.elsewhere == {}
        assert seen.problems == ()


async def test_a_deployment_that_the_server_cannot_count(temporal_server: DevServer) -> None:
    """A double quote in its name makes every count of the server's 0: nothing is known then."""
    client = await connect(temporal_server)
    deployment = f'a "shop" {uuid4().hex[:6]}'
    observer = Observer(client, deployment)
    async with foreign_worker(client, deployment, "v1"):

        async def uncounted() -> bool:
            seen = await observer.observe()
            assert seen.version("v1").open_runs is None
            return seen.version("v1").described and seen.problems == (
                f"the server cannot count the runs of a deployment called {deployment!r}",
            )

        await until(uncounted, seconds=20)


async def test_new_runs_that_nobody_takes(temporal_server: DevServer) -> None:
    """With the current version's worker stopped, the runs that wait for it are counted.

    No version has them, its own statistics do approximately, and how long they have waited is told.
    """
    client = await connect(temporal_server)
    deployment = f"waiting-{uuid4().hex[:8]}"
    observer = Observer(client, deployment)
    async with foreign_worker(client, deployment, "v1"):
        await until(lambda: _registered(observer, "v1"), seconds=20)
        await DeploymentRouting(client, deployment, "test").set_current("v1")
    for _ in range(12):
        await client.start_workflow(
            Wait.run, id=uuid4().hex, task_queue=deployment, execution_timeout=timedelta(minutes=5)
        )
    await client.start_workflow(
        Wait.run,
        id=uuid4().hex,
        task_queue=deployment,
        start_delay=timedelta(minutes=4),
        execution_timeout=timedelta(minutes=5),
    )

    async def seen_waiting() -> bool:
        seen = await observer.observe()
        return seen.unassigned == 12 and seen.stuck == 12

    await until(seen_waiting, seconds=40)
    seen = await observer.observe()
    version = seen.version("v1")
    assert (version.open_runs, version.backlog) == (0, 12)
    assert version.waiting_age is not None
    # Asked for before the runs were counted, and approximate.
    assert version.waiting_age >= 5


async def test_who_can_go_on_elsewhere(temporal_server: DevServer) -> None:
    """Auto-upgrade runs are open on a version, and are not among those that hold it."""
    client = await connect(temporal_server)
    deployment = f"mixed-{uuid4().hex[:8]}"
    observer = Observer(client, deployment)
    async with foreign_worker(client, deployment, "v1", "AUTO_UPGRADE"):
        await until(lambda: _registered(observer, "v1"), seconds=20)
        await DeploymentRouting(client, deployment, "test").set_current("v1")
        for _ in range(3):
            await client.start_workflow(
                Wait.run, id=uuid4().hex, task_queue=deployment,
                execution_timeout=timedelta(minutes=5),
            )  # fmt: skip
        await start(client, deployment, "v1", 2)

        async def counted() -> bool:
            version = (await observer.observe()).version("v1")
            return (version.open_runs, version.open_pinned) == (5, 2)

        await until(counted, seconds=20)

        async def starts_counted() -> bool:
            return (await observer.observe()).version("v1").started == 5

        await until(starts_counted, seconds=20)


async def test_a_ramp_that_gives_less_than_it_means(temporal_server: DevServer) -> None:
    """Workers that do not keep up get fewer runs than meant: that is said, and the ramp is held."""
    client = await connect(temporal_server)
    slow = await connect(temporal_server, Slow())
    deployment = f"short-{uuid4().hex[:8]}"
    observer, routing = Observer(client, deployment), DeploymentRouting(client, deployment, "me")
    config = parse(
        f'[deployment]\nname = "{deployment}"\ntarget = "v2"\n[progressive]\nsettle = "0s"\n'
        'steps = [{ percentage = 50, pause = "0s" }]\n'
    )
    async with (
        foreign_worker(client, deployment, "v1"),
        foreign_worker(slow, deployment, "v2", max_concurrent_workflow_tasks=1),
    ):
        await until(lambda: _registered(observer, "v2"), seconds=20)
        await until(lambda: _registered(observer, "v1"), seconds=20)
        await routing.set_current("v1")
        await routing.set_ramp("v2", 50)

        async def settled() -> bool:
            return (await observer.observe("v2")).routing_settled

        await until(settled, seconds=20)
        for _ in range(150):
            await client.start_workflow(
                Wait.run, "x", id=uuid4().hex, task_queue=deployment,
                execution_timeout=timedelta(minutes=5),
            )  # fmt: skip

        async def short() -> str:
            seen = await observer.observe("v2")
            decided = plan(config, seen, datetime.now(timezone.utc), "me")
            held = [f"held at 50 %: {said}" for said in warnings(seen)]
            assert decided.reason in held, (decided, seen)
            return decided.reason

        told = await until(short, seconds=60)
        less = r"held at 50 %: v2 gets \d+ % of new runs instead of 50 % \(\d+ of \d+\): its"
        assert re.match(less, told), told


async def test_what_only_its_gate_has_run_on(temporal_server: DevServer) -> None:
    """The server calls it draining and drained; here it reads *gate only*, before and after."""
    client = await connect(temporal_server)
    deployment = f"gated-{uuid4().hex[:8]}"
    observer = Observer(client, deployment)
    async with AsyncExitStack() as workers:
        for build_id in ("v1", "v2"):
            await workers.enter_async_context(foreign_worker(client, deployment, build_id))
            await until(lambda: _registered(observer, build_id), seconds=20)  # noqa: B023 - at once
        await DeploymentRouting(client, deployment, "test").set_current("v1")
        await start(client, deployment, "v2", 1)

        async def began() -> bool:
            return (await observer.observe()).version("v2").open_runs == 1

        await until(began, seconds=20)
        async for run in client.list_workflows(f"TaskQueue='{deployment}'"):
            await client.get_workflow_handle(run.id).signal(Wait.finish)

        async def ended() -> bool:
            version = (await observer.observe()).version("v2")
            return version.status in ("draining", "drained") and version.open_runs == 0

        await until(ended, seconds=60)
        version = (await observer.observe()).version("v2")
        assert (version.gate_only, version.shown_status) == (True, "gate only")


async def test_zero_is_seen_twice(temporal_server: DevServer) -> None:
    """Since when nothing is open on a version is known from the second look on."""
    client = await connect(temporal_server)
    deployment = f"zero-{uuid4().hex[:8]}"
    observer = Observer(client, deployment)
    async with foreign_worker(client, deployment, "v1"):
        await until(lambda: _registered(observer, "v1"), seconds=20)
        first = (await observer.observe()).version("v1").zero_since
        second = await observer.observe()
        assert first is not None
        assert second.version("v1").zero_since == first < second.at
        fresh = await Observer(client, deployment).observe()
        since = fresh.version("v1").zero_since
        assert since is not None
        assert since > fresh.at
        await start(client, deployment, "v1", 1)

        async def begun() -> bool:
            return (await observer.observe()).version("v1").zero_since is None

        await until(begun, seconds=20)


@pytest.mark.parametrize("number", [2, 90])
async def test_calls_do_not_grow_with_versions(temporal_server: DevServer, number: int) -> None:
    """A minute of looks costs no more than its budget, at 2 versions as at 90."""
    client = await connect(temporal_server)
    deployment = f"many-{uuid4().hex[:8]}"
    await register(client, deployment, number)
    routing = DeploymentRouting(client, deployment, "me")
    await routing.set_current("b0", ignore_missing_task_queues=True)
    observer = Observer(client, deployment, at_once=False)
    async with foreign_worker(client, deployment, "b0"):

        async def at_rest() -> bool:
            seen = await observer.observe("b0")
            await asyncio.sleep(1)  # a controller looks no more often
            return observer.pace == RESTING and all(v.described for v in seen.versions)

        await until(at_rest, seconds=90)
        assert await calls_a_minute(client, observer, "b0") <= 40
        await routing.set_ramp("b1", 10, ignore_missing_task_queues=True)
        await observer.observe("b1")
        assert observer.pace == MOVING
        assert await calls_a_minute(client, observer, "b1") <= 150


async def register(client: Client, deployment: str, number: int) -> None:
    """Let the server know versions b0, b1, ...; their workers come and go, a few at a time."""
    known = Observer(client, deployment, at_once=False)
    for first in range(0, number, 10):
        async with AsyncExitStack() as workers:
            for index in range(first, min(first + 10, number)):
                await workers.enter_async_context(foreign_worker(client, deployment, f"b{index}"))

            async def registered(least: int = min(first + 10, number)) -> bool:
                return len((await known.observe()).versions) >= least

            await until(registered, seconds=60)


async def calls_a_minute(client: Client, observer: Observer, wanted: str) -> float:
    """What looks at the observer's own pace ask the server for in a minute."""

    async def calls() -> int:
        made = counted(client)
        await observer.observe(wanted)
        return len(made)

    observer.expire()
    everything, routing = await calls(), await calls()
    pace = observer.pace
    return 60 * (routing / pace.routing + (everything - routing) / pace.parts)


def counted(client: Client) -> list[str]:
    """The names of the calls that ``client`` makes from now on."""
    calls: list[str] = []
    connection = client.workflow_service._client
    original = connection._rpc_call

    async def counting(rpc: str, *arguments: object, **options: object) -> object:
        calls.append(rpc)
        return await original(rpc, *arguments, **options)  # type: ignore[arg-type]

    connection._rpc_call = counting  # type: ignore[method-assign,assignment]
    return calls


async def _registered(observer: Observer, build_id: str) -> bool:
    seen: Observation = await observer.observe()
    await asyncio.sleep(0)
    return seen.version(build_id).status != "unregistered"
