"""A build whose module gives options of its own, on a real server: each of them is really used."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from rollout.base.settings import ROOT
from tests.support.own_build import CONVERTER, Buy
from tests.support.runs import settled
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually
from tests.support.worker_process import Command, environ, python

pytestmark = pytest.mark.temporal


@pytest.fixture
def name() -> str:
    """A deployment and task queue of the test's own."""
    return f"o{secrets.token_hex(4)}"


@pytest.fixture
def endpoint(temporal_server: DevServer, name: str) -> str:
    """A Nexus endpoint that leads to the task queue."""
    made = temporal_server.cli(
        "operator", "nexus", "endpoint", "create", "--name", f"{name}-prices",
        "--target-namespace", "default", "--target-task-queue", name,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return f"{name}-prices"


def start(
    server: DevServer, folder: Path, name: str, app: str, *flags: str, **more: str
) -> Command:
    """`rollout worker` with ``app``."""
    words = python(
        "rollout", "worker", "--build-id", "v1", "--strategy", "compatible", "--app", app,
        "--deployment", name, "--task-queue", name, *flags,
    )  # fmt: skip
    return Command(words, environ(server, PYTHONPATH=str(folder), **more), folder)


def noted(notes: Path) -> list[str]:
    """What the lifespan has noted."""
    return notes.read_text().split()


class TestEach:
    """One build that gives every option."""

    @pytest.fixture
    def notes(self, tmp_path: Path) -> Path:
        """Where its lifespan notes what happens to it."""
        return tmp_path / "notes"

    @pytest.fixture
    def own(
        self, temporal_server: DevServer, name: str, tmp_path: Path, notes: Path
    ) -> Iterator[Command]:
        """Its worker, in its place."""
        command = start(
            temporal_server, tmp_path, name, "tests.support.own_build",
            OWN_NOTES=str(notes), OWN_QUEUES=f"{name} {name}-second",
            OWN_CHARGES=f"{name}-charges",
        )  # fmt: skip
        try:
            settled(command)
            yield command
        finally:
            command.end()

    async def test_it_is_used(
        self, temporal_server: DevServer, name: str, own: Command, endpoint: str, notes: Path
    ) -> None:
        """Converter, interceptor, executor, sandbox, Nexus, both queues, and the lifespan."""
        client = await Client.connect(temporal_server.address, data_converter=CONVERTER)
        results = await asyncio.gather(
            *(
                client.execute_workflow(Buy.run, args=[n, endpoint], id=f"{queue}-{n}",
                                        task_queue=queue)
                for n in range(3) for queue in (name, f"{name}-second")
            )
        )  # fmt: skip
        for number, result in zip((0, 0, 1, 1, 2, 2), results, strict=True):
            assert result["charged"] == number
            assert result["doubled"] == 2 * number
            assert result["signed"] is True
            assert result["pool"] == "a pool"
            assert result["passed_through"] is True
            assert result["thread"].startswith("own-activities")
        history = await client.get_workflow_handle(f"{name}-1").fetch_history()
        inputs = history.events[0].workflow_execution_started_event_attributes.input.payloads
        assert {each.metadata["encoding"] for each in inputs} == {b"binary/encrypted"}

        # A task queue that the module gives an activity alone asks for no workflow tasks.
        assert await polled(client, f"{name}-charges") == {"ACTIVITY"}
        assert await polled(client, f"{name}-second") == {"WORKFLOW", "ACTIVITY"}

        assert noted(notes) == ["entered"]
        assert own.stop() == 0
        assert noted(notes) == ["entered", "left"]
        events = [line for line in own.log_file.read_text().splitlines() if '"stopped"' in line]
        assert events, "the worker had stopped when its lifespan was left"

    async def test_the_tuner(self, temporal_server: DevServer, name: str, own: Command) -> None:
        """Of the queue's activities one runs at a time, as the tuner has one slot for them."""
        client = await Client.connect(temporal_server.address, data_converter=CONVERTER)
        results = await asyncio.gather(
            *(
                client.execute_workflow(Buy.run, args=[n, ""], id=f"{name}-t{n}", task_queue=name)
                for n in range(4)
            )
        )
        assert {result["most_at_once"] for result in results} == {1}

    async def test_a_replay(self, temporal_server: DevServer, name: str, own: Command) -> None:
        """A replay decodes what the run was given, and compares what the code makes of it."""
        client = await Client.connect(temporal_server.address, data_converter=CONVERTER)
        handle = await client.start_workflow(Buy.run, args=[5, ""], id=f"{name}-r", task_queue=name)
        await handle.result()
        history = (await handle.fetch_history()).to_json_dict()
        assert own.stop() == 0
        same, dearer = (
            replayed(temporal_server, name, {"workflow_id": handle.id, "history": history}, tip)
            for tip in ("0", "1")
        )
        assert (same["ok"], same.get("drift"), same.get("left_out")) == (True, None, None)
        assert dearer["drift"].startswith("argument 1 of the activity charge is not what it was")


async def polled(client: Client, task_queue: str) -> set[str]:
    """For which kinds of tasks somebody asks on ``task_queue``."""
    kinds = ("WORKFLOW", "ACTIVITY")
    replies = [
        await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=task_queue),
                task_queue_type=TaskQueueType.Value(f"TASK_QUEUE_TYPE_{kind}"),
            )
        )
        for kind in kinds
    ]
    return {kind for kind, reply in zip(kinds, replies, strict=True) if reply.pollers}


def replayed(server: DevServer, name: str, line: object, tip: str) -> dict[str, Any]:
    """What the replay of the build says of one history."""
    done = subprocess.run(
        python("rollout", "worker", "--build-id", "v1", "--strategy", "compatible",
               "--deployment", name, "--app", "tests.support.own_build", "--replay"),
        input=json.dumps(line), env=environ(server, OWN_TIP=tip), cwd=ROOT,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


ACTIVITY = """
from contextlib import asynccontextmanager
from temporalio import activity

@activity.defn
async def pay() -> None: ...

ACTIVITIES = [pay]
"""


NO_KEY = """
def client_options():
    raise OSError("no key\\nin the vault")
"""
MISSPELT = """
def worker_options():
    return {"max_concurrent_activites": 5}
"""
TWO_NUMBERS = """
from temporalio.worker import WorkerTuner

def worker_options():
    return {"tuner": WorkerTuner.create_fixed(), "max_concurrent_activities": 5}
"""
NO_TEXT = """
def client_options():
    return {"tls": False, "api_key": 5}
"""
NO_DATABASE = """
@asynccontextmanager
async def lifespan():
    raise ConnectionError("the database is away")
    yield
"""
MISTAKES = [
    (NO_KEY, "{app}: client_options() failed: OSError: no key in the vault"),
    (
        MISSPELT,
        (
            "{app}: worker_options() gives 'max_concurrent_activites', which Worker does not "
            "take; did you mean max_concurrent_activities?"
        ),
    ),
    (TWO_NUMBERS, "{app} cannot be served: "),
    (NO_TEXT, "{app}: its client_options() cannot be used: TypeError: "),
    (NO_DATABASE, "{app}: lifespan() failed: ConnectionError: the database is away"),
]


class TestMistakes:
    """What is wrong is told in one line with exit code 2."""

    @pytest.mark.parametrize(("source", "message"), MISTAKES)
    def test_it_is_told(
        self, temporal_server: DevServer, name: str, tmp_path: Path, source: str, message: str
    ) -> None:
        """The module and the reason are named."""
        app = f"{name}_build"
        (tmp_path / f"{app}.py").write_text(ACTIVITY + source)
        command = start(temporal_server, tmp_path, name, app, LOG_FORMAT="console")
        try:
            eventually(lambda: command.returncode is not None, seconds=30)
            assert command.returncode == 2
            said = command.log_file.read_text().strip().splitlines()
            assert said[-1].startswith(f"rollout: {message.format(app=app)}")
            assert not any("Traceback" in line for line in said)
        finally:
            command.end()

    def test_a_lifespan_that_fails_when_it_is_left(
        self, temporal_server: DevServer, name: str, tmp_path: Path
    ) -> None:
        """The worker drains as ever, and then says what went wrong."""
        app = f"{name}_build"
        lifespan = "@asynccontextmanager\nasync def lifespan():\n    yield\n    1 / 0\n"
        (tmp_path / f"{app}.py").write_text(ACTIVITY + lifespan)
        command = start(temporal_server, tmp_path, name, app)
        try:
            settled(command)
            assert command.stop() == 2
            assert command.records("stopped")
            told = f"{app}: lifespan() failed when it was left: ZeroDivisionError: division by zero"
            assert command.records(told)
        finally:
            command.end()

    def test_a_lifespan_that_takes_long(
        self, temporal_server: DevServer, name: str, tmp_path: Path
    ) -> None:
        """SIGTERM interrupts it; it is not left, for it was never entered."""
        app = f"{name}_build"
        (tmp_path / f"{app}.py").write_text(
            ACTIVITY
            + "import asyncio\n@asynccontextmanager\nasync def lifespan():\n"
            + "    print('entering', flush=True)\n    await asyncio.sleep(3600)\n    yield\n"
        )
        command = start(temporal_server, tmp_path, name, app)
        try:
            eventually(lambda: "entering" in command.log_file.read_text(), seconds=30)
            assert command.stop() == 0
            assert not command.records("polling")
        finally:
            command.end()


_POOL = """
import multiprocessing, os
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from temporalio import activity, workflow
from temporalio.worker import SharedStateManager

@activity.defn
def where() -> int:
    return os.getpid()

@workflow.defn
class Pool:
    @workflow.run
    async def run(self) -> int:
        seconds = timedelta(seconds=20)
        return await workflow.execute_activity(where, start_to_close_timeout=seconds)

WORKFLOWS, ACTIVITIES = [Pool], [where]

def worker_options():
    shared = SharedStateManager.create_from_multiprocessing(multiprocessing.Manager())
    return {"activity_executor": ProcessPoolExecutor(2), "shared_state_manager": shared}
"""


async def test_a_pool_of_processes_ends_with_its_worker(
    temporal_server: DevServer, name: str, tmp_path: Path
) -> None:
    """None of them is left behind, nor the one by which they share their state."""
    (tmp_path / "pool_app.py").write_text(_POOL)
    command = start(temporal_server, tmp_path, name, "pool_app")
    try:
        settled(command)
        client = await Client.connect(temporal_server.address)
        pid = await client.execute_workflow("Pool", id=name, task_queue=name)
        children = psutil.Process(command.pid).children(recursive=True)
        assert {pid} < {each.pid for each in children}
        assert command.stop() == 0
        gone, left = psutil.wait_procs(children, timeout=5)
        assert (len(gone), left) == (len(children), [])
    finally:
        command.end()
