"""What the dashboards ask, on a real Prometheus: of two deployments, many versions, and 30 days."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from rollout.controller.metrics import ControllerMetrics, Families
from rollout.controller.reasons import Round
from rollout.core.actions import Plan
from rollout.core.config import Analysis, Deployment, RolloutConfig
from rollout.core.observation import BuildSample, Measurements, Observation, Ramp, Version
from rollout.exporter.all_deployments import AllDeployments
from rollout.exporter.deployment import DeploymentMetrics
from tests.support.dashboards import Asked, asked, expressions
from tests.support.exposition import PAGES
from tests.support.prometheus import Prometheus, expositions, tool
from tests.support.waiting import eventually

NOW = datetime.now(timezone.utc)
CHANGED = round(time.time()) - 3 * 3600
"""When a switchover long ago began: 10 % then, 50 % 30 s later, and another 30 s later all."""
STEPS = (("ramping", "10", 0), ("ramping", "50", 30), ("current", "100", 60))
RETIRED = tuple(
    Version(f"old-{number}", "drained", open_runs=0, open_pinned=0, workers=0, backlog=0)
    for number in range(50)
)


def observation(deployment: str, runs: int) -> Observation:
    """v2 at 10 %, and fifty versions that were retired."""
    busy = (
        Version("v1", "current", open_runs=runs, open_pinned=runs, workers=1, started=90),
        Version("v2", "ramping", open_runs=2, open_pinned=2, workers=1, started=10),
    )
    measured = Measurements(
        60, BuildSample("v2", activities=90), BuildSample("v1", activities=runs)
    )
    return Observation(
        deployment,
        "default",
        NOW,
        current="v1",
        ramping=Ramp("v2", 10),
        current_changed_at=NOW - timedelta(minutes=9),
        ramping_changed_at=NOW - timedelta(minutes=1),
        unassigned=runs,
        stuck=0,
        versions=(*busy, *RETIRED),
        measurements=measured,
    )


def exporter() -> str:
    """What an exporter of two deployments serves."""
    both = AllDeployments()
    for deployment, runs in (("greetings", 12), ("shop", 1000)):
        metrics = DeploymentMetrics(deployment, now=lambda: NOW)
        metrics.saw(observation(deployment, runs), "v2")
        both.add(metrics)
    return _page(both)


def controller() -> str:
    """What a controller of the same two serves."""
    registry = CollectorRegistry()
    families = Families(registry, "default")
    config = RolloutConfig(deployment=Deployment(target="v2"), analysis=Analysis())
    for deployment, runs in (("greetings", 12), ("shop", 1000)):
        metrics = ControllerMetrics(families, deployment)
        named = replace_name(config, deployment)
        metrics.configured(named)
        decided = Plan("progressing", "at 10 %", kind="pausing")
        seen = observation(deployment, runs)
        metrics.reconciled("ok", Round(named, seen, decided, 0.0, NOW))
    return generate_latest(registry).decode()


def replace_name(config: RolloutConfig, name: str) -> RolloutConfig:
    """The same for another deployment."""
    return RolloutConfig(
        deployment=Deployment(name=name, target=config.deployment.target), analysis=config.analysis
    )


def _page(collector: Collector) -> str:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def history(folder: Path) -> None:
    """Make the blocks of a switchover three hours ago, as Prometheus scraped it every 2 s."""
    name = "temporal_worker_deployment_routing_change_time_seconds"
    lines = [f"# TYPE {name} gauge"]
    for number, (kind, percentage, after) in enumerate(STEPS):
        labels = (
            f'job="exporter",namespace="default",deployment_name="past",build_id="v2",'
            f'kind="{kind}",percentage="{percentage}"'
        )
        # A ramp's step is told until the next one; who is current stays so.
        end = STEPS[number + 1][2] if number + 1 < len(STEPS) else 600
        lines += [
            f"{name}{{{labels}}} {CHANGED + after:.3f} {CHANGED + second:.3f}"
            for second in range(after, end, 2)
        ]
    text = folder / "history.txt"
    text.write_text("\n".join([*lines, "# EOF", ""]))
    done = subprocess.run(
        [
            tool("promtool"), "tsdb", "create-blocks-from", "openmetrics",
            str(text), str(folder / "data"),
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One Prometheus that remembers a switchover, and scrapes two deployments."""
    folder = tmp_path_factory.mktemp("prometheus")
    history(folder)
    server = Prometheus(folder)
    pages = {"exporter": exporter(), "rollout": controller(), "load": PAGES["load"]}
    targets = [_group("exporter", job="exporter"), _group("rollout", job="rollout")]
    targets.append(_group("load", job="load"))
    workers = []
    for deployment in ("greetings", "shop"):
        for build in ("v1", "v2"):
            page = f"{deployment}-{build}"
            pages[page] = PAGES[f"worker-{build}"].replace("greetings", deployment)
            labels = {"build_id": build, "deployment_name": deployment, "program": page}
            workers.append(_group(page, **labels))
    with expositions(pages) as port:
        for group in (*targets, *workers):
            group["targets"] = [f"127.0.0.1:{port}"]
        server.write_targets("workers.json", workers)
        server.write_targets("stack.json", targets)
        try:
            server.start()
            eventually(lambda: len(server.query("up == 1")) == len(pages), seconds=20)
            yield server
        finally:
            server.stop()


def _group(page: str, **labels: str) -> dict[str, Any]:
    return {"targets": [], "labels": {**labels, "__metrics_path__": f"/{page}"}}


def _one(where: str, board: str = "switchover") -> Asked:
    return next(each for each in asked() if (each.board, each.where) == (board, where))


def _by_build(samples: list[dict[str, Any]]) -> dict[str, float]:
    return {each["metric"]["build_id"]: float(each["value"][1]) for each in samples}


def test_prometheus_understands_every_question(prometheus: Prometheus) -> None:
    """Each query of a panel or an annotation, and each variable's series, parses."""
    for each in (*asked(), *expressions()):
        prometheus.query(each.filled())


def test_nothing_is_summed_across_deployments(prometheus: Prometheus) -> None:
    """Each deployment has its own numbers, and no share is more than a whole."""
    for deployment, runs in (("greetings", 12), ("shop", 1000)):

        def answer(where: str, of: str = deployment) -> dict[str, float]:
            return _by_build(prometheus.query(_one(where).filled(deployment=of)))

        assert answer("Open runs A") == {"v1": runs, "v2": 2}
        assert answer("Meant to get new runs A") == pytest.approx({"v1": 0.9, "v2": 0.1})
        assert answer("Really gets them A") == pytest.approx({"v1": 0.9, "v2": 0.1})
        counted = prometheus.query(
            _one("What the analysis has counted A").filled(deployment=deployment)
        )
        of_v1 = [each for each in counted if each["metric"]["build_id"] == "v1"]
        assert max(float(each["value"][1]) for each in of_v1) == runs
    eventually(lambda: prometheus.query(_one("Runs completed A").filled()), seconds=20)
    rates = [
        _by_build(prometheus.query(_one("Runs completed A").filled(deployment=deployment)))
        for deployment in ("greetings", "shop")
    ]
    assert rates[0] == pytest.approx(rates[1], rel=0.2)
    reached = prometheus.query(_one("Live workers B", "workers").filled())
    assert _by_build(reached) == {"v1": 1, "v2": 1}


def test_retired_versions_fill_no_legend(prometheus: Prometheus) -> None:
    """Fifty versions that were retired are on the server still, and in no panel."""
    known = prometheus.query('temporal_worker_deployment_version_status{status="drained"} == 1')
    assert len(known) == 2 * len(RETIRED)
    for each in asked():
        builds = {
            sample["metric"].get("build_id", "") for sample in prometheus.query(each.filled())
        }
        assert not {build for build in builds if build.startswith("old-")}, each.name


def test_phases_and_states_read_as_they_should(prometheus: Prometheus) -> None:
    """Numbers of states are those that the mapping of the panel has words for."""
    words = _one("Version states A").filled()
    (phase,) = prometheus.query(_one("Phase A").filled())
    assert _by_build(prometheus.query(words)) == {"v1": 5, "v2": 4}
    assert phase["value"][1] == "5"
    stop = _by_build(prometheus.query(_one("May I stop it? A").filled()))
    assert stop == {"v1": 2, "v2": 2}  # new runs go to both


@pytest.mark.parametrize(
    ("shown", "step"),
    [(900, 10), (6 * 3600, 300), (30 * 86400, 12 * 3600)],
    ids=["15 min", "6 h", "30 d"],
)
def test_no_step_of_a_rollout_is_lost(prometheus: Prometheus, shown: int, step: int) -> None:
    """10 %, 50 % and 100 %, 30 s apart, each at its time, wherever Grafana's moments fall.

    Grafana asks for about a hundred of them, the last one up to a step ago.
    """
    marks = _one("@Routing changes")
    expression = marks.filled(deployment="past", interval=f"{step}s", rate_interval=f"{step + 2}s")
    wanted = {f"{kind} {percentage}": CHANGED + after for kind, percentage, after in STEPS}
    for alignment in range(10):
        seen_at = CHANGED + 100 if shown < 3 * 3600 else time.time()
        last = seen_at - (seen_at - alignment * step / 10) % step
        result = prometheus.get(
            "query_range", query=expression, step=str(step),
            start=str(last - -(-shown // step) * step), end=str(last),
        )["result"]  # fmt: skip
        found = {
            f"{each['metric']['kind']} {each['metric']['percentage']}": {
                round(float(value) / 1000) for _, value in each["values"]
            }
            for each in result
        }
        assert found == {key: {round(value)} for key, value in wanted.items()}
