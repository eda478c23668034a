"""The main job on a whole stack: v1 hands over to v2 under load, and anything may be killed."""

from __future__ import annotations

import json
import re
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.support.alerts import alerts
from tests.support.browser import PICTURES, chromium, shown
from tests.support.live_lint import LiveLint
from tests.support.prometheus import fired
from tests.support.scrape import scrape
from tests.support.stack_clone import StackClone, stack_clone
from tests.support.supervisord import pids_by_name
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

NOT_IN_THIS_STACK = {"temporal_worker_deployment_host_silent"}
"""What a stack on one machine has no series of."""

OF_A_BUSY_MACHINE = {"ScheduleToStartHigh", "WorkflowTasksSlow", "TargetSlower"}
"""Alerts that are right to fire where other tests take the processor away."""


@pytest.fixture(scope="module")
def stack() -> Iterator[StackClone]:
    """A stack with the shipped files, but for a quicker pace and shorter orders."""
    with stack_clone(LOAD_RATE="5") as clone:
        clone.edit("rollout.toml", 'settle = "20s"', 'settle = "5s"')
        clone.edit("rollout.toml", 'pause = "30s"', 'pause = "8s"')
        clone.edit("supervisord.conf", "--orders 0.2", "--orders 0.2 --order-seconds 10-15")
        up = clone.up()
        assert up.returncode == 0, up.stdout
        assert page_of(clone) in up.stdout.split()
        yield clone


def page_of(clone: StackClone) -> str:
    """The address of the live page."""
    return f"http://127.0.0.1:{clone.ports['ROLLOUT_METRICS_PORT']}/"


def the_page_says(clone: StackClone, moment: str, pattern: str) -> None:
    """The live page's answers are so, as Chromium shows them; var/pictures keeps a picture."""
    if chromium() is None:
        warnings.warn("NO CHROMIUM: nobody has looked at the live page", stacklevel=2)
        return
    page = shown(page_of(clone), PICTURES / f"switchover-{moment}.png")
    assert page.state == "live", page.section("alarm")
    assert re.search(pattern, page.section("answers")), page.section("answers")


def version(clone: StackClone, build_id: str) -> dict[str, Any]:
    """One version of ``rollout status``, which waits for a look at what was just done."""
    return _version(clone.rollout_status(), build_id)


def seen(clone: StackClone, build_id: str) -> dict[str, Any]:
    """One version of the controller's last look, to wait for what it will see."""
    return _version(clone.api_status(), build_id)


def _version(status: dict[str, Any], build_id: str) -> dict[str, Any]:
    versions = {v["build_id"]: v for v in status["versions"]}
    found: dict[str, Any] = versions[build_id]
    return found


def against(clone: StackClone, build_id: str) -> dict[str, str]:
    """What speaks against stopping a build."""
    points = version(clone, build_id)["evidence"]
    return {point["check"]: point["detail"] for point in points if not point["ok"]}


def counted(clone: StackClone, name: str) -> float:
    """The sum of the load's series ``name``."""
    return sum(scrape(clone.ports["LOAD_METRICS_PORT"]).get(name, {}).values())


def query(clone: StackClone, expression: str, seconds_ago: float = 0) -> dict[str, float]:
    """What Prometheus answers, by build id."""
    answer = httpx.get(
        f"http://127.0.0.1:{clone.ports['PROMETHEUS_PORT']}/api/v1/query",
        params={"query": expression, "time": time.time() - seconds_ago},
    )
    answer.raise_for_status()
    return {
        each["metric"].get("build_id", ""): float(each["value"][1])
        for each in answer.json()["data"]["result"]
    }


def get(clone: StackClone, path: str) -> Any:
    """The data of an answer of Prometheus's API."""
    answer = httpx.get(f"http://127.0.0.1:{clone.ports['PROMETHEUS_PORT']}/api/v1/{path}")
    answer.raise_for_status()
    return answer.json()["data"]


def rules_are_sound(clone: StackClone) -> bool:
    """Whether every rule was evaluated without an error just now, and in less than 200 ms."""
    rules = [rule for group in get(clone, "rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} >= alerts().keys()
    bad = [rule for rule in rules if rule["health"] != "ok" or rule["evaluationTime"] > 0.2]
    assert not bad, bad
    return True


def exported_to_alerts() -> set[str]:
    """The names of all series of the exporter and the controller that an alert reads."""
    selector = re.compile(r'([a-z_]+)\{[^}]*job="(?:exporter|rollout)"')
    return {name for each in alerts().values() for name in selector.findall(each.expression)}


def runs(clone: StackClone, query: str) -> int:
    """How many runs the server counts."""
    done = clone.python("-m", "rollout", "launch", "temporal", "workflow", "count",
                        "--output", "json",
                        "--address", f"127.0.0.1:{clone.ports['TEMPORAL_PORT']}",
                        "--query", query)  # fmt: skip
    assert done.returncode == 0, done.stdout
    return int(json.loads(done.stdout).get("count", 0))


def test_the_switchover(stack: StackClone) -> None:
    """v2 takes over step by step, v1 drains and is stopped; no run fails, and none crosses.

    Whatever the dashboards ask meanwhile is answered. Nor does any alert fire, but the one that
    says that v1 was stopped too early.
    """
    began = time.time()
    dashboards = LiveLint(f"http://127.0.0.1:{stack.ports['PROMETHEUS_PORT']}")
    eventually(lambda: stack.api_status()["ramping"], seconds=40)
    before = time.time()

    # Too early: status says so and counts the runs, and stopping loses nothing.
    said = against(stack, "v1")
    assert "of new runs go to v1" in said["routing"]
    assert "open on v1" in said["open_runs"]
    the_page_says(stack, "ramping", r"(v1 \d\d %, v2 \d\d %|v2 100 %).* May I stop v1\? ! No")
    eventually(lambda: stack.api_status()["current"] == "v2", seconds=60)
    waiting = version(stack, "v1")["open_runs"]
    assert waiting > 0
    dashboards.look()
    stopped_at = time.time()
    stack.supervisorctl("stop", "worker-v1")
    assert "open on v1" in against(stack, "v1")["open_runs"]
    assert version(stack, "v1")["process"] == "STOPPED"
    eventually(lambda: seen(stack, "v1")["workers"] == 0, seconds=20)
    assert version(stack, "v1")["open_runs"] > 0
    the_page_says(stack, "waiting", r"v2 100 %.* runs? left on v1.* May I stop v1\? ! No")
    stack.supervisorctl("start", "worker-v1")
    back_at = time.time() + 10  # until its worker polls and is scraped

    the_page_says(stack, "draining", r"v2 100 %")
    eventually(lambda: seen(stack, "v1")["safe_to_stop"], seconds=60)
    assert version(stack, "v1")["status"] == "drained"
    the_page_says(stack, "safe", r"Done v1 is drained.* May I stop v1\? ✓ Yes all \d points hold")
    stopped = stack.supervisorctl("stop", "worker-v1")
    assert "worker-v1: stopped" in stopped.stdout
    completed = counted(stack, "client_workflows_finished_total")
    eventually(lambda: counted(stack, "client_workflows_finished_total") > completed + 20)

    new_runs_have_moved(stack, time.time() - before)
    eventually(lambda: query(stack, 'up{job="worker"}')["v1"] == 0, seconds=10)
    assert query(stack, 'up{job="worker"}')["v2"] == 1
    dashboards.look()
    assert dashboards.problems() == []
    safe = "temporal_worker_deployment_version_safe_to_stop"
    assert query(stack, safe) == {"v1": 1, "v2": 0}

    finished = scrape(stack.ports["LOAD_METRICS_PORT"])["client_workflows_finished_total"]
    assert {dict(labels)["outcome"] for labels in finished} == {"completed"}
    assert counted(stack, "client_version_crossings_total") == 0
    assert runs(stack, "ExecutionStatus != 'Running' AND ExecutionStatus != 'Completed'") == 0

    told = fired(f"http://127.0.0.1:{stack.ports['PROMETHEUS_PORT']}", began - 60)
    too_early = told.pop(("RunsWithoutWorker", "v1"), [])
    assert {each for each, _ in told} <= OF_A_BUSY_MACHINE, told
    eventually(lambda: rules_are_sound(stack), seconds=20)
    names = get(stack, "label/__name__/values")
    assert exported_to_alerts() - set(names) <= NOT_IN_THIS_STACK
    assert all(stopped_at < at < back_at for at in too_early), (stopped_at, too_early, back_at)
    stack.supervisorctl("start", "worker-v1")
    the_report_tells_of_it(stack)


def new_runs_have_moved(stack: StackClone, since: float) -> None:
    """Prometheus has seen it, in the last ``since`` seconds."""
    share = 'sum by (build_id) (rate(temporal_workflow_completed_total{job="worker"}[15s]))'
    early = query(stack, share, since)
    assert early["v1"] > 3 * early.get("v2", 0)
    late = query(stack, share)
    assert late["v2"] > 3 * late.get("v1", 0)


def the_report_tells_of_it(stack: StackClone) -> None:
    """The one that was left at its end, and one made now."""
    assert list((stack.root / "var/reports").glob("*/*-complete.html"))
    asked = stack.python("-m", "rollout", "report", "--since", "10m", "--json")
    report = json.loads(asked.stdout.splitlines()[-1])
    assert (report["outcome"], report["missing"], report["failed"]) == ("complete", [], [])
    drawn = {(curve["kind"], curve["build_id"]) for curve in report["curves"]}
    assert {(kind, "v2") for kind in ("meant", "real", "open", "p95")} <= drawn
    assert ("open", "v1") in drawn
    figures = {f["build_id"]: f for f in report["figures"] if f["part"] == "during"}
    for build_id in ("v1", "v2"):
        assert figures[build_id]["completed"] > 10
        assert figures[build_id]["failed"] == 0
        assert 0 < figures[build_id]["p50"] <= figures[build_id]["p95"]
        assert figures[build_id]["activity_failures"] == 0
    told = {event["name"] for event in report["events"]}
    assert {"routing.ramp-set", "process.stopped", "verdict.safe", "version.drained"} <= told


def test_a_version_comes_and_goes(stack: StackClone) -> None:
    """A build added or removed at run time is scraped or forgotten within 10 s; no pid changes."""
    before = pids(stack)
    text = (stack.root / "workers/programs/worker-v2.ini").read_text()
    port = stack.ports["GRAFANA_PORT"]  # free: there is no Grafana in a clone
    new = text.replace("v2", "v1.1").replace("incompatible", "compatible")
    new = new.replace("${WORKER_V2_METRICS_PORT:-9102}", str(port))
    file = stack.write("workers/programs/worker-v1.1.ini", new)
    assert "added process group" in stack.supervisorctl("update", "worker-v1.1").stdout
    eventually(lambda: query(stack, 'up{job="worker"}').get("v1.1") == 1, seconds=15)
    eventually(lambda: seen(stack, "v1.1")["status"] == "inactive")
    file.unlink()
    assert "removed process group" in stack.supervisorctl("update", "worker-v1.1").stdout
    eventually(lambda: "v1.1" not in query(stack, 'up{job="worker"}'), seconds=10)
    assert pids(stack) == before


def pids(stack: StackClone) -> set[int]:
    """The process ids of the stack's programs."""
    supervisord = int((stack.root / "var/run/supervisord.pid").read_text())
    return {child.pid for child in psutil.Process(supervisord).children()}


PROGRAMS = ("worker-v1", "worker-v2", "rollout", "exporter", "prometheus", "load", "temporal")


def test_anything_may_be_killed(stack: StackClone) -> None:
    """After kill -9 of each process in turn all run again, and every run that began completes."""
    for name in PROGRAMS:
        before = eventually(lambda n=name: pid_of(stack, n))  # type: ignore[misc]
        psutil.Process(before).kill()
        eventually(is_running_anew(stack, name, before), seconds=40)
    eventually(lambda: set(stack.states().values()) == {"RUNNING"}, seconds=40)

    # The stack works: new runs complete, and all that the load has left open do, too.
    done = eventually(lambda: counted(stack, "client_workflows_finished_total"), seconds=30)
    eventually(lambda: counted(stack, "client_workflows_finished_total") > done + 20, seconds=30)
    stack.supervisorctl("stop", "load")
    eventually(lambda: runs(stack, "ExecutionStatus = 'Running'") == 0, seconds=60)
    assert runs(stack, "ExecutionStatus != 'Completed'") == 0
    summary = json.loads(stack.log("load").splitlines()[-1])
    assert (summary["failed"], summary["crossed"]) == (0, 0)


def pid_of(stack: StackClone, name: str) -> int:
    """A program's process id; 0 while it does not run."""
    return pids_by_name(stack.socket)[name]


def is_running_anew(stack: StackClone, name: str, before: int) -> Callable[[], bool]:
    """Whether the program runs again, as another process."""

    def check() -> bool:
        return stack.states()[name] == "RUNNING" and pid_of(stack, name) != before

    return check
