"""The workers in TypeScript and Go that are there to be copied: they run, and they replay."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from rollout.prometheus.sdk_metrics import counter
from rollout.replay.process import ReplayCommand
from rollout.replay.verify import verify
from tests.support.example_workers import Example, go, typescript
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually, until

pytestmark = [pytest.mark.temporal, pytest.mark.long]

LANGUAGES: dict[str, tuple[Callable[..., Example], str, tuple[str, str], tuple[str, str]]] = {
    "typescript": (
        typescript,
        "order",
        ("await charge(id);", "await sleep(1); await charge(id);"),
        ("await charge(id);", "await charge(id); throw new Error('a bug');"),
    ),
    "go": (
        go,
        "Order",
        (
            "if err := workflow.ExecuteActivity(ctx, Charge",
            "_ = workflow.Sleep(ctx, 1)\n\tif err := workflow.ExecuteActivity(ctx, Charge",
        ),
        (
            "if err := workflow.Sleep(ctx, time.Duration(seconds)*time.Second)",
            'panic("a bug")\n\tif err := workflow.Sleep(ctx, time.Duration(seconds)*time.Second)',
        ),
    ),
}

TIMER_FOR_ACTIVITY = {
    "typescript": "Nondeterminism error",
    "go": "failed for scheduledEventID to activityID",
}
"""What each SDK says where the code starts a timer in the place of an activity."""


@pytest.fixture(params=sorted(LANGUAGES))
def language(request: pytest.FixtureRequest) -> str:
    """Each of them."""
    return str(request.param)


def environment(server: DevServer, name: str, port: int) -> dict[str, str]:
    """What `rollout add` gives to a worker of v1."""
    return {
        **os.environ,
        "TEMPORAL_ADDRESS": server.address,
        "TEMPORAL_NAMESPACE": "default",
        "TEMPORAL_DEPLOYMENT_NAME": name,
        "TEMPORAL_WORKER_BUILD_ID": "v1",
        "ROLLOUT_TASK_QUEUE": name,
        "ROLLOUT_METRICS_PORT": str(port),
    }


@contextmanager
def running(example: Example, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The example's worker, ended with SIGTERM at the end."""
    log = example.folder / "worker.log"
    with log.open("wb") as file:
        words = example.worker
        process = subprocess.Popen(words, cwd=example.folder, env=environ, stdout=file, stderr=file)
    try:
        yield process
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


async def test_it_runs_and_replays(
    temporal_server: DevServer, tmp_path: Path, language: str
) -> None:
    """The same code passes, changed code does not, code that fails does not; metrics are known."""
    build, workflow_type, changed, broken = LANGUAGES[language]
    example = build(tmp_path / "v1")
    name, port = f"x{secrets.token_hex(4)}", free_port()
    environ = environment(temporal_server, name, port)
    client = await Client.connect(temporal_server.address)
    with running(example, environ):
        words = ("--deployment-name", name, "--build-id", "v1", "--yes")
        change = ("worker", "deployment", "set-current-version", *words)
        eventually(lambda: temporal_server.cli(*change).returncode == 0, seconds=60)

        async def start(seconds: int) -> str:
            handle = await client.start_workflow(
                workflow_type, args=["o", seconds], id=secrets.token_hex(6), task_queue=name
            )
            return handle.id

        closed, asleep = await start(0), await start(600)
        assert await client.get_workflow_handle(closed).result() == "shipped o"

        async def both_are_seen() -> bool:
            events = client.get_workflow_handle(asleep).fetch_history_events()
            timers = [e async for e in events if e.HasField("timer_started_event_attributes")]
            query = f"TemporalWorkerDeploymentVersion='{name}:v1'"
            return bool(timers) and (await client.count_workflows(query)).count == 2

        await until(both_are_seen)

        def told() -> bool:
            page = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            return any(f"{each}{{" in page for each in counter("workflow_completed"))

        eventually(told, seconds=30)

    def command(of: Example) -> ReplayCommand:
        return ReplayCommand("v2", of.replay, of.folder, environ)

    same = await verify(client, name, "v1", command(example), 20)
    assert same.passed, same
    assert {run.workflow_id for run in same.runs} == {closed, asleep}
    assert {run.workflow_type for run in same.runs} == {workflow_type}

    other = await verify(client, name, "v1", command(build(tmp_path / "v2", changed)), 20)
    assert {run.workflow_id for run in other.broken} == {closed, asleep}
    assert all(TIMER_FOR_ACTIVITY[language] in str(run.error) for run in other.broken), other

    failing = await verify(client, name, "v1", command(build(tmp_path / "v3", broken)), 20)
    assert asleep in {run.workflow_id for run in failing.broken}, failing


def test_only_verdicts_are_on_stdout(tmp_path: Path, language: str) -> None:
    """A line that is no history ends the replay with a code that is not 0, and no word there."""
    example = LANGUAGES[language][0](tmp_path / "v1")
    done = subprocess.run(
        example.replay,
        cwd=example.folder,
        input=json.dumps({"workflow_id": "a", "run_id": "b", "history": "none"}) + "\nnone\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert all(json.loads(line)["ok"] is False for line in done.stdout.splitlines())
