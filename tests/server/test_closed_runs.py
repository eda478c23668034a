"""Analysis by the server's counts alone, of real runs of workers that export nothing."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import (
    PinnedVersioningOverride,
    VersioningBehavior,
    WorkerDeploymentVersion,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from rollout.core.config import Analysis, Check
from rollout.core.judge import judge
from rollout.core.observation import BuildSample, Measurements
from rollout.prometheus.measure import measure_checks
from rollout.temporal.closed_runs import ClosedRuns
from tests.support.temporal_server import DevServer
from tests.support.waiting import until

pytestmark = pytest.mark.temporal

ANALYSIS = Analysis(source="server", min_samples=5)
MAYBE = "7 % of v2's runs failed (2 of 30), 0 % of v1's (0 of 9), which may still be chance"
LONG_AGO = timedelta(minutes=5)


SEEN: list[str] = []
"""Not empty once a run that changes has run: when it is replayed its code is another."""


@workflow.defn(name="Job")
class Job:
    """Ends as it is told."""

    @workflow.run
    async def run(self, how: str) -> None:
        """Fail, sleep, go on as new, or be done."""
        if how == "fails":
            raise ApplicationError("no")
        if how == "sleeps":
            await workflow.sleep(600)
        if how == "changes":
            if SEEN:
                await workflow.execute_activity("other", schedule_to_close_timeout=LONG_AGO)
            SEEN.append(how)
            await workflow.sleep(1)
        if how == "goes on":
            workflow.continue_as_new("is done")


@asynccontextmanager
async def workers(client: Client, name: str) -> AsyncIterator[None]:
    """A worker of v1 and one of v2, without metrics."""

    def worker(build_id: str) -> Worker:
        version = WorkerDeploymentVersion(name, build_id)
        return Worker(
            client,
            task_queue=name,
            workflows=[Job],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_cached_workflows=0,
            deployment_config=WorkerDeploymentConfig(
                version=version,
                use_worker_versioning=True,
                default_versioning_behavior=VersioningBehavior.PINNED,
            ),
        )

    async with worker("v1"), worker("v2"):
        yield


async def begin(
    client: Client, name: str, build_id: str, how: str, timeout: timedelta | None = None
) -> WorkflowHandle[Any, Any]:
    """Start a job on one version, once the server knows that the version polls the queue."""
    pinned = PinnedVersioningOverride(WorkerDeploymentVersion(name, build_id))

    async def started() -> WorkflowHandle[Any, Any] | None:
        try:
            return await client.start_workflow(
                "Job",
                how,
                id=secrets.token_hex(6),
                task_queue=name,
                execution_timeout=timeout,
                versioning_override=pinned,
            )
        except RPCError as error:
            if error.status != RPCStatusCode.FAILED_PRECONDITION:
                raise
            return None

    handle = await until(started)
    assert handle is not None
    return handle


async def run(client: Client, name: str, build_id: str, **how_many: int) -> None:
    """Run so many jobs of each kind on one version, and wait until they have ended."""
    handles = [
        await begin(
            client,
            name,
            build_id,
            how.replace("_", " "),
            timedelta(seconds=2) if how == "sleeps" else None,
        )
        for how, number in how_many.items()
        for _ in range(number)
    ]

    async def ended() -> bool:
        return all([(await each.describe()).close_time for each in handles])

    await until(ended)


async def counted(client: Client, name: str, workflows: int) -> Measurements:
    """The first comparison that has so many runs of v2."""
    since = datetime.now(timezone.utc) - LONG_AGO

    async def enough() -> Measurements | None:
        runs = ClosedRuns(client, name, at_once=True)
        seen = await runs.compare("v2", "v1", since, 8)
        assert seen.problem is None
        return seen if seen.target.workflows >= workflows else None

    seen = await until(enough)
    assert seen is not None
    return seen


@pytest.fixture
async def client(temporal_server: DevServer) -> Client:
    """Of the server that all tests share."""
    return await Client.connect(temporal_server.address)


class TestCounts:
    """How the runs of each version ended."""

    async def test_by_version(self, client: Client) -> None:
        """Failed and timed-out runs are failures, a terminated one counts for nothing."""
        name = f"c{secrets.token_hex(4)}"
        async with workers(client, name):
            stopped = await begin(client, name, "v2", "sleeps")

            async def begun() -> bool:
                history = await stopped.fetch_history()
                return any(e.HasField("timer_started_event_attributes") for e in history.events)

            await until(begun)
            await stopped.terminate()
            await run(client, name, "v1", is_done=3)
            await run(client, name, "v2", is_done=2, fails=3, sleeps=1, goes_on=1)
            seen = await counted(client, name, 8)
        # What goes on as new ends twice: as that, and when it is done.
        assert seen.target == BuildSample("v2", workflows=8, workflow_failures=4)
        assert seen.current == BuildSample("v1", workflows=3)
        assert seen.source == "server"
        assert LONG_AGO.total_seconds() <= seen.counted < LONG_AGO.total_seconds() + 60

    async def test_only_what_ended_since(self, client: Client) -> None:
        """What ended before traffic changed says nothing of the step."""
        name = f"c{secrets.token_hex(4)}"
        async with workers(client, name):
            await run(client, name, "v2", fails=2)
            await counted(client, name, 2)
            runs = ClosedRuns(client, name, at_once=True)
            seen = await runs.compare("v2", "v1", datetime.now(timezone.utc), 8)
        assert seen.target == BuildSample("v2")

    async def test_they_are_kept_a_while(self, client: Client) -> None:
        """Whoever looks every other second does not count as often; another question is asked."""
        name = f"c{secrets.token_hex(4)}"
        since = datetime.now(timezone.utc) - LONG_AGO
        runs = ClosedRuns(client, name, at_once=False)
        first = await runs.compare("v2", "v1", since, 60)
        assert await runs.compare("v2", "v1", since, 60) is first
        assert await runs.compare("v2", "v1", since, 0) is not first
        assert (await runs.compare("v3", "v1", since, 60)).target.build_id == "v3"

    async def test_what_cannot_be_counted_is_a_problem(self, client: Client) -> None:
        """A name with which the server counts nothing is told, and not taken for no failures."""
        runs = ClosedRuns(client, 'od"d', at_once=True)
        seen = await runs.compare("v2", "v1", datetime.now(timezone.utc), 8)
        assert judge(ANALYSIS, seen, -1).reason == (
            "the server cannot be asked: it cannot count the runs of a version with such a name: "
            "'od\"d'; traffic stays"
        )

    async def test_a_server_that_refuses(self, client: Client) -> None:
        """Its reason is the problem."""
        away = Client(client.service_client, namespace="nowhere")
        runs = ClosedRuns(away, "d", at_once=True)
        seen = await runs.compare("v2", "v1", datetime.now(timezone.utc), 8)
        assert "nowhere" in str(seen.problem)
        assert judge(ANALYSIS, seen, -1).outcome == "hold"


class TestNonDeterminism:
    """Runs that their own version cannot replay never end; the server says which they are."""

    async def test_it_is_proof(self, tmp_path: Path) -> None:
        """After some failed tasks on end (5 by default, here 1) they count, and it goes back."""
        told = "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=1"
        server = DevServer(tmp_path, "--dynamic-config-value", told)
        server.start()
        try:
            client = await Client.connect(server.address)
            async with workers(client, "d"):
                await begin(client, "d", "v2", "changes")
                runs = ClosedRuns(client, "d", at_once=True)

                async def proven() -> bool:
                    now = datetime.now(timezone.utc)
                    seen = await runs.compare("v2", "v1", now, 8)
                    return judge(ANALYSIS, seen, -1).reason == (
                        "the code of v2 does not match the history of its runs: non-determinism in "
                        "1 of its open runs"
                    )

                await until(proven)
        finally:
            server.stop()


class TestJudge:
    """What is made of the counts."""

    @staticmethod
    def seen(failed: float, ended: float, usual: float = 0, usually: float = 900) -> Measurements:
        """Of v2's runs and v1's."""
        return Measurements(
            0.0,
            BuildSample("v2", workflows=ended, workflow_failures=failed),
            BuildSample("v1", workflows=usually, workflow_failures=usual),
            counted=60,
            source="server",
        )

    @pytest.mark.parametrize(
        ("seen", "outcome", "reason"),
        [
            (seen(0, 30), "advance", "v2 does as well as v1: 0 of 30 runs failed"),
            (
                seen(20, 30),
                "rollback",
                "67 % of v2's runs failed (20 of 30), 0 % of v1's (0 of 900)",
            ),
            (
                seen(2, 30, usually=9),
                "hold",
                MAYBE,
            ),
            (
                seen(0, 3),
                "hold",
                "analysis short of samples: 3 of 5 closed runs of v2; at this rate in about 40 s",
            ),
            (seen(15, 30, 450), "advance", "v2 does as well as v1: 15 of 30 runs failed"),
        ],
    )
    def test_outcome(self, seen: Measurements, outcome: str, reason: str) -> None:
        """By the same rules as by Prometheus's counts."""
        found = judge(ANALYSIS, seen, -1)
        assert (found.outcome, found.reason) == (outcome, reason)

    async def test_own_checks_are_still_asked_of_prometheus(self) -> None:
        """Without checks Prometheus is not asked at all; with one it holds while that is away."""
        seen = self.seen(0, 30)
        nowhere = "http://127.0.0.1:9"
        assert await measure_checks(nowhere, seen, "d", ANALYSIS, since=60) is seen
        check = Check(name="mine", query="vector(1)", max=2)
        checked = Analysis(source="server", min_samples=5, checks=(check,))
        found = judge(checked, await measure_checks(nowhere, seen, "d", checked, since=60), -1)
        assert found.outcome == "hold"
        assert found.reason.startswith("check mine has no value: no answer at 127.0.0.1:9")
