"""Which runs stay on the build they began on, and which go to the one that is current by then.

Each row of docs/promise.md, on a real server: every kind of run begins while v1 is current, then
v2 becomes current, and only then does what waits go on.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import WorkflowHandle, WorkflowUpdateStage
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.settings import ROOT
from tests.support.promised import AGAIN, Builds, new_builds
from tests.support.temporal_server import DevServer
from tests.support.waiting import until

pytestmark = [pytest.mark.temporal, pytest.mark.asyncio(loop_scope="module")]

STAYS = {
    "a run that has begun": ["v1"],
    "a child of a pinned parent, and the child's retries": ["v1", "v1"],
    "the first firing of a child cron of a pinned parent": ["v1"],
    "a continue-as-new with a backoff": ["v1", "v1"],
    "the retry of a run that had continued as new": ["v1", "v1", "v1"],
    "`reset --type LastWorkflowTask`": ["v1", "v1"],
}
"""By row, the build of each run of one workflow id, in the order they began."""

MOVES = {
    "the retry of a root run": ["v1", "v2"],
    "the next firing of a root cron run": ["v1", "v2"],
    "a delayed start": ["v2"],
    "later firings of a child cron": ["v1", "v2"],
    "`reset --type FirstWorkflowTask`": ["v1", "v2"],
}


@dataclass(frozen=True)
class Begun:
    """What has begun on v1, by row of the tables above."""

    builds: Builds
    handles: Mapping[str, WorkflowHandle[Any, Any]]

    async def ran_on(self, row: str, runs: int) -> list[str]:
        """The builds of the row's runs, as soon as there are so many."""
        workflow_id = self.handles[row].id
        if "child" in row:
            workflow_id += "-child"

        async def done() -> bool:
            return len(self.builds.ran_on(workflow_id)) >= runs

        await until(done, seconds=20)
        return self.builds.ran_on(workflow_id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def begun(temporal_server: DevServer) -> AsyncIterator[Begun]:
    """Every kind of run begun on v1, and let go on once v2 is current."""
    async with new_builds(temporal_server) as builds:
        await builds.start("v1")
        await builds.make_current("v1")
        await builds.start("v2")
        waiting = {
            "a run that has begun": await builds.begin("wait"),
            "a child of a pinned parent, and the child's retries": await builds.begin("child"),
            "the first firing of a child cron of a pinned parent": await builds.begin("child cron"),
            "a continue-as-new with a backoff": await builds.begin("renew"),
            "the retry of a run that had continued as new": await builds.begin(
                "renew first, then fail", retry_policy=AGAIN
            ),
            "the retry of a root run": await builds.begin("wait and fail", retry_policy=AGAIN),
        }
        cron = await builds.begin("at once", cron_schedule="@every 1s")
        closed = {row: await builds.begin("wait") for row in (*STAYS, *MOVES) if "reset" in row}
        for handle in closed.values():
            await builds.begun(handle)
            await handle.signal("go")
            await handle.result()
        for row, handle in waiting.items():
            await builds.begun(handle, runs=2 if "had continued" in row else 1)
        await builds.begun(cron)
        delayed = await _while_delayed(builds)
        await asyncio.gather(*(handle.signal("go") for handle in waiting.values()))
        for row, handle in closed.items():
            reset = temporal_server.cli(
                "workflow", *row.strip("`").split(), "--workflow-id", handle.id,
                "--reason", "to see where it goes",
            )  # fmt: skip
            assert reset.returncode == 0, reset.stderr
        child_cron = waiting["the first firing of a child cron of a pinned parent"]
        yield Begun(
            builds,
            {
                **waiting,
                **closed,
                "the next firing of a root cron run": cron,
                "later firings of a child cron": child_cron,
                "a delayed start": delayed,
            },
        )


async def _while_delayed(builds: Builds) -> WorkflowHandle[Any, Any]:
    """Make v2 current while a start is delayed, however slow the machine is."""
    for delay in (6, 20, 60):
        await builds.make_current("v1")
        started = time.monotonic()
        handle = await builds.begin("at once", start_delay=timedelta(seconds=delay))
        await builds.make_current("v2")
        if time.monotonic() - started < delay:
            return handle
    raise AssertionError("a routing change took longer than a minute")


@pytest.mark.parametrize("row", STAYS)
async def test_stays(begun: Begun, row: str) -> None:
    """What the promise covers goes on where it began, although v2 is current by then."""
    runs = STAYS[row]
    assert (await begun.ran_on(row, len(runs)))[: len(runs)] == runs


@pytest.mark.parametrize("row", MOVES)
async def test_goes_to_what_is_current(begun: Begun, row: str) -> None:
    """What begins anew goes to the version that is current when it does."""
    runs = MOVES[row]
    found = await begun.ran_on(row, len(runs))
    if "cron" in row:  # which fires as often as it takes

        async def elsewhere() -> bool:
            return (await begun.ran_on(row, len(runs)))[-1] == "v2"

        await until(elsewhere)
        found = list(dict.fromkeys(await begun.ran_on(row, len(runs))))
    assert found == runs


class TestAStoppedBuild:
    """What reaches the runs of a build that has no worker any more."""

    async def test_a_query_hangs_even_of_a_closed_run(self, temporal_server: DevServer) -> None:
        """Nobody answers a query of a run whose build is stopped, closed or open."""
        async with new_builds(temporal_server) as builds:
            closed, opened = await _stopped(builds)
            for handle in (closed, opened):
                with pytest.raises(RPCError) as caught:
                    await handle.query("has_gone", rpc_timeout=timedelta(seconds=3))
                assert caught.value.status in (
                    RPCStatusCode.DEADLINE_EXCEEDED,
                    RPCStatusCode.CANCELLED,
                )
            await builds.start("v1")
            assert await closed.query("has_gone", rpc_timeout=timedelta(seconds=20))

    async def test_a_signal_is_kept_and_an_update_waits(self, temporal_server: DevServer) -> None:
        """Both arrive as soon as a worker of the build is back."""
        async with new_builds(temporal_server) as builds:
            _, opened = await _stopped(builds)
            update = asyncio.create_task(
                opened.start_update("ask", wait_for_stage=WorkflowUpdateStage.COMPLETED)
            )
            finished, _ = await asyncio.wait({update}, timeout=2)
            assert not finished
            await opened.signal("go")
            await builds.start("v1")
            assert await (await update).result() == "v1"
            await opened.result()
            assert builds.ran_on(opened.id) == ["v1"]


async def _stopped(builds: Builds) -> tuple[WorkflowHandle[Any, Any], WorkflowHandle[Any, Any]]:
    """A closed and an open run of v1, whose worker is stopped once v2 is current."""
    await builds.start("v1")
    await builds.make_current("v1")
    closed, opened = await builds.begin("wait"), await builds.begin("wait")
    await closed.signal("go")
    await closed.result()
    await builds.begun(opened)
    await builds.start("v2")
    await builds.make_current("v2")
    await builds.stop("v1")
    return closed, opened


async def test_the_page_has_each_row() -> None:
    """docs/promise.md says of each kind of run what is tested here, and nothing else."""
    page = (ROOT / "docs" / "promise.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| (.+?) \| (stays|goes to what is current) \|", page, re.MULTILINE))
    assert told == {
        **dict.fromkeys(STAYS, "stays"),
        **dict.fromkeys(MOVES, "goes to what is current"),
    }
