"""What runs do when the routing changes: pinned, auto-upgrading, the trampoline, unversioned."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from client.subscribe import as_text
from rollout.temporal.versions import version_metadata
from tests.support.runs import begun, builds, greet, order, see, settled
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually
from tests.support.worker_process import Command, environ, python, run, worker

pytestmark = pytest.mark.temporal

OWN = """
from datetime import timedelta
from temporalio import workflow
from temporalio.common import VersioningBehavior

def build():
    return workflow.info().get_current_deployment_version().build_id

@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Moving:
    @workflow.run
    async def run(self) -> list[str]:
        first = build()
        await workflow.sleep(timedelta(seconds=4))
        return [first, build()]

@workflow.defn
class Staying:
    @workflow.run
    async def run(self) -> list[str]:
        first = build()
        await workflow.sleep(timedelta(seconds=4))
        return [first, build()]

WORKFLOWS = [Moving, Staying]
"""


@pytest.fixture
def name() -> str:
    """A deployment and task queue of the test's own."""
    return f"b{secrets.token_hex(4)}"


@pytest.fixture
async def client(temporal_server: DevServer) -> Client:
    """A client of the shared server."""
    return await Client.connect(temporal_server.address)


@contextmanager
def own_worker(server: DevServer, folder: Path, name: str, build_id: str) -> Iterator[Command]:
    """A worker of `OWN`, whose strategy leaves runs that have begun where they are."""
    (folder / "own.py").write_text(OWN)
    words = python(
        "workers", "--app", "own", "--build-id", build_id, "--strategy", "incompatible",
        "--deployment", name, "--task-queue", name,
    )  # fmt: skip
    command = Command(words, environ(server, PYTHONPATH=str(folder)), folder)
    try:
        yield command
    finally:
        command.end()


class TestAutoUpgrade:
    """Runs that move to the build that new runs go to."""

    async def test_a_worker_of_them(
        self, temporal_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """With --behavior auto-upgrade an order moves, although its strategy leaves it alone."""
        flags = ("--behavior", "auto-upgrade")
        with worker(temporal_server, tmp_path, name, "v1", "incompatible", *flags) as v1:
            settled(v1)
            handle = await order(client, name, 10)
            await begun(client, name, "v1", 1)
            with worker(temporal_server, tmp_path, name, "v1.1", "incompatible", *flags) as v1_1:
                settled(v1_1)
                assert "v1.1" in builds(await handle.result())
        metadata = await version_metadata(client, name, "v1.1")
        assert metadata is not None
        assert metadata.behavior == "auto-upgrade"

    async def test_a_workflow_of_its_own_mind(
        self, temporal_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """One workflow of a build moves as its class says; the one beside it stays."""
        with (
            own_worker(temporal_server, tmp_path, name, "b1") as b1,
            own_worker(temporal_server, tmp_path, name, "b2") as b2,
        ):
            settled(b1)
            settled(b2)
            current = (await see(client, name)).current
            other = {"b1": "b2", "b2": "b1"}[str(current)]
            handles = {
                kind: await client.start_workflow(kind, id=f"{kind}-{name}", task_queue=name)
                for kind in ("Moving", "Staying")
            }
            await begun(client, name, str(current), 2)
            moved = temporal_server.cli(
                "worker", "deployment", "set-current-version", "--yes",
                "--deployment-name", name, "--build-id", other,
            )  # fmt: skip
            assert moved.returncode == 0, moved.stderr
            assert await handles["Moving"].result() == [current, other]
            assert await handles["Staying"].result() == [current, current]
        version = (await see(client, name)).version("b1")
        assert version.behavior == "pinned"
        assert version.behavior_exceptions == "Moving auto-upgrade"

    async def test_status_shows_a_workflow_of_its_own_mind(
        self, temporal_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """`rollout status` names the workflows that behave unlike the rest of their build."""
        rollout_toml = tmp_path / "rollout.toml"
        rollout_toml.write_text(f'[deployment]\nname = "{name}"\ntarget = "b1"\n')
        status = ("rollout", "--config", str(rollout_toml), "status")
        with own_worker(temporal_server, tmp_path, name, "b1") as b1:
            settled(b1)
            as_json = run(temporal_server, *status, "--json")
            shown = run(temporal_server, *status)
        assert as_json.returncode == 0, as_json.stderr
        (version,) = json.loads(as_json.stdout)["versions"]
        assert version["behavior"] == "pinned"
        assert version["behavior_exceptions"] == "Moving auto-upgrade"
        assert "b1 has workflows of their own behavior: Moving auto-upgrade" in shown.stdout

    @pytest.mark.parametrize("versioning", ["version-sets", "none"])
    def test_it_is_refused_where_it_would_hang(
        self, temporal_server: DevServer, tmp_path: Path, versioning: str
    ) -> None:
        """A class with a behavior needs a deployment's version: exit code 2 names the class."""
        (tmp_path / "own.py").write_text(OWN)
        words = ("--app", "own", "--build-id", "b1", "--strategy", "compatible")
        refused = run(
            temporal_server,
            *("workers", *words, "--versioning", versioning, "--check"),
            PYTHONPATH=str(tmp_path),
        )
        assert refused.returncode == 2
        assert refused.stderr == (
            f"workers: own: Moving cannot run with --versioning {versioning}: take "
            "versioning_behavior= out of @workflow.defn, or use --versioning deployment\n"
        )


class TestTrampoline:
    """The demo's long-lived workflow."""

    async def test_it_moves_to_the_new_build(
        self, temporal_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """A subscription begun on v1 goes on where it was on an incompatible v2, in one new run."""
        with worker(temporal_server, tmp_path, name, "v1", "compatible") as v1:
            settled(v1)
            words = ("client", "subscribe", "--task-queue", name, "--cycles", "16")
            subscribing = Command(python(*words), environ(temporal_server), tmp_path)
            try:
                pinned = await order(client, name, 10)
                await begun(client, name, "v1", 2)
                with worker(temporal_server, tmp_path, name, "v2", "incompatible") as v2:
                    settled(v2)
                    eventually(lambda: subscribing.returncode is not None, seconds=90)
            finally:
                subscribing.end()
            assert builds(await pinned.result()) == {"v1"}
        assert subscribing.returncode == 0
        begins = subscribing.records("subscription begins")[0]["workflow_id"]
        told = subscribing.log_file.read_text().splitlines()[-1]
        result = await client.get_workflow_handle(begins).result()
        assert told == as_text(result["builds"])
        assert len(result["builds"]) == 16
        moved_after = result["builds"].index("v2")
        assert result["builds"] == ["v1"] * moved_after + ["v2"] * (16 - moved_after)
        assert moved_after > 0
        runs = [run async for run in client.list_workflows(f"WorkflowId='{begins}'")]
        assert len(runs) == 2

    def test_no_cycles_are_told(self, temporal_server: DevServer) -> None:
        """The call is wrong: exit code 2."""
        result = run(temporal_server, "client", "subscribe", "--cycles", "0")
        assert result.returncode == 2
        assert "'0' is not a whole number from 1 up" in result.stderr

    def test_cycles_as_text(self) -> None:
        """Consecutive cycles of one build are one range."""
        assert as_text(["v1", "v1", "v2", "v1.1", "v1.1"]) == "v1 1-2, v2 3, v1.1 4-5"


def way_out(folder: Path, name: str) -> tuple[str, ...]:
    """The rollout command on a file of its own, whose target is v1.1."""
    text = f'[deployment]\nname = "{name}"\ntarget = "v1.1"\npace = "all-at-once"\n'
    (folder / "rollout.toml").write_text(text)
    return ("rollout", "--config", str(folder / "rollout.toml"))


def finished(controller: Command) -> bool:
    """Whether a controller has nothing left to do."""
    return any(plan["phase"] == "complete" for plan in controller.records("plan"))


class TestUnversioned:
    """The way into worker versioning, and out of it."""

    async def test_in_and_out(
        self, temporal_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """Unversioned to v1.1 to unversioned: new runs follow, and every run finishes."""
        none = ("--versioning", "none")
        with worker(temporal_server, tmp_path, name, "v1", "compatible", *none) as plain:
            eventually(lambda: plain.records("polling"), seconds=30)
            assert await greet(client, name) == "Hello from worker Build ID: v1!"
            assert not (await see(client, name)).exists
            before = await order(client, name, 12)

            with worker(temporal_server, tmp_path, name, "v1.1", "compatible") as v1_1:
                settled(v1_1)
                assert await greet(client, name) == "Hello from worker Build ID: v1.1!"
                # It has no version to be pinned to, so its next task goes where new runs go.
                assert "v1.1" in builds(await before.result())
                pinned = await order(client, name, 30)  # until the controller is through
                await begun(client, name, "v1.1", 1)

                rollout = way_out(tmp_path, name)
                said = run(temporal_server, *rollout, "to", "__unversioned__")
                assert said.returncode == 0, said.stderr
                controller = Command(python(*rollout, "run"), environ(temporal_server), tmp_path)
                try:
                    eventually(lambda: finished(controller), seconds=30)
                finally:
                    controller.end()
                assert await greet(client, name) == "Hello from worker Build ID: v1!"
                seen = await see(client, name)
                assert (seen.current, seen.ramping) == (None, None)
                assert seen.version("v1.1").status == "draining"
                assert v1_1.stop() == 0
            with worker(
                temporal_server, tmp_path, name, "v1.1", "compatible", "--managed"
            ) as again:
                eventually(lambda: again.records("declared"), seconds=30)
                assert (await see(client, name)).current is None
                assert builds(await pinned.result()) == {"v1.1"}
                assert await greet(client, name) == "Hello from worker Build ID: v1!"

    async def test_not_without_a_worker(
        self, temporal_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """The way out is refused where no unversioned worker polls, and changes nothing."""
        with worker(temporal_server, tmp_path, name, "v1", "compatible") as v1:
            settled(v1)
            said = run(temporal_server, *way_out(tmp_path, name), "to", "__unversioned__")
            assert said.returncode == 1
            assert f"no worker without a version polls {name}" in said.stderr
            assert 'target = "v1.1"' in (tmp_path / "rollout.toml").read_text()
            assert (await see(client, name)).current == "v1"

    def test_an_unknown_deployment(
        self, temporal_server: DevServer, name: str, tmp_path: Path
    ) -> None:
        """A deployment that no worker has named is told."""
        said = run(temporal_server, *way_out(tmp_path, name), "to", "__unversioned__")
        assert said.returncode == 1
        assert f"the server does not know deployment {name}" in said.stderr
