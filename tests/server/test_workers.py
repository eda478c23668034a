"""Worker processes against a real server: the strategies, the guard, draining, bad input."""

from __future__ import annotations

import secrets
import signal
import socket
from pathlib import Path

import pytest
from temporalio.client import Client

from rollout.temporal.versions import version_metadata
from tests.support.runs import begun, builds, finished_by, greet, order, see, settled
from tests.support.scrape import scrape
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually
from tests.support.worker_process import Command, environ, python, run, worker

pytestmark = pytest.mark.temporal


@pytest.fixture
def name() -> str:
    """A deployment and task queue of the test's own."""
    return f"w{secrets.token_hex(4)}"


@pytest.fixture
async def client(temporal_server: DevServer) -> Client:
    """A client of the shared server."""
    return await Client.connect(temporal_server.address)


class TestStrategies:
    """What happens to new runs and to those that have begun."""

    async def test_by_hand(
        self, temporal_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """v1, then a compatible v1.1 that takes over v1's orders, then an incompatible v2."""
        with worker(temporal_server, tmp_path, name, "v1", "compatible") as v1:
            settled(v1)
            assert await greet(client, name) == "Hello from worker Build ID: v1!"
            first = [await order(client, name, 12) for _ in range(3)]
            await begun(client, name, "v1", 3)

            with worker(temporal_server, tmp_path, name, "v1.1", "compatible") as v1_1:
                settled(v1_1)
                assert v1.stop() == 0
                assert await greet(client, name) == "Hello from worker Build ID: v1.1!"
                # v1 is gone: v1.1 takes them to their end, and sends the receipt that is new.
                for handle in first:
                    steps = [step["name"] for step in (await handle.result())["steps"]]
                    assert steps == ["reserve", "charge", "ship", "receipt"]
                    assert await finished_by(handle) == "v1.1"
                second = [await order(client, name, 12) for _ in range(3)]
                await begun(client, name, "v1.1", 3)

                with worker(temporal_server, tmp_path, name, "v2", "incompatible") as v2:
                    settled(v2)
                    assert await greet(client, name) == "Hello from worker Build ID: v2!"
                    seen = await see(client, name)
                    assert seen.version("v1.1").open_runs == 3
                    for handle in second:
                        assert builds(await handle.result()) == {"v1.1"}
                    third = await order(client, name, 1)
                    result = await third.result()
                    assert builds(result) == {"v2"}
                    assert [s["name"] for s in result["steps"]][1] == "inspect"

        sets = {v.build_id: v.version_set for v in (await see(client, name)).versions}
        assert sets == {"v1": "v1", "v1.1": "v1", "v2": "v2"}

    async def test_runs_wait_for_their_build(
        self, temporal_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """With v1 stopped too early its order waits, and ends on v1 once v1 is back."""
        with worker(temporal_server, tmp_path, name, "v1", "compatible") as v1:
            settled(v1)
            handle = await order(client, name, 3)
            await begun(client, name, "v1", 1)
            assert v1.stop() == 0
        with worker(temporal_server, tmp_path, name, "v2", "new-default-set") as v2:
            settled(v2)
            assert await greet(client, name) == "Hello from worker Build ID: v2!"
            assert (await see(client, name)).version("v1").open_runs == 1
            with worker(temporal_server, tmp_path, name, "v1", "compatible") as again:
                settled(again)
                assert builds(await handle.result()) == {"v1"}
                # A build that had its place keeps it: v1 is back, and changes no routing.
                assert again.records("keeping its place")
                assert (await see(client, name)).current == "v2"
                assert await greet(client, name) == "Hello from worker Build ID: v2!"

    async def test_managed_workers_only_declare(
        self, temporal_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """With --managed a worker writes its metadata and leaves the routing alone."""
        with worker(temporal_server, tmp_path, name, "v1", "compatible", "--managed") as v1:
            eventually(lambda: v1.records("declared"), seconds=30)
            seen = await see(client, name)
            metadata = await version_metadata(client, name, "v1")
            assert seen.current is None
            assert metadata is not None
            assert metadata.strategy == "compatible"
            assert len(metadata.fingerprint or "") == 16


class TestLife:
    """From connecting to the last activity."""

    async def test_draining_lets_activities_finish(
        self, temporal_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """SIGTERM in the middle of work ends with exit code 0, and no activity is tried twice."""
        with worker(temporal_server, tmp_path, name, "v1", "compatible") as v1:
            settled(v1)
            handles = [await order(client, name, 0) for _ in range(10)]
            assert v1.stop() == 0
            assert v1.records("stopped")
        with worker(temporal_server, tmp_path, name, "v1", "compatible"):
            for handle in handles:
                await handle.result()
                async for event in handle.fetch_history_events():
                    if event.HasField("activity_task_started_event_attributes"):
                        assert event.activity_task_started_event_attributes.attempt == 1

    def test_it_waits_for_temporal(self, name: str, tmp_path: Path) -> None:
        """A worker that starts before Temporal says so, goes on trying, and stops when told."""
        server = DevServer(tmp_path / "server")
        command = Command(
            python("workers", "--build-id", "v1", "--strategy", "compatible",
                   "--deployment", name, "--task-queue", name),
            environ(server),
            tmp_path,
        )  # fmt: skip
        try:
            eventually(lambda: len(command.records("waiting for Temporal")) >= 2, seconds=30)
            server.start()
            eventually(lambda: command.records("took its place"), seconds=30)
            assert command.stop(signal.SIGINT) == 0
        finally:
            command.end()
            server.stop()

    async def test_metrics_and_logs_carry_the_build(
        self, temporal_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """Every series has build id and deployment; workflow records have their ids."""
        port = free_port()
        flags = ("--metrics-port", str(port))
        with worker(temporal_server, tmp_path, name, "v2", "incompatible", *flags) as v2:
            settled(v2)
            handle = await order(client, name, 0)
            await handle.result()
            series = {
                labels
                for key, samples in scrape(port).items()
                if key.startswith("temporal_")
                for labels in samples
            }
            assert series
            for labels in series:
                assert {("build_id", "v2"), ("deployment_name", name)} <= labels
            record = v2.records("order inspected and shipped")[0]
            assert record["workflow_id"] == handle.id
            assert record["run_id"] == handle.first_execution_run_id
            assert record["workflow_type"] == "Order"
            assert record["service.name"] == "worker"
            assert record["service.version"] == "v2"
            assert record["deployment_name"] == name


class TestChangedCode:
    """A build id that comes back with other code."""

    def test_it_is_refused(self, temporal_server: DevServer, name: str, tmp_path: Path) -> None:
        """It ends with exit code 1, naming both fingerprints, and the override lets it in."""
        (tmp_path / "one.py").write_text(APP.format(word="one"))
        (tmp_path / "two.py").write_text(APP.format(word="two"))
        flags = (
            f"--deployment {name} --task-queue {name} --build-id b1 --strategy incompatible --app"
        )
        more = environ(temporal_server, PYTHONPATH=str(tmp_path))
        code = deployed(python("workers", *flags.split(), "one"), more, tmp_path)
        refused = run(temporal_server, "workers", *flags.split(), "two", PYTHONPATH=str(tmp_path))
        assert refused.returncode == 1
        assert f"build b1 was deployed with code {code}" in refused.stderr.splitlines()[-1]
        allowed = Command(
            python("workers", *flags.split(), "two", "--allow-changed-code"), more, tmp_path
        )
        try:
            settled(allowed)
        finally:
            allowed.end()

    def test_releases_that_are_installed(
        self, temporal_server: DevServer, name: str, tmp_path: Path
    ) -> None:
        """Two releases of one package, each in an environment of its own, are two codes as well."""
        flags = (
            f"--deployment {name} --task-queue {name} --build-id b1 --strategy incompatible "
            "--app shop.flows"
        )
        sites = []
        for release in ("a1b2c3d", "e4f5a6b"):
            site = tmp_path / release / "lib" / "python3" / "site-packages"
            (site / "shop").mkdir(parents=True)
            (site / "shop" / "__init__.py").write_text("")
            (site / "shop" / "flows.py").write_text(APP.format(word=release))
            # As in that environment's own Python: its packages are the installed ones.
            (site / "sitecustomize.py").write_text(SITE.format(site=str(site)))
            sites.append(str(site))
        more = environ(temporal_server, PYTHONPATH=sites[0])
        code = deployed(python("workers", *flags.split()), more, tmp_path)
        refused = run(temporal_server, "workers", *flags.split(), PYTHONPATH=sites[1])
        assert refused.returncode == 1
        said = refused.stderr.splitlines()[-1]
        assert f"build b1 was deployed with code {code}, and this is code " in said
        other = said.partition("this is code ")[2][:16]
        assert len({code, other, "e3b0c44298fc1c14"}) == 3


def deployed(command: list[str], environment: dict[str, str], folder: Path) -> str:
    """Run a worker until it is settled, and stop it; the fingerprint that it told of its code."""
    first = Command(command, environment, folder)
    try:
        settled(first)
        code = first.records("polling")[0]["code"]
        assert first.stop() == 0
    finally:
        first.end()
    return str(code)


SITE = """
import sysconfig

real = sysconfig.get_path
sysconfig.get_path = lambda name, *more: (
    {site!r} if name in ("purelib", "platlib") else real(name, *more)
)
"""

APP = """
from temporalio import workflow

@workflow.defn
class Own:
    @workflow.run
    async def run(self) -> str:
        return "{word}"

WORKFLOWS = [Own]
"""


class TestBadInput:
    """One line, a telling exit code, and nothing started."""

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            ("--strategy compatible", "workers: which build? give --build-id or BUILD_ID"),
            ("--build-id v1", "workers: which strategy? give --strategy or STRATEGY"),
            ("--build-id v9 --strategy compatible", "workers: unknown build 'v9'"),
            ("--build-id v1 --strategy blue", "workers: unknown strategy 'blue'"),
            (
                "--build-id v1 --strategy compatible --deployment a.b",
                "workers: deployment name 'a.b'",
            ),
            (
                "--build-id v1 --strategy compatible --metrics-port 99999",
                "workers: argument --metrics-port: '99999' is not a port",
            ),
            (
                "--build-id v1 --strategy compatible --drain 5",
                "workers: argument --drain: '5' is not a",
            ),
            ("--build-id v1 --strategy compatible --app no.such", "workers: --app no.such cannot"),
        ],
    )
    def test_it_is_told(self, temporal_server: DevServer, flags: str, message: str) -> None:
        """The call is wrong: exit code 2."""
        result = run(temporal_server, "workers", *flags.split())
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith(message)
        assert result.stderr.count("\n") == 1

    def test_a_taken_port_is_told(self, temporal_server: DevServer) -> None:
        """A metrics port that somebody holds is named: exit code 1."""
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            result = run(
                temporal_server,
                *("workers", "--build-id", "v1", "--strategy", "compatible"),
                *("--metrics-port", str(port)),
            )
        assert result.returncode == 1
        assert result.stderr == (
            f"workers: port {port} for metrics is taken; give another --metrics-port\n"
        )

    def test_flags_win_over_the_environment(self, temporal_server: DevServer) -> None:
        """BUILD_ID and STRATEGY are defaults: a flag beside them is what counts."""
        good = run(
            temporal_server,
            *("workers", "--build-id", "v1", "--strategy", "compatible", "--check"),
            BUILD_ID="v9",
            STRATEGY="blue",
        )
        assert (good.returncode, good.stderr) == (0, "")
        by_environment = run(
            temporal_server, "workers", "--check", BUILD_ID="v9", STRATEGY="compatible"
        )
        assert "unknown build 'v9'" in by_environment.stderr
