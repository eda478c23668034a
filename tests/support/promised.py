"""One workflow that waits in whichever way it is told to, and two builds of it in this process."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy, VersioningBehavior, WorkerDeploymentVersion
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from rollout.temporal.observer import Observer
from rollout.temporal.routing import DeploymentRouting
from tests.support.temporal_server import DevServer
from tests.support.waiting import until

__all__ = ["AGAIN", "Builds", "new_builds"]

AGAIN = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=1, maximum_attempts=2
)
"""One more try, a second later."""

_ran_on: dict[str, dict[str, str]] = {}
"""By workflow id and run id, the build that ran the run's last task."""


@workflow.defn
class Waiting:
    """Begins at once, and goes on when it is signalled."""

    def __init__(self) -> None:
        self._may_go = False

    @workflow.signal
    def go(self) -> None:
        """Go on."""
        self._may_go = True

    @workflow.update
    def ask(self) -> str:
        """The build that answers."""
        return _build_id()

    @workflow.query
    def has_gone(self) -> bool:
        """Whether it was signalled."""
        return self._may_go

    @workflow.run
    async def run(self, kind: str) -> None:
        """Do what ``kind`` says, and note the build that did it."""
        _note()
        info = workflow.info()
        if kind == "at once" or info.attempt > 1:
            return
        if kind == "fail":
            raise ApplicationError("once more")
        if kind == "renew first, then fail" and not info.continued_run_id:
            workflow.continue_as_new(kind)
        if kind == "renew" and info.continued_run_id:
            return
        await workflow.wait_condition(lambda: self._may_go)
        _note()
        await _after_the_signal(kind)


async def _after_the_signal(kind: str) -> None:
    child = f"{workflow.info().workflow_id}-child"
    if kind in ("wait and fail", "renew first, then fail"):
        raise ApplicationError("once more")
    if kind == "renew":
        workflow.continue_as_new(kind, backoff_start_interval=timedelta(seconds=1))
    if kind == "child":
        await workflow.execute_child_workflow(Waiting.run, "fail", id=child, retry_policy=AGAIN)
    if kind == "child cron":
        await workflow.start_child_workflow(
            Waiting.run,
            "at once",
            id=child,
            cron_schedule="@every 1s",
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        )


def _build_id() -> str:
    version = workflow.info().get_current_deployment_version()
    return version.build_id if version else "none"


def _note() -> None:
    info = workflow.info()
    _ran_on.setdefault(info.workflow_id, {})[info.run_id] = _build_id()


@asynccontextmanager
async def new_builds(server: DevServer) -> AsyncIterator[Builds]:
    """A deployment of its own on ``server``, with nothing in it."""
    builds = Builds(await Client.connect(server.address))
    try:
        yield builds
    finally:
        await builds.close()


class Builds:
    """Workers of one deployment, on a task queue of the same name."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.name = f"p{secrets.token_hex(4)}"
        self._workers: dict[str, AsyncExitStack] = {}

    async def close(self) -> None:
        """End what is still open, and stop the workers."""
        query = f"TaskQueue='{self.name}' AND ExecutionStatus='Running'"
        async for run in self.client.list_workflows(query):
            try:
                await self.client.get_workflow_handle(run.id).terminate()
            except RPCError:
                continue  # it has ended meanwhile
        for build_id in list(self._workers):
            await self.stop(build_id)

    async def start(self, build_id: str) -> None:
        """Start a worker of the build, pinned."""
        worker = Worker(
            self.client,
            task_queue=self.name,
            workflows=[Waiting],
            workflow_runner=UnsandboxedWorkflowRunner(),
            deployment_config=WorkerDeploymentConfig(
                version=WorkerDeploymentVersion(self.name, build_id),
                use_worker_versioning=True,
                default_versioning_behavior=VersioningBehavior.PINNED,
            ),
        )
        running = AsyncExitStack()
        await running.enter_async_context(worker)
        self._workers[build_id] = running

    async def stop(self, build_id: str) -> None:
        """Stop the build's worker."""
        await self._workers.pop(build_id).aclose()

    async def make_current(self, build_id: str) -> None:
        """Send all new runs to the build, and return once every task queue knows."""
        routing = DeploymentRouting(self.client, self.name, "")
        observer = Observer(self.client, self.name)

        async def done() -> bool:
            try:
                seen = await observer.observe()
                if seen.current != build_id:
                    await routing.set_current(build_id)
            except RPCError:
                return False  # its first poll has not told the server of it yet
            return seen.current == build_id and seen.routing_settled

        await until(done)

    async def begin(self, kind: str, **options: Any) -> WorkflowHandle[Any, Any]:
        """Start a run of that kind."""
        run_id = f"{kind.replace(' ', '-').replace(',', '')}-{secrets.token_hex(4)}"
        return await self.client.start_workflow(
            Waiting.run, kind, id=run_id, task_queue=self.name, **options
        )

    async def begun(self, handle: WorkflowHandle[Any, Any], runs: int = 1) -> None:
        """Wait until so many runs of that workflow id have begun."""

        async def noted() -> bool:
            return len(self.ran_on(handle.id)) >= runs

        await until(noted)

    def ran_on(self, workflow_id: str) -> list[str]:
        """The build of each run of that workflow id so far, in the order they began."""
        return list(_ran_on.get(workflow_id, {}).values())
