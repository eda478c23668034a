"""The client's commands as a user runs them, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from client.calls import start_once
from rollout.base.last_words import sentence
from rollout.base.log_records import parse
from rollout.base.settings import ROOT
from tests.support.demo_worker import CrossingOrder, FailingGreeting, Greeting, Order, demo_worker
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import until

pytestmark = pytest.mark.temporal


@dataclass
class Running:
    """A client command that is under way, with what it has said so far."""

    process: asyncio.subprocess.Process
    stderr: list[str] = field(default_factory=list)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The JSON log records so far that say ``event``."""
        records = [json.loads(line) for line in self.stderr if line.startswith("{")]
        return [record for record in records if record["event"] == event]

    async def logs(self, event: str) -> None:
        """Wait until it has said ``event``."""

        async def said() -> bool:
            return bool(self.logged(event))

        await until(said)

    async def end(self, seconds: float = 60) -> tuple[int, str, str]:
        """Exit code, stdout and stderr, once it has ended by itself."""
        assert self.process.stdout is not None
        out = await asyncio.wait_for(self.process.stdout.read(), seconds)
        code = await asyncio.wait_for(self.process.wait(), seconds)
        return code, out.decode(), "".join(self.stderr)


@asynccontextmanager
async def client_command(address: str, *arguments: str) -> AsyncIterator[Running]:
    """Run ``python -m client`` with ``arguments``; it does not outlive the block."""
    environ = {**os.environ, "TEMPORAL_ADDRESS": address, "LOG_FORMAT": "json"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client", *arguments),
        stdout=pipe,
        stderr=pipe,
        cwd=ROOT,
        env=environ,
    )
    running = Running(process)

    async def listen() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            running.stderr.append(line.decode())

    listening = asyncio.create_task(listen())
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


async def run_client(address: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``python -m client`` with ``arguments``."""
    async with client_command(address, *arguments) as running:
        await running.process.wait()
        return await running.end()


async def statuses(client: Client, name: str) -> list[tuple[str, str]]:
    """Workflow id and status of every run on the task queue ``name``."""
    return [
        (run.id, run.status.name if run.status else "")
        async for run in client.list_workflows(f"TaskQueue='{name}'")
    ]


@pytest.fixture
def name() -> str:
    """A deployment and a task queue of the test's own."""
    return f"client-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[DevServer]:
    """A server that the test may start late and kill."""
    server = DevServer(tmp_path)
    yield server
    server.kill()


class TestGreeting:
    """``python -m client``."""

    async def test_prints_the_line(self, temporal_server: DevServer, name: str) -> None:
        """Stdout is the greeting of the current build, and nothing else is said."""
        async with demo_worker(temporal_server.address, name):
            said = await run_client(temporal_server.address, "--task-queue", name)
        assert said == (0, "Hello from worker Build ID: v1!\n", "")

    async def test_flag_wins_over_the_environment(
        self, temporal_server: DevServer, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """TASK_QUEUE names the queue, unless --task-queue does."""
        monkeypatch.setenv("TASK_QUEUE", name)
        async with demo_worker(temporal_server.address, name):
            code, out, _ = await run_client(temporal_server.address)
            assert (code, out) == (0, "Hello from worker Build ID: v1!\n")
            flags = ("--task-queue", f"{name}-other", "--timeout", "200ms")
            code, _, err = await run_client(temporal_server.address, *flags)
        assert code == 1
        assert f"'{name}-other'" in err

    async def test_says_that_no_worker_answers(self, temporal_server: DevServer, name: str) -> None:
        """Without a worker it ends after the timeout, in one line, and leaves no open run."""
        arguments = ("--task-queue", name, "--timeout", "1s")
        code, out, err = await run_client(temporal_server.address, *arguments)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert str(sentence(err)).startswith("no worker answered within 1 s;")
        client = await Client.connect(temporal_server.address)

        async def is_closed() -> bool:
            return [status for _, status in await statuses(client, name)] == ["TIMED_OUT"]

        await until(is_closed)

    async def test_says_why_the_workflow_failed(
        self, temporal_server: DevServer, name: str
    ) -> None:
        """A failed greeting is one line with the workflow's own reason, and exit code 1."""
        async with demo_worker(temporal_server.address, name, FailingGreeting):
            code, out, err = await run_client(temporal_server.address, "--task-queue", name)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert str(sentence(err)).endswith("failed: out of ink")

    async def test_says_that_temporal_is_unreachable(self) -> None:
        """With nothing at the address it ends at once, in one line that names the address."""
        address = f"127.0.0.1:{free_port()}"
        began = time.monotonic()
        code, out, err = await run_client(address)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert f"Temporal is not reachable at {address}" in err
        assert time.monotonic() - began < 25  # it would wait for 30 s

    async def test_ctrl_c(self, temporal_server: DevServer, name: str) -> None:
        """Ctrl-C while it waits is exit code 130, without a traceback."""
        client = await Client.connect(temporal_server.address)
        async with client_command(temporal_server.address, "--task-queue", name) as running:
            await until(lambda: statuses(client, name))
            running.process.send_signal(signal.SIGINT)
            assert await running.end() == (130, "", "")


class TestBadCalls:
    """Calls that are refused before anything is started."""

    @pytest.mark.parametrize(
        "arguments",
        [
            ("load", "--rate", "0"),
            ("load", "--rate", "nan"),
            ("load", "--orders", "1.5"),
            ("load", "--duration", "5x"),
            ("load", "--order-seconds", "60-20"),
            ("load", "--metrics-port", "70000"),
            ("--timeout", "soon"),
            ("lead",),
        ],
    )
    async def test_is_one_line(self, arguments: tuple[str, ...]) -> None:
        """A bad value is exit code 2 and one line that quotes it."""
        code, out, err = await run_client("127.0.0.1:1", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert repr(arguments[-1]) in err

    async def test_taken_metrics_port(self) -> None:
        """A metrics port that is taken is exit code 1 and one line that names it."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            code, out, err = await run_client("127.0.0.1:1", "load", "--metrics-port", port)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert f"port {port}" in err

    @pytest.mark.parametrize("command", [(), ("load",)])
    async def test_help_has_examples(self, command: tuple[str, ...]) -> None:
        """--help ends well and shows examples."""
        code, out, _ = await run_client("127.0.0.1:1", *command, "--help")
        assert code == 0
        assert "examples:\n  python -m client" in out


class TestLoad:
    """``python -m client load``."""

    async def test_sums_up(self, temporal_server: DevServer, name: str) -> None:
        """Everything due is started, completes and is counted; the last line is the contract's."""
        flags = ("--rate", "20", "--orders", "0.2", "--order-seconds", "0.2-0.5", "--seed", "3")
        async with demo_worker(temporal_server.address, name, build_id="v7") as client:
            code, out, _ = await run_client(
                temporal_server.address,
                *("load", "--task-queue", name, "--duration", "2s", "--json", *flags),
            )
            runs = await statuses(client, name)
        assert code == 0
        summary = json.loads(out.splitlines()[-1])
        latency = summary.pop("latency_seconds")
        assert (summary.pop("event"), summary.pop("level")) == ("load summary", "info")
        assert parse("load", out.splitlines()[-1]) is not None
        assert summary.pop("timestamp").endswith("Z")
        assert summary.pop("schedule_lag_seconds").keys() == {"p99"}
        assert list(latency) == ["p50", "p95", "p99", "max"]
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
        assert summary == {
            "started": 40,
            "completed": 40,
            "failed": 0,
            "crossed": 0,
            "open": 0,
            "by_build": {"v7": 40},
        }
        assert len(runs) == 40
        assert {workflow_id.split("-")[0] for workflow_id, _ in runs} == {"greeting", "order"}

    async def test_counts_and_names_crossed_runs(
        self, temporal_server: DevServer, name: str
    ) -> None:
        """A run that two builds ran is counted and logged with both, and is no failure."""
        async with demo_worker(temporal_server.address, name, Greeting, CrossingOrder):
            async with client_command(
                temporal_server.address,
                *("load", "--task-queue", name, "--rate", "5", "--orders", "1"),
                *("--duration", "400ms", "--json"),
            ) as running:
                code, out, _ = await running.end()
            crossings = running.logged("workflow crossed builds")
        summary = json.loads(out)
        assert (code, summary["crossed"], summary["failed"]) == (0, 2, 0)
        assert [record["builds"] for record in crossings] == [["v1", "v2"]] * 2
        assert all(record["workflow_id"].startswith("order-") for record in crossings)

    async def test_counts_and_names_failed_runs(
        self, temporal_server: DevServer, name: str
    ) -> None:
        """A failed run is counted, logged with its reason, and makes the exit code 1."""
        async with demo_worker(temporal_server.address, name, FailingGreeting, Order):
            async with client_command(
                temporal_server.address,
                *("load", "--task-queue", name, "--rate", "5", "--orders", "0"),
                *("--duration", "400ms", "--json"),
            ) as running:
                code, out, _ = await running.end()
            failures = running.logged("workflow failed")
        summary = json.loads(out)
        assert (code, summary["started"], summary["failed"], summary["open"]) == (1, 2, 2, 0)
        assert summary["latency_seconds"]["max"] is None
        assert [record["reason"] for record in failures] == ["out of ink"] * 2
        assert all(record["workflow_id"].startswith("greeting-") for record in failures)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_signal_is_a_clean_end(
        self, temporal_server: DevServer, name: str, number: signal.Signals
    ) -> None:
        """A signal stops the starts and leaves open runs to the server, counted, with code 0."""
        client = await Client.connect(temporal_server.address)
        async with client_command(
            temporal_server.address,
            *("load", "--task-queue", name, "--rate", "10", "--orders", "0.5"),
        ) as running:
            await until(lambda: statuses(client, name))
            running.process.send_signal(number)
            code, out, _ = await running.end(10)
        rows = dict(line.rsplit(maxsplit=1) for line in out.splitlines())
        assert code == 0
        runs = await statuses(client, name)
        assert int(rows["started"]) == int(rows["still open"]) == len(runs) > 0
        assert {status for _, status in runs} == {"RUNNING"}

    async def test_second_ctrl_c_ends_at_once(self, temporal_server: DevServer, name: str) -> None:
        """Who presses Ctrl-C twice does not wait for anything: 130, and no summary."""
        arguments = ("load", "--task-queue", name, "--rate", "10")
        async with client_command(temporal_server.address, *arguments) as running:
            await running.logs("load begins")
            running.process.send_signal(signal.SIGINT)
            await running.logs("load stops")
            running.process.send_signal(signal.SIGINT)
            code, out, _ = await running.end(10)
        assert (code, out) == (130, "")

    async def test_drain_is_bounded(self, temporal_server: DevServer, name: str) -> None:
        """What is still open when the drain is over is counted as open."""
        code, out, _ = await run_client(
            temporal_server.address,
            *("load", "--task-queue", name, "--rate", "10", "--duration", "300ms"),
            *("--drain", "3s", "--json"),
        )
        summary = json.loads(out)
        assert (code, summary["started"], summary["open"]) == (0, 3, 3)

    async def test_serves_metrics(self, temporal_server: DevServer, name: str) -> None:
        """Counters, latencies and the process's own figures are served while the load runs."""
        port = free_port()
        flags = ("--rate", "10", "--orders", "0", "--metrics-port", str(port))
        greetings = 'workflow_type="Greeting"'
        async with (
            demo_worker(temporal_server.address, name),
            client_command(
                temporal_server.address, "load", "--task-queue", name, *flags
            ) as running,
            httpx.AsyncClient(trust_env=False) as http,
        ):

            async def scraped() -> str:
                try:
                    text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
                except httpx.TransportError:
                    return ""
                return text if "client_workflows_finished_total{" in text else ""

            text = await until(scraped)
            assert running.process.returncode is None
        for series in (
            f"client_workflows_started_total{{{greetings}}}",
            'client_workflows_started_total{workflow_type="Order"} 0.0',
            'client_workflows_finished_total{build_id="v1",outcome="completed",' + greetings,
            'client_workflow_latency_seconds_bucket{build_id="v1",le="0.005",' + greetings,
            f"client_workflows_open{{{greetings}}}",
            "client_version_crossings_total 0.0",
            "client_start_retries_total 0.0",
            "client_schedule_lag_seconds_count",
            "process_resident_memory_bytes",
        ):
            assert series in text


class TestTemporalAway:
    """The load while the server is not there."""

    async def test_a_start_is_taken_once(self, temporal_server: DevServer, name: str) -> None:
        """A start that is repeated makes no second run, not even after the first has ended."""
        client = await Client.connect(temporal_server.address)
        for _ in range(2):
            await start_once(client, "Greeting", name, task_queue=name)
        await client.get_workflow_handle(name).terminate()
        await start_once(client, "Greeting", name, task_queue=name)

        async def is_closed() -> bool:
            return await statuses(client, name) == [(name, "TERMINATED")]

        await until(is_closed)

    async def test_waits_for_it_at_first(self, own_server: DevServer, name: str) -> None:
        """A load that begins before its server starts its clock once the server is there."""
        async with client_command(
            own_server.address,
            *("load", "--task-queue", name, "--rate", "5", "--orders", "0"),
            *("--duration", "400ms", "--json"),
        ) as running:
            await running.logs("waiting for Temporal")
            await asyncio.to_thread(own_server.start)
            async with demo_worker(own_server.address, name):
                code, out, _ = await running.end()
        summary = json.loads(out)
        assert (code, summary["started"], summary["completed"]) == (0, 2, 2)

    async def test_gives_up_on_sigterm(self) -> None:
        """A load that still waits for its server ends on SIGTERM with an empty summary."""
        arguments = ("load", "--json")
        async with client_command(f"127.0.0.1:{free_port()}", *arguments) as running:
            await running.logs("waiting for Temporal")
            running.process.terminate()
            code, out, _ = await running.end(10)
        assert (code, json.loads(out)["started"]) == (0, 0)

    async def test_loses_and_doubles_nothing(self, own_server: DevServer, name: str) -> None:
        """A server killed under load and started again takes each start once and completes it."""
        await asyncio.to_thread(own_server.start)
        async with (
            demo_worker(own_server.address, name) as client,
            client_command(
                own_server.address,
                *("load", "--task-queue", name, "--rate", "10", "--orders", "0.2"),
                *("--order-seconds", "1-3", "--duration", "6s", "--json"),
            ) as running,
        ):

            async def under_way() -> bool:
                return len(await statuses(client, name)) > 10

            await until(under_way)
            own_server.kill()
            await running.logs("Temporal takes no starts, trying again")
            await asyncio.to_thread(own_server.start)
            code, out, _ = await running.end()
            runs = await statuses(client, name)
        summary = json.loads(out)
        assert (code, summary["started"], summary["completed"]) == (0, 60, 60)
        assert len(runs) == len(dict(runs)) == 60
        assert {status for _, status in runs} == {"COMPLETED"}
        assert running.logged("Temporal takes starts again")
