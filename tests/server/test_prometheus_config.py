"""The shipped Prometheus configuration, rules and graph page, on a real Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from supervisor.states import ProcessStates

from rollout.base.settings import ROOT
from rollout.core.observation import Status
from rollout.prometheus.graphs import PROCESS_STATES, VERSION_STATES
from rollout.prometheus.pages import alerts_page
from tests.support.exposition import PAGES
from tests.support.prometheus import Prometheus, expositions, tool
from tests.support.temporal_server import free_port
from tests.support.waiting import eventually

RULES = ROOT / "metrics" / "rules"
# A metric or a recording of ours in an expression.
METRIC = re.compile(
    r"(?<![:\w])((?:temporal|supervisord|client|rollout)_\w+|(?:build|build_type):[\w:]+)"
)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One Prometheus that scrapes two workers, the exporter, the load and the controller."""
    server = Prometheus(tmp_path_factory.mktemp("prometheus"))
    with expositions(PAGES) as port:
        server.write_targets(
            "workers.json",
            [
                _group(port, "worker-v1", **_worker("v1")),
                _group(port, "worker-v2", **_worker("v2")),
            ],
        )
        server.write_targets(
            "stack.json", [_group(port, job, job=job) for job in ("exporter", "load", "rollout")]
        )
        try:
            server.start()
            eventually(lambda: len(server.query("up == 1")) == len(PAGES), seconds=20)
            yield server
        finally:
            server.stop()


def _group(port: int, page: str, **labels: str) -> dict[str, Any]:
    labels["__metrics_path__"] = f"/{page}"
    return {"targets": [f"127.0.0.1:{port}"], "labels": labels}


def _worker(build: str) -> dict[str, str]:
    return {"build_id": build, "deployment_name": "greetings", "program": f"worker-{build}"}


def _dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((ROOT / "grafana/dashboards/switchover.json").read_text())
    return board


def _panel_queries() -> dict[str, str]:
    return {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$workflow_type", "Greeting")
        for panel in _dashboard()["panels"]
        for target in panel.get("targets", [])
    }


def _annotations() -> dict[str, str]:
    return {each["name"]: each["expr"] for each in _dashboard()["annotations"]["list"]}


class TestConfiguration:
    """prometheus.yml and the rules, as promtool judges them."""

    def test_promtool_accepts_it(self) -> None:
        """The configuration and every rule file are valid."""
        done = _promtool("check", "config", str(ROOT / "metrics" / "prometheus.yml"))

        assert done.returncode == 0, done.stdout + done.stderr

    def test_rules_do_what_their_unit_tests_say(self) -> None:
        """Each alert fires when it should, and is silent when it should be."""
        done = _promtool("test", "rules", *map(str, sorted((RULES / "tests").glob("*.yml"))))

        assert done.returncode == 0, done.stdout + done.stderr

    def test_every_alert_has_a_unit_test_that_expects_it(self) -> None:
        """No alert is shipped that was never seen firing."""
        alerts = set(re.findall(r"- alert: (\w+)", (RULES / "alerts.yml").read_text()))
        tested = re.findall(
            r"alertname: (\w+)\n +exp_alerts:\n", (RULES / "tests" / "alerts.yml").read_text()
        )

        assert alerts == set(tested)

    def test_no_port_is_written_in_it(self) -> None:
        """Ports live in `rollout.base.settings` alone, and reach Prometheus through file_sd."""
        assert not re.search(r"(127\.0\.0\.1|localhost|:\d{4})", _shipped_config())


class TestScraping:
    """What a real Prometheus makes of the configuration."""

    def test_stack_targets_name_their_own_job(self, prometheus: Prometheus) -> None:
        """A target group's job label wins over the name of the scrape configuration."""
        jobs = {sample["metric"]["job"] for sample in prometheus.query("up")}

        assert jobs == {"worker", "exporter", "load", "rollout"}

    def test_worker_series_carry_each_label_once(self, prometheus: Prometheus) -> None:
        """The build id that target and series agree on is not repeated as exported_build_id."""
        (sample,) = prometheus.query(
            'temporal_num_pollers{build_id="v1",poller_type="workflow_task"}'
        )

        assert sample["metric"]["program"] == "worker-v1"
        assert not [label for label in sample["metric"] if label.startswith("exported_")]

    def test_a_dead_worker_is_down_and_a_retired_one_disappears(self, tmp_path: Path) -> None:
        """An expected worker that does not answer has up == 0; within 10 s of leaving, no up."""
        server = Prometheus(tmp_path)
        with expositions({"worker-v1": PAGES["worker-v1"]}) as port:
            alive = _group(port, "worker-v1", **_worker("v1"))
            dead = _group(port, "worker-v2", **_worker("v2"))  # answers 404
            server.write_targets("workers.json", [alive, dead])
            try:
                server.start()
                eventually(lambda: _up(server) == {"v1": "1", "v2": "0"}, seconds=10)

                server.write_targets("workers.json", [alive])

                eventually(lambda: _up(server) == {"v1": "1"}, seconds=10)
            finally:
                server.stop()


class TestQueries:
    """Every expression that is shipped, on a real Prometheus."""

    @pytest.mark.parametrize("name", _panel_queries())
    def test_panel_returns_data(self, prometheus: Prometheus, name: str) -> None:
        """The query parses and finds its series."""
        expression = _panel_queries()[name]

        eventually(lambda: prometheus.query(expression), seconds=20)

    @pytest.mark.parametrize("name", sorted(_annotations().keys() - {"Process stops"}))
    def test_annotation_returns_data(self, prometheus: Prometheus, name: str) -> None:
        """The query parses and finds its series (Process stops has a test of its own)."""
        eventually(lambda: prometheus.query(_annotations()[name]), seconds=20)

    def test_process_stops_are_marked_once(self, tmp_path: Path) -> None:
        """A stop is marked for 15 s from when it happened, and a start from nothing is not."""
        test = {
            "tests": [
                {
                    "interval": "5s",
                    "input_series": [
                        _process("stopped", "_x5 0x5 1x20"),
                        _process("running", "_x5 1x5 0x20"),
                    ],
                    "promql_expr_test": [
                        {"expr": _annotations()["Process stops"], "eval_time": when} | expected
                        for when, expected in (
                            ("40s", {"exp_samples": []}),
                            ("60s", {"exp_samples": [{"labels": '{name="w"}', "value": 1}]}),
                            ("90s", {"exp_samples": []}),
                        )
                    ],
                }
            ]
        }
        path = tmp_path / "stops.yml"
        path.write_text(json.dumps(test))  # JSON is YAML too

        done = _promtool("test", "rules", str(path))

        assert done.returncode == 0, done.stdout + done.stderr

    def test_rules_evaluate_without_errors(self, prometheus: Prometheus) -> None:
        """Prometheus reports every rule as healthy after it has evaluated it."""

        def health() -> set[str]:
            groups = prometheus.get("rules")["groups"]
            return {rule["health"] for group in groups for rule in group["rules"]}

        eventually(lambda: "unknown" not in health(), seconds=20)

        assert health() == {"ok"}

    def test_rules_name_no_metric_that_nobody_exports(self, prometheus: Prometheus) -> None:
        """A misspelt metric would make an alert silent for ever."""
        text = "".join(path.read_text() for path in RULES.glob("*.yml"))
        # With or without _total, as each SDK has it; all of them are in test_sdk_metrics.py.
        named = {name.removesuffix("_total") for name in METRIC.findall(text)}

        def missing() -> set[str]:
            names: list[str] = prometheus.get("label/__name__/values")
            return named - {name.removesuffix("_total") for name in names}

        assert len(named) > 10
        eventually(lambda: not missing(), seconds=20)

    def test_shares_and_states_read_as_they_should(self, prometheus: Prometheus) -> None:
        """v1's nine tenths show as such, and v2's state as the number of its name."""
        queries = _panel_queries()
        eventually(lambda: prometheus.query(queries["Get new runs A"]), seconds=20)

        shares = _by_build(prometheus.query(queries["Get new runs A"]))
        states = _by_build(prometheus.query(queries["Version states A"]))

        assert shares == pytest.approx({"v1": 0.9, "v2": 0.1}, abs=0.02)
        assert VERSION_STATES[int(states["v1"]) - 1] == "current"
        assert VERSION_STATES[int(states["v2"]) - 1] == "ramping"


class TestPages:
    """The pages of Prometheus that `make up` names."""

    def test_they_are_there(self, prometheus: Prometheus) -> None:
        """Of whichever edition runs; without one, as its own releases have them."""
        for page in (prometheus.url, alerts_page(prometheus.url + "/")):
            assert httpx.get(page, follow_redirects=True).status_code == 200
        nobody = f"http://127.0.0.1:{free_port()}"
        assert alerts_page(nobody) == f"{nobody}/alerts"


class TestStateTables:
    """The states that are shown as numbers."""

    def test_version_states_are_the_models(self) -> None:
        """A status that the model gains must gain a number and a colour too."""
        assert get_args(Status) == VERSION_STATES

    def test_process_states_are_supervisors(self) -> None:
        """Every state that supervisord knows has a number."""
        known = {name.lower() for name in vars(ProcessStates) if name.isupper()}

        assert known == set(PROCESS_STATES)


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def _shipped_config() -> str:
    return (ROOT / "metrics" / "prometheus.yml").read_text()


def _process(state: str, values: str) -> dict[str, str]:
    series = f'supervisord_process_state{{job="exporter",name="w",group="w",state="{state}"}}'
    return {"series": series, "values": values}


def _up(server: Prometheus) -> dict[str, str]:
    return {
        sample["metric"]["build_id"]: sample["value"][1]
        for sample in server.query('up{job="worker"}')
    }


def _by_build(samples: list[dict[str, Any]]) -> dict[str, float]:
    return {sample["metric"]["build_id"]: float(sample["value"][1]) for sample in samples}
