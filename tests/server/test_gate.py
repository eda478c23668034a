"""The gate on a real server: what becomes of runs that a foreign worker cannot run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.client import Client

from rollout.core.actions import StartGate
from rollout.core.config import Gate, Seconds
from rollout.core.observation import GateRun, Version
from rollout.temporal.gate import read_gate, start_gate
from rollout.temporal.pollers import polled_at
from tests.support.foreign_worker import Wait, connect, foreign_worker
from tests.support.temporal_server import DevServer
from tests.support.waiting import until

pytestmark = pytest.mark.temporal

VERSION = Version("v1", "inactive")


@workflow.defn(name="Breaks")
class Breaks:
    """Its every task fails, and is tried again."""

    @workflow.run
    async def run(self) -> None:
        """Break."""
        raise ValueError("no such thing")


class Gated:
    """A deployment of its own with a worker that nobody here has written."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name

    async def try_on(self, gate: Gate) -> None:
        """Start the first try of ``gate``."""
        await start_gate(self.client, self.name, VERSION, gate, StartGate("v1", self.name, 1))

    async def tries(self, gate: Gate) -> tuple[GateRun, ...]:
        """What became of its tries."""
        return await read_gate(self.client, self.name, VERSION, gate, self.name)


@pytest.fixture
async def gated(temporal_server: DevServer) -> AsyncIterator[Gated]:
    """A worker of v1 that polls."""
    client = await connect(temporal_server)
    name = f"gated-{uuid4().hex[:8]}"
    async with foreign_worker(client, name, "v1", workflows=[Wait, Breaks]):
        await until(lambda: polled_at(client, name, "v1"))
        yield Gated(client, name)


async def test_a_workflow_that_the_build_has_not_is_told_at_its_first_task(gated: Gated) -> None:
    """While it still runs, minutes before it would time out."""
    gate = Gate(workflow="Missing", timeout=Seconds(600))
    await gated.try_on(gate)

    async def failed() -> GateRun | None:
        (run,) = await gated.tries(gate)
        return run if run.outcome == "failed" else None

    run = await until(failed)
    assert run is not None
    assert run.lacks_workflow
    assert "Missing is not registered on this worker, available workflows: " in run.detail

    other = Gate(workflow="Wait", timeout=Seconds(600))
    assert await gated.tries(other) == ()  # another name is another gate
    await gated.try_on(other)
    (run,) = await gated.tries(other)
    assert (run.outcome, run.lacks_workflow) == ("running", False)


async def test_a_task_that_fails_for_another_reason_may_yet_pass(gated: Gated) -> None:
    """It is waited for; when its time is up, its first failure is told as well."""
    gate = Gate(workflow="Breaks", timeout=Seconds(3))
    await gated.try_on(gate)

    async def over() -> GateRun | None:
        (run,) = await gated.tries(gate)
        return run if run.outcome == "failed" else None

    run = await until(over)
    assert run is not None
    assert not run.lacks_workflow
    assert "timed out" in run.detail.lower()
    assert run.detail.endswith("its first task failed: no such thing")


async def test_a_poll_is_seen_long_before_a_heartbeat(gated: Gated) -> None:
    """By the server's clock, and of the version that is asked for alone."""
    first = await polled_at(gated.client, gated.name, "v1", gated.name)
    assert first is not None
    assert await polled_at(gated.client, gated.name, "v2", gated.name) is None
    assert await polled_at(gated.client, f"{gated.name}-x", "v1", gated.name) is None
