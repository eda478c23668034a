"""Real runs of real workers, replayed on the code of other builds."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console
from temporalio.client import Client, WorkflowHandle

import rollout.replay.verify
from rollout.base.exit import Failure
from rollout.base.last_words import sentence
from rollout.base.settings import ROOT
from rollout.replay.process import NoReplay, ReplayCommand, replay_command
from rollout.replay.verification import Replayed, Verification, as_json, render, summary
from rollout.replay.verify import movable_runs, try_move, verify, verify_build
from rollout.supervision.rpc import Supervisor
from tests.support.supervisord import PrivateSupervisord
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually, until
from tests.support.worker_process import Command, environ, python, worker

pytestmark = pytest.mark.temporal


@dataclass(frozen=True)
class Runs:
    """A deployment on whose v1 orders and greetings have begun, its worker stopped since."""

    server: DevServer
    name: str
    closed: frozenset[str]
    charged: frozenset[str]
    """Running orders that have taken their second step."""
    young: str
    """The newest order, asleep in its first step."""

    @property
    def orders(self) -> frozenset[str]:
        """The orders that v2's inspection comes too late for, running and closed."""
        return frozenset(each for each in self.closed | self.charged if "order" in each)

    def command(self, build_id: str, *flags: str, **more: str) -> ReplayCommand:
        """The replay on a build of the demo, or with ``--app`` on other code."""
        words = python(
            *("workers", "--build-id", build_id, "--strategy", "compatible"),
            *("--deployment", self.name, *flags, "--replay"),
        )
        return ReplayCommand(build_id, tuple(words), ROOT, environ(self.server, **more))


@pytest.fixture(scope="module")
def runs(temporal_server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Three closed runs and three open ones on v1."""
    name = f"y{secrets.token_hex(4)}"
    folder = tmp_path_factory.mktemp("verify")
    with worker(temporal_server, folder, name, "v1", "compatible") as v1:
        eventually(lambda: v1.records("took its place"), seconds=30)
        made = asyncio.run(begin(temporal_server, name))
        assert v1.stop() == 0
    return made


async def begin(server: DevServer, name: str) -> Runs:
    """Start the runs and wait until each is where it has to be."""
    client = await Client.connect(server.address)

    async def start(kind: str, *arguments: Any) -> WorkflowHandle[Any, Any]:
        workflow_id = f"{kind.lower()}-{secrets.token_hex(4)}"
        return await client.start_workflow(kind, args=arguments, id=workflow_id, task_queue=name)

    async def order(seconds: float) -> WorkflowHandle[Any, Any]:
        return await start("Order", {"order_id": "o", "seconds": seconds})

    closed = [await start("Greeting"), await start("Greeting"), await order(0)]
    charged = [await order(15), await order(15)]
    for handle in closed:
        await handle.result()
    for handle in charged:
        await scheduled(handle, 2)
    young = await order(900)
    await asleep(young)  # stopped between its tasks: a task under way would time out
    await listed(client, name, "v1", 6)
    return Runs(
        server,
        name,
        frozenset(handle.id for handle in closed),
        frozenset(handle.id for handle in charged),
        young.id,
    )


async def activities(handle: WorkflowHandle[Any, Any]) -> dict[int, str]:
    """The type of each activity that a run has scheduled, by event id."""
    found = {}
    async for event in handle.fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            scheduled = event.activity_task_scheduled_event_attributes
            found[event.event_id] = scheduled.activity_type.name
    return found


async def scheduled(handle: WorkflowHandle[Any, Any], count: int) -> None:
    """Wait until a run has scheduled ``count`` activities."""

    async def enough() -> bool:
        return len(await activities(handle)) >= count

    await until(enough)


async def asleep(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until a run has done its first activity, and waits on the timer after it."""

    async def timer_started() -> bool:
        events = handle.fetch_history_events()
        return any([event.HasField("timer_started_event_attributes") async for event in events])

    await until(timer_started)


async def listed(client: Client, name: str, build_id: str, count: int) -> None:
    """Wait until visibility has ``count`` runs of a build."""
    query = f"TemporalWorkerDeploymentVersion='{name}:{build_id}'"

    async def enough() -> bool:
        return (await client.count_workflows(query)).count >= count

    await until(enough)


@pytest.fixture
async def client(temporal_server: DevServer) -> Client:
    """A client of the shared server."""
    return await Client.connect(temporal_server.address)


def app(folder: Path, text: str) -> dict[str, str]:
    """The environment in which ``text`` can be imported as the module `own`."""
    (folder / "own.py").write_text(APP + text)
    return {"PYTHONPATH": str(folder)}


APP = """
import asyncio
import time
from datetime import timedelta

from temporalio import activity, workflow

async def do(name, *arguments):
    await workflow.execute_activity(
        name, args=arguments, start_to_close_timeout=timedelta(seconds=5)
    )

"""

ORDER = """
@workflow.defn(name="Order")
class Order:
    @workflow.run
    async def run(self, order: dict) -> None:
{body}

WORKFLOWS = [Order]
"""


def order(*lines: str) -> str:
    """An app whose orders do ``lines``."""
    return ORDER.format(body="\n".join(f"        {line}" for line in lines))


class TestVerify:
    """Which runs break, and where."""

    async def test_a_compatible_build(self, client: Client, runs: Runs) -> None:
        """Every run of v1 replays on v1.1, running and closed, of each type."""
        found = await verify(client, runs.name, "v1", runs.command("v1.1"), 20)
        assert found.passed
        assert {run.workflow_id for run in found.runs} == runs.closed | runs.charged | {runs.young}
        assert {run.workflow_type for run in found.runs} == {"Greeting", "Order"}
        assert summary(found) == "passed: 6 runs of v1 replay on v1.1"

    async def test_an_incompatible_build(self, client: Client, runs: Runs) -> None:
        """v2 breaks each order that was charged, at the event where it would inspect it."""
        found = await verify(client, runs.name, "v1", runs.command("v2"), 20)
        assert not found.passed
        assert {run.workflow_id for run in found.broken} == runs.orders
        assert len(found.runs) == 6
        for run in found.broken:
            handle = client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
            assert run.event_id is not None
            assert (await activities(handle))[run.event_id] == "charge"
            assert run.error == (
                "Nondeterminism error: Activity type of scheduled event 'charge' does not match "
                "activity type of activity command 'inspect'"
            )
        first = found.broken[0]
        assert summary(found).startswith(
            f"{first.workflow_id} (Order) breaks on v2 at event {first.event_id}: Nondeterminism"
        )
        assert summary(found).endswith("(3 of 6 runs break)")

    async def test_the_sample(self, client: Client, runs: Runs) -> None:
        """Half of a sample is running, half closed, and in turn of each type."""
        found = await verify(client, runs.name, "v1", runs.command("v1.1"), 4)
        ids = {run.workflow_id for run in found.runs}
        assert len(ids & (runs.charged | {runs.young})) == 2
        assert {run.workflow_type for run in found.runs if run.workflow_id in runs.closed} == {
            "Greeting",
            "Order",
        }

    async def test_a_type_that_is_not_offered(
        self, client: Client, runs: Runs, tmp_path: Path
    ) -> None:
        """A run of a workflow that the build does not have breaks, and the type is named."""
        text = order("pass").replace('name="Order"', 'name="Other"')
        command = runs.command("b1", "--app", "own", **app(tmp_path, text))
        found = await verify(client, runs.name, "v1", command, 20)
        assert len(found.broken) == 6
        assert {(run.event_id, run.error) for run in found.broken} == {
            (None, "own offers no workflow Order"),
            (None, "own offers no workflow Greeting"),
        }

    async def test_no_runs(self, client: Client, runs: Runs) -> None:
        """Where the build has no run nothing is replayed, and that is said."""
        found = await verify(client, runs.name, "v0", runs.command("v1.1"), 20)
        assert (found.passed, found.runs) == (True, ())
        assert summary(found) == "passed: v0 has no run to replay on v1.1"

    async def test_a_long_history(
        self, client: Client, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A history that is too long is left out, and that is said."""
        monkeypatch.setattr(rollout.replay.verify, "MAX_EVENTS", 20)
        found = await verify(client, runs.name, "v1", runs.command("v1.1"), 20)
        replayed = {run.workflow_id for run in found.runs}
        left_out = {reason.split()[0] for reason in found.left_out}
        assert {run.workflow_type for run in found.runs} == {"Greeting", "Order"}
        assert left_out
        assert replayed.isdisjoint(left_out)
        assert len(replayed) + len(left_out) == 6
        assert found.left_out[0].endswith("(Order): longer than 20 events")
        assert summary(found).endswith("left out")


class TestEvents:
    """The event is named, however the SDK tells it."""

    @pytest.mark.parametrize(
        ("body", "outcome"),
        [
            pytest.param(
                'await do("pay")',
                "5 Nondeterminism error: Activity type of scheduled event 'reserve' does not "
                "match activity type of activity command 'pay'",
                id="no event",
            ),
            pytest.param(
                "await asyncio.sleep(1)",
                "5 Nondeterminism error: Timer machine does not handle this event: "
                "ActivityTaskScheduled",
                id="id and type",
            ),
            pytest.param(
                'await do("reserve", "o"); await workflow.execute_child_workflow("Kid")',
                "11 Nondeterminism error: Child workflow machine does not handle this event: "
                "TimerStarted",
                id="the whole event",
            ),
            pytest.param(
                'await do("reserve", "o"); raise KeyError("no such step")',
                "9 the workflow code raises KeyError: 'no such step'",
                id="the code fails",
            ),
        ],
    )
    async def test_it_is_named(
        self, client: Client, runs: Runs, tmp_path: Path, body: str, outcome: str
    ) -> None:
        """Orders break at the event that the code does not fit."""
        command = runs.command("b1", "--app", "own", **app(tmp_path, order(*body.split("; "))))
        found = await verify(client, runs.name, "v1", command, 20)
        orders = [run for run in found.runs if run.workflow_type == "Order"]
        assert len(orders) == 4
        assert {f"{run.event_id} {run.error}" for run in orders} == {outcome}


class TestMove:
    """Which running runs another build can go on with."""

    async def test_exactly_those_that_pass(self, client: Client, runs: Runs) -> None:
        """Of v1's running orders v2 can take the one that is not charged yet."""
        found = await movable_runs(client, runs.name, "v1", runs.command("v2"), 100)
        assert [workflow_id for workflow_id, _ in found.movable] == [runs.young]
        assert {run.workflow_id for run in found.broken} == runs.charged
        compatible = await movable_runs(client, runs.name, "v1", runs.command("v1.1"), 100)
        assert {workflow_id for workflow_id, _ in compatible.movable} == (
            runs.charged | {runs.young}
        )

    async def test_one_is_tried_first(self, client: Client, runs: Runs, tmp_path: Path) -> None:
        """Where the first run of a type breaks, the others of its type are not tried."""
        command = runs.command("b1", "--app", "own", **app(tmp_path, order("await do('pay')")))
        found = await movable_runs(client, runs.name, "v1", command, 100)
        assert [run.workflow_id for run in found.runs] == [runs.young]
        assert found.movable == ()
        assert len(found.left_out) == 2
        assert found.left_out[0].endswith("(Order): another run of its type breaks")


def replay(command: ReplayCommand, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run a replay by hand."""
    return subprocess.run(
        command.words,
        cwd=command.cwd,
        env=dict(command.environ),
        input="\n".join([*lines, ""]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


TOLD = """
@activity.defn
async def hear(*what: str) -> None:
    print("heard", what)

@workflow.defn
class Told:
    @workflow.run
    async def run(self) -> None:
        print("running")
        info = workflow.info()
        version = info.get_current_deployment_version()
        await do("hear", info.task_queue, info.namespace, version.build_id)

WORKFLOWS, ACTIVITIES = [Told], [hear]
print("imported")
"""


class TestReplay:
    """The replay itself, ``python -m workers --replay``."""

    async def test_a_run_is_told_what_it_was_told(
        self, client: Client, temporal_server: DevServer, tmp_path: Path
    ) -> None:
        """Queue, namespace and build are those of the history; what is printed does no harm."""
        name = f"y{secrets.token_hex(4)}"
        own = app(tmp_path, TOLD)
        flags = f"--strategy compatible --app own --deployment {name} --task-queue {name}".split()
        words = python("workers", "--build-id", "b1", *flags)
        b1 = Command(words, environ(temporal_server, **own), tmp_path)
        try:
            eventually(lambda: b1.records("took its place"), seconds=30)
            await client.execute_workflow(
                "Told",
                id=f"told-{name}",
                task_queue=name,
                execution_timeout=timedelta(seconds=30),
            )
            await listed(client, name, "b1", 1)
        finally:
            b1.end()
        runs = Runs(temporal_server, name, frozenset(), frozenset(), "")
        found = await verify(client, name, "b1", runs.command("b2", "--app", "own", **own), 20)
        assert [(run.ok, run.error) for run in found.runs] == [(True, None)]

    async def test_a_task_under_way(self, client: Client, runs: Runs, tmp_path: Path) -> None:
        """A task that no build has completed is the new build's, as it will be in its worker."""
        own = app(
            tmp_path,
            order(
                'await do("reserve", "o")',
                "version = workflow.info().get_current_deployment_version()",
                "raise RuntimeError(version.to_canonical_string())",
            ),
        )
        history = await client.get_workflow_handle(runs.young).fetch_history()
        events = history.to_json_dict()["events"]
        assert events[8]["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_STARTED"
        lines = [
            json.dumps({"workflow_id": "o", "history": {"events": events[:length]}})
            for length in (1, 9)
        ]
        done = replay(runs.command("b1", "--app", "own", **own), *lines)
        outcomes = [json.loads(line) for line in done.stdout.splitlines()]
        # Nothing has run yet in the first; in the second the activity has just been done.
        assert [(each["event_id"], each["error"]) for each in outcomes] == [
            (None, None),
            (9, f"the workflow code raises RuntimeError: {runs.name}.b1"),
        ]

    @pytest.mark.parametrize("line", ["{", "[]", "{}", '{"workflow_id": "a", "history": {}}'])
    def test_bad_input(self, runs: Runs, line: str) -> None:
        """A line that is not a history is named: exit code 2, and nothing on stdout."""
        done = replay(runs.command("v1"), "", line)
        assert (done.returncode, done.stdout) == (2, "")
        told = str(sentence(done.stderr))
        assert told.startswith("line 2 of the input is not a history: ")
        assert done.stderr.count("\n") == 1

    async def test_code_that_cannot_be_tried(self, client: Client, runs: Runs) -> None:
        """A worker that refuses its flags is one sentence, with the worker's reason."""
        with pytest.raises(Failure, match=r"^the code of v9 cannot be tried: unknown build 'v9'"):
            await verify(client, runs.name, "v1", runs.command("v9"), 20)

    async def test_a_python_that_is_not_there(self, client: Client, runs: Runs) -> None:
        """A command that cannot be started is one sentence."""
        command = replace(runs.command("v1.1"), words=("/no/such/python", "-m", "workers"))
        with pytest.raises(Failure, match=r"^the code of v1.1 cannot be tried: .*/no/such/python"):
            await verify(client, runs.name, "v1", command, 20)

    async def test_code_that_hangs(self, client: Client, runs: Runs, tmp_path: Path) -> None:
        """A replay that takes too long is ended, and says so."""
        command = runs.command("b1", "--app", "own", **app(tmp_path, "time.sleep(600)"))
        with pytest.raises(Failure, match=r"^the replay on b1 took longer than 2 s; try a smaller"):
            await verify(client, runs.name, "v1", replace(command, timeout=2), 20)
        marks = [each.environ().get("PYTHONPATH") for each in psutil.Process().children()]
        assert str(tmp_path) not in marks


@pytest.fixture
def supervisord(monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateSupervisord]:
    """A supervisord of the test's own, to which commands speak."""
    made = PrivateSupervisord()
    monkeypatch.setenv("SUPERVISOR_SERVER_URL", f"unix://{made.socket}")
    yield made
    made.stop()


class TestCommand:
    """Where the code of a build is found."""

    async def test_the_program_in_supervisord(
        self,
        client: Client,
        runs: Runs,
        supervisord: PrivateSupervisord,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        """The program's Python, folder and variables are the replay's; another build is refused."""
        own = app(tmp_path, order('await do("pay")'))
        flags = f"--strategy compatible --managed --deployment {runs.name} --app ${{CODE:-none}}"
        launcher = f"{python()[0]} -m rollout launch --env CODE=${{NAME_OF_IT}}"
        supervisord.configure(
            "some-worker",
            f"command = {launcher} python -m workers --build-id b1 {flags}",
            f"directory = {ROOT}",
            "autostart = false",
        )
        supervisord.start()
        monkeypatch.setenv("NAME_OF_IT", "own")
        monkeypatch.setenv("PYTHONPATH", own["PYTHONPATH"])
        found = await verify_build(client, runs.name, "v1", "b1", 20)
        orders = {run.event_id for run in found.broken if run.workflow_type == "Order"}
        assert (found.target, orders) == ("b1", {5})
        assert (await try_move(client, runs.name, "v1", "b1")).movable == ()
        with pytest.raises(Failure, match=f"^no program here runs v7 of {runs.name}, so that"):
            await verify_build(client, runs.name, "v1", "v7", 20)

    async def test_a_command_of_its_own(
        self,
        client: Client,
        runs: Runs,
        supervisord: PrivateSupervisord,
        tmp_path: Path,
    ) -> None:
        """Any program is replayed by what it names, in its folder; without a name it is untried."""
        app(tmp_path, order('await do("pay")'))
        (tmp_path / "replay").write_text(
            f'#!/bin/sh\nexec {python()[0]} -m rollout replay --app "$1"\n'
        )
        (tmp_path / "replay").chmod(0o755)
        named = f'TEMPORAL_DEPLOYMENT_NAME="{runs.name}",TEMPORAL_WORKER_BUILD_ID'
        told = f'PYTHONPATH="{ROOT}",ROLLOUT_REPLAY="./replay own"'
        for build_id, more in (("b1", f",{told}"), ("b2", "")):
            supervisord.configure(
                f"foreign-{build_id}",
                "command = sleep 600",
                f"directory = {tmp_path}",
                "autostart = false",
                f'environment = {named}="{build_id}"{more}',
            )
        supervisord.start()
        command = await replay_command(runs.name, "b1")
        assert command.words == ("./replay", "own")
        found = await verify(client, runs.name, "v1", command, 20)
        orders = {run.event_id for run in found.broken if run.workflow_type == "Order"}
        assert (found.target, orders) == ("b1", {5})
        untried = await verify_build(client, runs.name, "v1", "b2", 20)
        assert (untried.passed, untried.runs) == (False, ())
        assert summary(untried) == (
            "b2 has no replay command, so that its code cannot be tried: name one with "
            "`rollout add --replay`, or as ROLLOUT_REPLAY in the environment of foreign-b2"
        )
        with pytest.raises(NoReplay):
            await try_move(client, runs.name, "v1", "b2")

    async def test_the_files_where_supervisord_is_away(self, tmp_path: Path) -> None:
        """Without a supervisord the program files tell the command."""
        away = Supervisor(tmp_path / "no.sock")
        command = await replay_command("greetings", "v2", away, {"PATH": ""})
        assert command.words[1:5] == ("-m", "workers", "--build-id", "v2")
        assert command.words[-3:] == ("--metrics-port", "9102", "--replay")
        assert command.cwd.resolve() == ROOT
        with pytest.raises(Failure, match=r"^no program here runs v9 of greetings"):
            await replay_command("greetings", "v9", away)


class TestWords:
    """What is said of an outcome."""

    FOUND = Verification(
        "v1",
        "v2",
        (
            Replayed("order-1", "r1", "Order", ok=False, event_id=16, error="it does not fit"),
            Replayed("greeting-1", "r2", "Greeting", ok=True),
        ),
        ("order-2 (Order): longer than 10000 events",),
    )

    def test_summary(self) -> None:
        """One line names the first run that breaks, the event, the count and what was left out."""
        assert summary(self.FOUND) == (
            "order-1 (Order) breaks on v2 at event 16: it does not fit (1 of 2 runs break); "
            "1 run left out"
        )
        one = replace(self.FOUND, runs=self.FOUND.runs[:1], left_out=())
        assert summary(one) == "order-1 (Order) breaks on v2 at event 16: it does not fit"

    def test_json(self) -> None:
        """Scripts get each run, the verdict, and what was left out."""
        parsed = json.loads(json.dumps(as_json(self.FOUND)))
        assert (parsed["source"], parsed["target"], parsed["passed"]) == ("v1", "v2", False)
        assert parsed["runs"][0] == {
            "workflow_id": "order-1",
            "run_id": "r1",
            "workflow_type": "Order",
            "ok": False,
            "event_id": 16,
            "error": "it does not fit",
            "drift": None,
        }
        assert parsed["left_out"] == ["order-2 (Order): longer than 10000 events"]

    def test_rendered(self) -> None:
        """A person gets the count of each type and every run that breaks."""
        console = Console(width=80, record=True, color_system=None)
        console.print(render(self.FOUND))
        text = console.export_text()
        assert "Order            1      1" in text
        assert "Greeting         1      0" in text
        assert "- order-1 (Order) breaks on v2 at event 16: it does not fit" in text
        assert "! order-2 (Order): longer than 10000 events" in text
