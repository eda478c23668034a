"""The exporter as supervisord's event listener, and against a Temporal server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rollout.base.exit import Failure
from rollout.base.settings import ROOT
from rollout.supervision.rpc import NotRunning, Supervisor
from tests.support.demo_worker import demo_worker
from tests.support.scrape import Series, labels, scrape
from tests.support.supervisord import PrivateSupervisord
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually

SLEEP = "command = sleep 1000"
AT_ONCE = "startsecs = 0"
BY_HAND = "autostart = false"


class Exporter:
    """A supervisord of its own that runs the exporter as its event listener."""

    def __init__(self, supervisord: PrivateSupervisord, port: int) -> None:
        self.supervisord = supervisord
        self.port = port

    def series(self) -> Series:
        """What the exporter serves now."""
        return scrape(self.port)

    def starts(self, name: str) -> float:
        """Counted starts of the program ``name``."""
        return self.series()["supervisord_process_starts_total"][labels(name=name, group=name)]

    def exits(self, name: str, expected: str) -> float:
        """Counted exits of the program ``name``."""
        counted = self.series()["supervisord_process_exits_total"]
        return counted[labels(name=name, group=name, expected=expected)]

    def state(self, name: str) -> set[str]:
        """The states that the program ``name`` is said to be in."""
        found = self.series()["supervisord_process_state"]
        there = {"name": name, "group": name}.items()
        return {dict(key)["state"] for key, value in found.items() if value and there <= key}

    def is_now(self, name: str, state: str) -> bool:
        """Whether ``name`` is in that state; for `eventually`, which tells which it was in."""
        found = self.state(name)
        assert found == {state}
        return True

    def targets(self, file: str) -> list[dict[str, Any]]:
        """What ``file`` tells Prometheus to scrape."""
        groups = json.loads((self.supervisord.folder / "targets" / file).read_text("utf-8"))
        assert isinstance(groups, list)
        return groups


@contextmanager
def supervised_exporter(temporal_address: str, config: Path) -> Iterator[Exporter]:
    """Run a supervisord with an exporter, ready to be asked."""
    port = free_port()
    supervisord = PrivateSupervisord(environ={"TEMPORAL_ADDRESS": temporal_address})
    supervisord.configure(
        "exporter",
        f"command = {sys.executable} -m metrics --port {port} --config {config}"
        f" --targets {supervisord.folder}/targets",
        f"directory = {ROOT}",
        "events = PROCESS_STATE,PROCESS_GROUP",
        "buffer_size = 1024",
        "priority = 10",
        "autorestart = true",
        "stdout_logfile = NONE",
        f"stderr_logfile = {supervisord.folder}/exporter.log",
        kind="eventlistener",
    )
    supervisord.configure("steady", SLEEP, AT_ONCE)
    supervisord.configure(
        "crash", "command = sh -c 'exit 3'", AT_ONCE, BY_HAND, "autorestart = false"
    )
    supervisord.configure(
        "short", "command = sh -c 'exit 0'", "startsecs = 1", "startretries = 1", BY_HAND
    )
    exporter = Exporter(supervisord, port)
    supervisord.start()
    try:
        eventually(lambda: exporter.is_now("steady", "running"))
        yield exporter
    finally:
        supervisord.stop()


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    """One exporter for the tests that need no Temporal server."""
    with supervised_exporter(f"127.0.0.1:{free_port()}", ROOT / "rollout.toml") as running:
        yield running


def worker_command(build_id: str, port: int) -> str:
    """A program that supervisord's configuration takes for a worker, and that only sleeps."""
    stand_in = "sh -c 'exec sleep 1000' python -m workers"
    return f"command = {stand_in} --build-id {build_id} --metrics-port {port}"


class TestProcesses:
    """What is served of supervisord's processes."""

    def test_starts_before_the_exporter_was_up_are_counted(self, exporter: Exporter) -> None:
        """Events from supervisord's own start are kept for the exporter, its own included."""
        eventually(lambda: exporter.starts("steady") == 1)
        eventually(lambda: exporter.starts("exporter") == 1)
        assert exporter.starts("crash") == 0

    def test_a_crash_is_an_unexpected_exit_with_its_status(self, exporter: Exporter) -> None:
        """A program that ends with a status it should not have counts as expected=false."""
        exporter.supervisord.ctl("start", "crash")
        eventually(lambda: exporter.is_now("crash", "exited"))
        eventually(lambda: exporter.exits("crash", "false") == 1)
        status = exporter.series()["supervisord_process_exit_status"]
        assert status[labels(name="crash", group="crash")] == 3
        assert exporter.exits("crash", "true") == 0

    def test_each_try_that_ends_too_soon_is_a_start_and_an_exit(self, exporter: Exporter) -> None:
        """A program that never stays up counts a start and an exit a try, and turns fatal."""
        exporter.supervisord.ctl("start", "short")
        eventually(lambda: exporter.is_now("short", "fatal"))
        eventually(lambda: exporter.exits("short", "false") == 2)
        assert exporter.starts("short") == 2

    def test_a_stop_by_hand_is_an_expected_exit(self, exporter: Exporter) -> None:
        """`supervisorctl stop` shows as stopped and as an exit that was expected."""
        exporter.supervisord.configure("halted", SLEEP, AT_ONCE)
        exporter.supervisord.ctl("update", "halted")
        exporter.supervisord.ctl("stop", "halted")
        eventually(lambda: exporter.is_now("halted", "stopped"))
        eventually(lambda: exporter.exits("halted", "true") == 1)
        exporter.supervisord.ctl("start", "halted")
        eventually(lambda: exporter.is_now("halted", "running"))
        eventually(lambda: exporter.starts("halted") == 2)
        assert exporter.exits("halted", "false") == 0

    def test_a_burst_of_events_is_counted_to_the_last(self, exporter: Exporter) -> None:
        """200 state changes at once, of processes with names beyond ASCII, lose not one."""
        exporter.supervisord.configure(
            "crowd",
            SLEEP,
            AT_ONCE,
            BY_HAND,
            "numprocs = 50",
            "process_name = grüße-%(process_num)d",
        )
        exporter.supervisord.ctl("update", "crowd")
        exporter.supervisord.ctl("start", "crowd:*")
        exporter.supervisord.ctl("stop", "crowd:*")

        def counted(name: str, **more: str) -> dict[float, int]:
            found = exporter.series()[name]
            values = [
                value
                for key, value in found.items()
                if {"group": "crowd", **more}.items() <= dict(key).items()
            ]
            return {value: values.count(value) for value in values}

        eventually(lambda: counted("supervisord_process_starts_total") == {1.0: 50})
        eventually(lambda: counted("supervisord_process_exits_total", expected="true") == {1.0: 50})
        assert counted("supervisord_process_exits_total", expected="false") == {0.0: 50}
        exporter.supervisord.forget("crowd")
        exporter.supervisord.ctl("update", "crowd")
        eventually(lambda: counted("supervisord_process_starts_total") == {})

    def test_a_killed_exporter_comes_back_and_tells_of_it(self, exporter: Exporter) -> None:
        """After kill -9 supervisord starts it again, and it counts its own exit and starts.

        Its starts go on from where they were: a counter that began anew would never show one.
        """
        assert exporter.starts("exporter") == 1
        before = exporter.supervisord.pid("exporter")
        os.kill(before, signal.SIGKILL)
        eventually(lambda: exporter.supervisord.pid("exporter") not in (0, before))
        eventually(lambda: exporter.exits("exporter", "false") == 1)
        assert exporter.starts("exporter") == 2
        assert exporter.series()["supervisord_up"] == {labels(): 1}


class TestTargets:
    """The files that Prometheus discovers its targets in."""

    def test_targets_follow_what_is_loaded(self, exporter: Exporter) -> None:
        """A worker appears with `update`, stays while it is stopped, and goes when removed."""
        exporter.supervisord.configure("worker-v7", worker_command("v7", 29107), AT_ONCE)
        exporter.supervisord.ctl("update", "worker-v7")
        expected = [
            {
                "targets": ["127.0.0.1:29107"],
                "labels": {
                    "job": "worker",
                    "build_id": "v7",
                    "deployment_name": "greetings",
                    "program": "worker-v7",
                },
            }
        ]
        eventually(lambda: exporter.targets("workers.json") == expected, seconds=20)
        exporter.supervisord.ctl("stop", "worker-v7")
        eventually(lambda: exporter.is_now("worker-v7", "stopped"))
        assert exporter.targets("workers.json") == expected
        exporter.supervisord.ctl("remove", "worker-v7")
        eventually(lambda: exporter.targets("workers.json") == [], seconds=20)

    def test_the_exporter_is_a_target_itself(self, exporter: Exporter) -> None:
        """stack.json lists the exporter on the port it was given."""
        address = f"127.0.0.1:{exporter.port}"
        assert exporter.targets("stack.json") == [
            {"targets": [address], "labels": {"job": "exporter", "program": "exporter"}}
        ]
        assert exporter.targets("alertmanagers.json") == []


class TestSupervisor:
    """The client that asks supervisord."""

    async def test_refusals_are_sentences(self, exporter: Exporter) -> None:
        """A name that supervisord does not know is named in the failure."""
        with pytest.raises(Failure, match="no program named 'nobody'"):
            await exporter.supervisord.rpc.start("nobody")

    async def test_starting_and_stopping_twice_is_fine(self, exporter: Exporter) -> None:
        """What is already as asked is no failure."""
        rpc = exporter.supervisord.rpc
        for _ in range(2):
            await rpc.stop("steady", wait=True)
        stopped = await rpc.process("steady")
        assert (stopped.state, stopped.pid) == ("STOPPED", None)
        for _ in range(2):
            await rpc.start("steady", wait=True)
        assert (await rpc.process("steady")).state == "RUNNING"

    async def test_update_adds_changes_and_removes_one_group(self, exporter: Exporter) -> None:
        """`update` makes one group as the files say, and says whether anything differed."""
        rpc = exporter.supervisord.rpc
        exporter.supervisord.configure("guest", SLEEP, AT_ONCE)
        assert await rpc.update("guest")
        first = (await rpc.process("guest")).pid
        assert not await rpc.update("guest")
        assert (await rpc.process("guest")).pid == first
        exporter.supervisord.configure("guest", "command = sleep 2000", AT_ONCE)
        assert await rpc.update("guest")
        assert (await rpc.process("guest")).pid != first
        exporter.supervisord.forget("guest")
        assert await rpc.update("guest")
        assert "guest" not in {process.name for process in await rpc.processes()}

    async def test_nobody_on_the_socket_is_said_with_what_to_do(self, tmp_path: Path) -> None:
        """Without supervisord the failure names the socket and `make up`."""
        with pytest.raises(NotRunning, match=r"not running \(.*none.sock\).*make up"):
            await Supervisor(tmp_path / "none.sock").processes()

    async def test_a_silent_supervisord_is_given_up(self, tmp_path: Path) -> None:
        """A socket that takes the call and never answers ends it after the timeout."""
        path = tmp_path / "mute.sock"
        with socket.socket(socket.AF_UNIX) as mute:
            mute.bind(str(path))
            mute.listen()
            with pytest.raises(NotRunning, match="does not answer"):
                await Supervisor(path, timeout=0.2).processes()


@asynccontextmanager
async def unsupervised_exporter(address: str, config: Path) -> AsyncIterator[int]:
    """Run the exporter by hand, and give its port; it must end on SIGTERM within 5 s."""
    port = free_port()
    environ = {key: value for key, value in os.environ.items() if key != "SUPERVISOR_SERVER_URL"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "metrics", "--port", str(port)),
        *("--config", str(config), "--targets", str(config.parent / "targets")),
        cwd=ROOT,
        env={**environ, "TEMPORAL_ADDRESS": address},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield port
        process.terminate()
        output, _ = await asyncio.wait_for(process.communicate(), 5)
        assert (process.returncode, output) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.temporal
class TestDeployment:
    """What is served of a deployment on a real server."""

    async def test_versions_are_served_and_a_broken_file_changes_nothing(
        self, temporal_server: DevServer, tmp_path: Path
    ) -> None:
        """A polling build shows as current with all new runs, though rollout.toml breaks."""
        config = tmp_path / "rollout.toml"
        config.write_text('[deployment]\nname = "exported"\ntarget = "v1"\n')
        version = {"namespace": "default", "deployment_name": "exported", "build_id": "v1"}
        async with (
            demo_worker(temporal_server.address, "exported"),
            unsupervised_exporter(temporal_server.address, config) as port,
        ):

            def is_current() -> bool:
                found = scrape(port)
                status = found["temporal_worker_deployment_version_status"]
                share = found["temporal_worker_deployment_version_target_ratio"]
                return bool(
                    status[labels(**version, status="current")] and share[labels(**version)] == 1
                )

            def observed() -> float:
                name = "temporal_worker_deployment_last_observation_time_seconds"
                return scrape(port)[name][labels(deployment_name="exported")]

            await asyncio.to_thread(eventually, is_current)
            config.write_text('[deployment]\nname = "exported\n')
            broken = observed()
            await asyncio.to_thread(eventually, lambda: observed() > broken + 2)
            assert is_current()

    async def test_temporal_going_away_and_coming_back_shows(self, tmp_path: Path) -> None:
        """`up` follows the server, and the exporter serves on without it."""
        config = tmp_path / "rollout.toml"
        config.write_text('[deployment]\nname = "away"\ntarget = "v1"\n')
        server = DevServer(tmp_path)

        def is_up(port: int) -> bool:
            return (
                scrape(port)["temporal_worker_deployment_up"][labels(deployment_name="away")] == 1
            )

        async with unsupervised_exporter(server.address, config) as port:
            await asyncio.to_thread(eventually, lambda: not is_up(port))
            try:
                await asyncio.to_thread(server.start)
                await asyncio.to_thread(eventually, lambda: is_up(port), seconds=30)
                server.kill()
                await asyncio.to_thread(eventually, lambda: not is_up(port))
                await asyncio.to_thread(server.start)
                await asyncio.to_thread(eventually, lambda: is_up(port), seconds=30)
            finally:
                server.stop()
