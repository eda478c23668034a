"""Whole rollouts on a real stack: a bad build, a false promise, and builds that come and go."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from temporalio.client import Client
from temporalio.common import PinnedVersioningOverride, WorkerDeploymentVersion

from tests.support.prometheus import fired
from tests.support.scrape import scrape
from tests.support.stack_clone import StackClone, stack_clone
from tests.support.supervisord import pids_by_name
from tests.support.temporal_server import free_port
from tests.support.waiting import eventually

pytestmark = [pytest.mark.stack, pytest.mark.long]

QUICK = """
[deployment]
name = "greetings"
task_queue = "greetings"
baseline = "v1"
target = "v1"
paused = false

[progressive]
settle = "1s"
steps = [{ percentage = 20, pause = "20s" }]

[gate]
workflow = "Greeting"
timeout = "10s"

[analysis]
window = "30s"
min_samples = 10
failure_ratio = 0.05

"""
SUNSET = """
[sunset]
stop = "2s"
delete = "4s"
keep = 0
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[StackClone]:
    """A stack with a quick pace and v1 alone; the server forgets pollers after a minute."""
    with stack_clone(LOAD_RATE="3") as clone:
        clone.write("rollout.toml", QUICK + SUNSET)
        (clone.root / "workers/programs/worker-v2.ini").unlink()
        clone.edit("supervisord.conf", "--orders 0.2", "--orders 0.5 --order-seconds 2-4")
        clone.edit(
            "stack/programs/temporal.ini",
            "--log-format json",
            "--dynamic-config-value 'matching.PollerHistoryTTL=\"60s\"' --log-format json",
        )
        up = clone.up()
        assert up.returncode == 0, up.stdout
        eventually(lambda: clone.api_status()["current"] == "v1", seconds=30)
        yield clone


def rollout(stack: StackClone, *words: str, code: int = 0, seconds: float = 90) -> str:
    """Run a rollout command, which must end with ``code``; what it says."""
    done = stack.python("-m", "rollout", *words, seconds=seconds)
    assert done.returncode == code, f"{words}: {done.returncode}: {done.stdout}"
    return done.stdout


def add(stack: StackClone, build_id: str, *flags: str) -> None:
    """Add a build's worker, on a port that no stack beside this one takes by itself."""
    rollout(stack, "add", build_id, "--metrics-port", str(free_port()), *flags)


def version(stack: StackClone, build_id: str) -> dict[str, Any]:
    """One version of ``rollout status``, which waits for a look at what was just done."""
    return _version(stack.rollout_status(), build_id)


def seen(stack: StackClone, build_id: str) -> dict[str, Any]:
    """One version of the controller's last look, to wait for what it will see."""
    return _version(stack.api_status(), build_id)


def _version(status: dict[str, Any], build_id: str) -> dict[str, Any]:
    found = [v for v in status["versions"] if v["build_id"] == build_id]
    return found[0] if found else {"status": None}


def test_a_failing_build_is_rolled_back_by_itself(stack: StackClone) -> None:
    """A build that fails three activities in ten goes back within its first step, and stays out.

    An alert says so until a person wants another build.
    """
    began = time.time()
    add(stack, "bad", "--app", "tests.support.faulty_builds")
    rollout(stack, "to", "bad")
    eventually(lambda: (stack.api_status()["ramping"] or {}).get("build_id") == "bad")
    eventually(lambda: seen(stack, "bad")["blocked"], seconds=60)
    eventually(lambda: stack.api_status()["ramping"] is None, seconds=10)
    status = stack.rollout_status()
    assert (status["current"], status["phase"]) == ("v1", "blocked")
    assert "% of bad's activities failed" in status["reason"]
    log = [json.loads(line) for line in stack.log("rollout").splitlines()]
    shares = [r["action"] for r in log if str(r.get("action", "")).startswith("ramp bad")]
    assert shares == ["ramp bad to 20 %"]  # no more than its first share ever met it
    prometheus = f"http://127.0.0.1:{stack.ports['PROMETHEUS_PORT']}"
    eventually(lambda: ("RolledBack", "bad") in fired(prometheus, began))

    # Blocked until somebody says otherwise; then it may try again.
    assert "`rollout retry bad` lifts the block" in rollout(stack, "plan")
    rollout(stack, "to", "v1")
    eventually(lambda: "worker-bad" not in stack.states(), seconds=60)  # sunset takes it away
    eventually(lambda: ("RolledBack", "bad") not in fired(prometheus, time.time()))


def test_a_false_promise_is_refused(stack: StackClone) -> None:
    """An incompatible build that was declared compatible is refused with the run and the event."""
    text = (stack.root / "workers/builds/v2.py").read_text()
    stack.write("false_promise.py", text)
    add(stack, "v1.5", "--strategy", "compatible", "--app", "false_promise")
    said = rollout(stack, "verify", "v1.5", code=1)
    assert "order-" in said
    assert "event" in said
    rollout(stack, "to", "v1.5")
    status = eventually(lambda: (s := stack.api_status())["phase"] == "blocked" and s, seconds=60)
    assert "v1.5 is not compatible: order-" in status["reason"]
    assert (status["current"], status["ramping"]) == ("v1", None)
    rollout(stack, "to", "v1")
    # Its orders have moved back by then, and new runs no longer wait for a worker of v1.
    removed = "stopped and removed worker-v1.5"
    eventually(lambda: removed in rollout(stack, "retire", "v1.5"), seconds=90)


def test_rollback_by_command(stack: StackClone) -> None:
    """One command sends new runs back at once; the runs that can, move back, too."""
    add(stack, "v9", "--app", "workers.builds.v1")
    stack.edit("rollout.toml", 'target = "v1"', 'target = "v9"\npace = "all-at-once"')
    # A version that is blocked is not kept: here it stays until the next test.
    stack.edit("rollout.toml", SUNSET, SUNSET.replace("2s", "manual"))
    eventually(lambda: stack.api_status()["current"] == "v9", seconds=40)
    eventually(lambda: (seen(stack, "v9")["open_runs"] or 0) > 3, seconds=30)
    said = rollout(stack, "rollback", "--move-back")
    assert "all new runs go to v1" in said
    assert "runs move to v1 at their next task; 0 stay on v9" in said
    status = stack.rollout_status()
    assert (status["current"], status["target"]) == ("v1", "v1")
    assert version(stack, "v9")["blocked"] == "rolled back to v1 by command"
    assert 'rollback = "v1"' in (stack.root / "rollout.toml").read_text()
    assert "v9 is blocked" in rollout(stack, "rollback", "--to", "v9", code=1)
    history = rollout(stack, "history")
    assert " v9     became current\n" in history
    assert "rollout: make v9 current" in history
    assert 'rollout.toml: target = "v1" (was "v9"), rollback = "v1" (was none)' in history
    rollout(stack, "retry", "v9")
    assert version(stack, "v9")["blocked"] is None


async def test_kept_stopped_and_needed_again(stack: StackClone) -> None:
    """A former version is kept warm; not kept it is stopped, and started when a run needs it."""

    def idle() -> bool:
        drained = seen(stack, "v9")["drained_since"]
        return bool(drained) and time.time() > datetime.fromisoformat(drained).timestamp() + 4

    eventually(idle, seconds=60)
    manual = SUNSET.replace("2s", "manual")
    kept = SUNSET.replace("4s", "manual").replace("keep = 0", "keep = 1")
    stack.edit("rollout.toml", manual, kept)
    assert json.loads(rollout(stack, "plan", "--json"))["actions"] == []
    assert stack.states()["worker-v9"] == "RUNNING"

    stack.edit("rollout.toml", "keep = 1", "keep = 0")
    eventually(lambda: stack.states()["worker-v9"] == "STOPPED", seconds=60)
    client = await Client.connect(f"127.0.0.1:{stack.ports['TEMPORAL_PORT']}")
    run = await client.start_workflow(
        "Order",
        {"order_id": "late", "seconds": 1},
        id="late",
        task_queue="greetings",
        versioning_override=PinnedVersioningOverride(WorkerDeploymentVersion("greetings", "v9")),
    )
    result = await asyncio.wait_for(run.result(), 60)
    assert {step["workflow_build_id"] for step in result["steps"]} == {"v9"}
    eventually(lambda: stack.states()["worker-v9"] == "STOPPED", seconds=60)  # once more drained
    stack.edit("rollout.toml", kept.replace("keep = 1", "keep = 0"), SUNSET)


def test_a_warning_before_the_limit(stack: StackClone) -> None:
    """Near the server's limit of versions ``status`` says so."""
    limits = "\n[limits]\nversions = 1\n"
    text = (stack.root / "rollout.toml").read_text()
    stack.write("rollout.toml", text + limits)
    (warning,) = [w for w in stack.rollout_status()["warnings"] if "at most" in w]
    assert "of at most 1 versions of greetings, so no new build can register" in warning
    stack.write("rollout.toml", text)


def test_retire_refuses_what_is_needed(stack: StackClone) -> None:
    """A version with new or open runs is refused with the evidence, and --force has to ask."""
    assert "v1 gets new runs" in rollout(stack, "retire", "v1", code=1)
    assert "gets new runs" in rollout(stack, "retire", "v1", "--force", "--yes", code=1)
    assert "v77 is retired already: neither the server nor" in rollout(stack, "retire", "v77")


def test_owners(stack: StackClone) -> None:
    """Another manager is named and respected; adopt takes the deployment over."""
    stack.edit("rollout.toml", "paused = false", "paused = true")
    assert "nobody manages greetings now" in rollout(stack, "release")
    set_manager = stack.python(
        *(
            "-m",
            "rollout",
            "launch",
            "temporal",
            "worker",
            "deployment",
            "manager-identity",
            "set",
        ),
        *("--deployment-name", "greetings", "--manager-identity", "someone@else", "--yes"),
        *("--address", f"127.0.0.1:{stack.ports['TEMPORAL_PORT']}"),
    )
    assert set_manager.returncode == 0, set_manager.stdout
    theirs = "someone@else manages this deployment"
    eventually(lambda: stack.api_status()["reason"] == theirs)
    assert "someone@else" in rollout(stack, "adopt")
    assert stack.rollout_status()["phase"] == "paused"
    stack.edit("rollout.toml", "paused = true", "paused = false")


@pytest.mark.timeout(600)  # the server's poller memory alone is a minute
def test_builds_in_a_row(stack: StackClone) -> None:
    """Three builds come and go: no leftover of any kind, and nobody else's pid ever changes."""
    # On a machine that is busy with more than this new runs wait, and then nothing is safe to stop.
    stack.edit("supervisord.conf", "--rate ${LOAD_RATE:-5}", "--rate 1")
    stack.supervisorctl("update", "load")
    eventually(lambda: stack.states()["load"] == "RUNNING")
    # Which builds come is not the question here, and at that rate ten samples take a minute.
    stack.edit("rollout.toml", "min_samples = 10", "min_samples = 1")
    stack.edit("rollout.toml", 'pause = "20s"', 'pause = "3s"')
    supervisord = psutil.Process(int((stack.root / "var/run/supervisord.pid").read_text()))
    others = ("temporal", "prometheus", "exporter", "rollout", "load")
    pids = {name: pids_by_name(stack.socket)[name] for name in others}
    handles = len(os.listdir(f"/proc/{supervisord.pid}/fd"))  # noqa: PTH208

    builds = [f"b{number}" for number in range(3)]
    for build_id in builds:
        add(stack, build_id, "--app", "workers.builds.v1")
        rollout(stack, "to", build_id)
        eventually(lambda b=build_id: stack.api_status()["current"] == b, seconds=90)  # type: ignore[misc]

    def gone() -> bool:
        status = stack.api_status()
        against = {
            v["build_id"]: [point["detail"] for point in v["evidence"] if not point["ok"]]
            for v in status["versions"]
        }
        assert set(against) == {"b2"}, f"{status['reason']}; {json.dumps(against)}"
        return True

    eventually(gone, seconds=300)
    files = {path.name for path in (stack.root / "workers/programs").iterdir()}
    assert files == {"worker-b2.ini"}
    assert set(stack.states()) == {*others, "worker-b2"}
    targets = json.loads((stack.root / "var/targets/workers.json").read_text())
    assert [group["labels"]["build_id"] for group in targets] == ["b2"]
    eventually(lambda: exported_builds(stack) == {"b2"})
    assert {name: pids_by_name(stack.socket)[name] for name in others} == pids
    eventually(lambda: len(os.listdir(f"/proc/{supervisord.pid}/fd")) <= handles)  # noqa: PTH208
    crossed = scrape(stack.ports["LOAD_METRICS_PORT"])["client_version_crossings_total"]
    assert sum(crossed.values()) == 0


def exported_builds(stack: StackClone) -> set[str]:
    """The builds that the exporter has series of."""
    series = scrape(stack.ports["EXPORTER_PORT"])["temporal_worker_deployment_version_status"]
    return {dict(labels)["build_id"] for labels in series}


def test_the_log_of_a_removed_program_may_stay(stack: StackClone) -> None:
    """What a removed program logged can still be read, and nothing holds it open."""
    logs = [
        path for path in (stack.root / "var/log").iterdir() if path.name.startswith("worker-b0")
    ]
    held: set[Path] = set()
    pid = int((stack.root / "var/run/supervisord.pid").read_text())
    for file in psutil.Process(pid).open_files():
        held.add(Path(file.path))
    assert logs
    assert not held & set(logs)
