"""Hosts' notes on a real server: where they are left, how they move, and how many there can be."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta, timezone

import pytest
from temporalio.client import Client

from rollout.agent.notes import Notes
from rollout.core.host_notes import Host
from rollout.temporal.hosts import glance
from rollout.temporal.metadata import Metadata
from rollout.temporal.observer import Observer
from rollout.temporal.routing import DeploymentRouting
from rollout.temporal.versions import version_metadata
from tests.support.foreign_worker import connect, foreign_worker
from tests.support.temporal_server import DevServer
from tests.support.waiting import until

pytestmark = pytest.mark.temporal

HOSTS = 40


class Deployment:
    """v1 and v2 poll, and nothing is current."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.routing = DeploymentRouting(client, name, "tests")
        self.observer = Observer(client, name)

    def notes(self, name: str) -> Notes:
        """Those of one host."""
        return Notes(self.client, self.name, name, f"{name}.example")

    async def beat(self, notes: Notes, ahead: timedelta = timedelta(), **builds: str) -> None:
        """Leave one beat, by a clock that is ``ahead``."""
        where = await glance(self.client, self.name)
        await notes.leave(where, builds, datetime.now(timezone.utc) + ahead)

    async def hosts(self) -> tuple[Host, ...]:
        """What a look sees of them."""
        found = (await self.observer.observe()).hosts
        assert found is not None
        return found

    async def noted(self, build_id: str) -> set[str]:
        """Whose notes are on a version."""
        found = await version_metadata(self.client, self.name, build_id)
        return set(found.hosts) if found else set()


@pytest.fixture
async def deployment(temporal_server: DevServer) -> AsyncIterator[Deployment]:
    """A deployment of the test's own."""
    client, name = await connect(temporal_server), f"n{secrets.token_hex(4)}"
    made = Deployment(client, name)
    async with AsyncExitStack() as stack:
        for build_id in ("v1", "v2"):
            await stack.enter_async_context(foreign_worker(client, name, build_id))

        async def known() -> bool:
            return set((await glance(client, name)).statuses) == {"v1", "v2"}

        await until(known)
        yield made


async def test_notes_follow_what_is_current(deployment: Deployment) -> None:
    """They are on one version at a time; of a note left behind the newer one counts."""
    await deployment.routing.set_current("v1")
    a, b = deployment.notes("a"), deployment.notes("b")
    await deployment.beat(a, v1="RUNNING")
    await deployment.beat(b, v1="RUNNING", v2="STARTING")
    assert [host.name for host in await deployment.hosts()] == ["a", "b"]

    await deployment.routing.set_current("v2", ignore_missing_task_queues=True)
    await deployment.beat(a, v1="STOPPED")
    assert (await deployment.noted("v1"), await deployment.noted("v2")) == ({"b"}, {"a"})
    found = {host.name: (host.hostname, host.builds) for host in await deployment.hosts()}
    assert found["a"] == ("a.example", {"v1": "STOPPED"})
    assert found["b"] == ("b.example", {"v1": "RUNNING", "v2": "STARTING"})

    again = deployment.notes("b")  # its agent was killed, and starts anew
    await deployment.beat(again, v2="RUNNING")
    assert (await deployment.noted("v1"), await deployment.noted("v2")) == (set(), {"a", "b"})
    assert {host.name: host.builds for host in await deployment.hosts()}["b"] == {"v2": "RUNNING"}


@pytest.mark.parametrize("skew", [-5, 5])
async def test_a_clock_of_its_own(deployment: Deployment, skew: int) -> None:
    """A host whose clock is 5 s off is heard at the first look and at every other."""
    notes, ahead = deployment.notes("a"), timedelta(seconds=skew)
    for _ in range(3):
        await deployment.beat(notes, ahead, v1="RUNNING")
        assert [host.silent for host in await deployment.hosts()] == [False]


async def test_what_is_wanted_is_read_with_the_beat(deployment: Deployment) -> None:
    """The host reads it where it leaves its own note."""
    where = await glance(deployment.client, deployment.name)
    assert where.noted is not None
    await deployment.routing.annotate(where.noted, Metadata(wanted="v2"))
    found = await deployment.notes("a").leave(where, {}, datetime.now(timezone.utc))
    assert found is not None
    assert found.wanted == "v2"
    assert (await deployment.observer.observe()).wanted == "v2"


async def test_many_hosts(deployment: Deployment) -> None:
    """The server takes the notes of 40 hosts with 8 builds each on one version."""
    builds = {f"2026-11-25-{number:07d}": "RUNNING" for number in range(8)}
    for number in range(HOSTS):
        notes = deployment.notes(f"web-{number}")
        where = await glance(deployment.client, deployment.name)
        await notes.leave(where, builds, datetime.now(timezone.utc))
    assert len(await deployment.hosts()) == HOSTS
