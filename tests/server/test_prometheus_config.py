"""The shipped Prometheus configuration, rules and graph page, on a real Prometheus."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from supervisor.states import ProcessStates

from rollout.base.settings import ROOT
from rollout.commands.first_files import _SCRAPE
from rollout.core.observation import Status
from rollout.prometheus.graphs import PROCESS_STATES, VERSION_STATES
from rollout.prometheus.pages import alerts_page
from tests.support.alertmanager import CONFIG, alertmanager, program, receiver
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
    with expositions(PAGES | {"worker-v1": _worker_page("v_1")}) as port:
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


def _worker_page(build: str) -> str:
    """What a worker of v1 serves whose SDK writes the build id as ``build``."""
    return PAGES["worker-v1"].replace('build_id="v1"', f'build_id="{build}"')


def _worker(build: str) -> dict[str, str]:
    return {"build_id": build, "deployment_name": "greetings", "program": f"worker-{build}"}


class TestConfiguration:
    """prometheus.yml and the rules, as promtool judges them."""

    def test_promtool_accepts_it(self) -> None:
        """The configuration and every rule file are valid."""
        done = _promtool("check", "config", str(ROOT / "metrics" / "prometheus.yml"))

        assert done.returncode == 0, done.stdout + done.stderr

    def test_recordings_are_what_their_unit_tests_say(self) -> None:
        """Each has the value that it should have; the alerts are in test_alerts.py."""
        done = _promtool("test", "rules", *map(str, sorted((RULES / "tests").glob("*.yml"))))

        assert done.returncode == 0, done.stdout + done.stderr

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
        """The target's build id, as which it is known, and not once more what the worker says."""
        (sample,) = prometheus.query(
            'temporal_num_pollers{build_id="v1",poller_type="workflow_task"}'
        )

        assert sample["metric"]["program"] == "worker-v1"
        assert not [label for label in sample["metric"] if label.startswith("exported_")]

    def test_a_dead_worker_is_down_and_a_retired_one_disappears(self, tmp_path: Path) -> None:
        """An expected worker that does not answer has up == 0; within 10 s of leaving, no up.

        By the jobs that `rollout init` writes; whatever a worker says of its build.
        """
        jobs = _SCRAPE.format(targets=tmp_path / "var" / "targets")
        server = Prometheus(tmp_path)
        with expositions({"worker-v1": _worker_page("v_1")}) as port:
            alive = _group(port, "worker-v1", **_worker("v1"))
            dead = _group(port, "worker-v2", **_worker("v2"))  # answers 404
            server.write_targets("workers.json", [alive, dead])
            try:
                server.start(jobs)
                eventually(lambda: _up(server) == {"v1": "1", "v2": "0"}, seconds=10)
                found = server.query('temporal_num_pollers{poller_type="workflow_task"}')
                assert [each["metric"]["build_id"] for each in found] == ["v1"]
                assert not [name for name in found[0]["metric"] if name.startswith("exported_")]

                server.write_targets("workers.json", [alive])

                eventually(lambda: _up(server) == {"v1": "1"}, seconds=10)
            finally:
                server.stop()


class TestRules:
    """Every rule that is shipped, on a real Prometheus."""

    def test_rules_evaluate_without_errors(self, prometheus: Prometheus) -> None:
        """Prometheus reports every rule as healthy after it has evaluated it."""

        def health() -> set[str]:
            groups = prometheus.get("rules")["groups"]
            return {rule["health"] for group in groups for rule in group["rules"]}

        eventually(lambda: "unknown" not in health(), seconds=20)

        assert health() == {"ok"}

    def test_rules_name_no_metric_that_nobody_exports(self) -> None:
        """A misspelt metric would make an alert silent for ever."""
        text = "".join(path.read_text() for path in RULES.glob("*.yml"))
        named = {name for name in METRIC.findall(text) if not _is_of_an_sdk(name)}
        # What the collectors themselves give, and what is recorded.
        exported = set(re.findall(r"`([\w:]+)`", (ROOT / "docs" / "reference.md").read_text()))

        assert len(named) > 10
        assert sorted(named - exported) == []

    def test_rules_name_what_the_sdks_export(self) -> None:
        """So it is with theirs, as they were scraped, or as the dashboard has them."""
        rules = "".join(path.read_text() for path in RULES.glob("*.yml"))
        fixtures = (ROOT / "tests" / "fixtures" / "metrics").glob("*.txt")
        scraped = "".join([*(path.read_text() for path in fixtures), *PAGES.values()])

        named = {_bare(name) for name in METRIC.findall(rules) if _is_of_an_sdk(name)}

        assert sorted(named - {_bare(name) for name in METRIC.findall(scraped)}) == []


class TestAlertmanager:
    """Who is told of an alert, by the shipped configuration."""

    def test_amtool_accepts_it(self) -> None:
        """The configuration is valid."""
        done = subprocess.run(
            [program("amtool"), "check-config", str(CONFIG)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

        assert done.returncode == 0, done.stdout + done.stderr

    def test_an_alert_reaches_who_it_is_for(self, prometheus: Prometheus, tmp_path: Path) -> None:
        """A program that is FATAL is told to whoever is on call, with its figures and runbook."""
        with receiver() as people, alertmanager(tmp_path, people) as address:
            prometheus.write_targets("alertmanagers.json", [{"targets": [address], "labels": {}}])
            try:
                alert = eventually(lambda: people.told("/on-call")["ProcessFatal"], seconds=40)
            finally:
                prometheus.write_targets("alertmanagers.json", [])

        assert alert["status"] == "firing"
        assert alert["annotations"]["summary"] == "supervisord has given up on load."
        assert alert["annotations"]["runbook_url"] == "docs/runbooks.md#processfatal"
        assert alert["labels"]["severity"] == "critical"
        assert people.told("/team").keys().isdisjoint(people.told("/on-call"))


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


def _is_of_an_sdk(name: str) -> bool:
    """Those are in test_sdk_metrics.py, in each SDK's words."""
    return name.startswith("temporal_") and not name.startswith("temporal_worker_deployment_")


def _bare(name: str) -> str:
    """Without what a kind of series, a counter or a unit adds to it in some SDKs."""
    series = re.sub("_(bucket|count|sum)$", "", name)
    return re.sub("_(total|seconds|milliseconds)$", "", series)


def _shipped_config() -> str:
    return (ROOT / "metrics" / "prometheus.yml").read_text()


def _up(server: Prometheus) -> dict[str, str]:
    return {
        sample["metric"]["build_id"]: sample["value"][1]
        for sample in server.query('up{job="worker"}')
    }
