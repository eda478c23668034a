"""The shipped alerts: each seen to fire, to be quiet and to recover, by the real promtool."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from rollout.base.settings import ROOT
from rollout.prometheus.sdk_metrics import quantile
from tests.support.alert_cases import CASES
from tests.support.alerts import Alert, alerts, recordings, unit_tests
from tests.support.prometheus import tool

RUNBOOKS = ROOT / "docs" / "runbooks.md"
SEVERITIES = {"critical", "warning", "info"}

GONE = {"exporter": "ExporterDown", "rollout": "ControllerDown"}
"""Which alert says that all the series of a job have vanished with its process. The load's and
the workers' are counters, of which each alert says what has happened, and not that nothing has."""

SELECTOR = re.compile(r"([a-z_:][\w:]*)\{([^}]*)\}")
LOW = re.compile(r"==\s*0(?![\d.])|<")
"""A comparison that a low value meets, and a series that is not there does not."""


class TestEach:
    """What promtool sees each do."""

    def test_it_does_what_its_cases_say(self, tmp_path: Path) -> None:
        """It fires, with its labels and figures, when it should, and is quiet when it should be."""
        done = _promtool(*unit_tests(tmp_path, CASES))

        assert done.returncode == 0, done.stdout + done.stderr

    def test_it_is_seen_to_fire_and_to_recover(self) -> None:
        """None is shipped that was never seen quiet, firing, and quiet again."""
        recovering = {case.alert for case in CASES if case.recovers}

        assert set(alerts()) == recovering

    def test_its_runbook_may_be_elsewhere(self, tmp_path: Path) -> None:
        """The external label `runbooks` stands before the path, for a link that opens anywhere."""
        firing = next(case for case in CASES if case.fires)

        done = _promtool(*unit_tests(tmp_path, [firing], "https://git.example/rollout/blob/main/"))

        assert done.returncode == 0, done.stdout + done.stderr


class TestItsWords:
    """What a person and Alertmanager get of an alert."""

    def test_it_has_a_runbook(self) -> None:
        """Each has a section that says what it means, how to confirm it, and what to do."""
        sections = dict(
            re.findall(
                r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOKS.read_text(), re.MULTILINE | re.DOTALL
            )
        )

        assert set(sections) == set(alerts())
        for name, text in sections.items():
            for part in ("**Means.**", "**Confirm.**", "**Do.**"):
                assert part in text, f"{name} lacks {part}"

    def test_it_leads_to_its_runbook(self) -> None:
        """The annotation `runbook_url` names that section."""
        for alert in alerts().values():
            expected = f"{{{{ $externalLabels.runbooks }}}}{alert.runbook}"
            assert alert.annotations["runbook_url"] == expected

    def test_it_can_be_routed(self) -> None:
        """Each has a severity, and all that Alertmanager groups by is a label of its series."""
        for alert in alerts().values():
            assert alert.labels.keys() == {"severity"}
            assert alert.labels["severity"] in SEVERITIES

    def test_one_of_a_deployment_says_of_which(self) -> None:
        """With several deployments none is summed across them, and each is named."""
        for alert in alerts().values():
            if "deployment_name" in alert.expression and alert.name != "ScrapeTargetDown":
                assert "$labels.deployment_name" in alert.annotations["summary"], alert.name


class TestSeriesThatVanish:
    """The series of a dead process does not turn 0, it vanishes: no alert may wait for its 0."""

    def test_each_series_names_its_job(self) -> None:
        """So that it is known with which process it vanishes."""
        for alert in alerts().values():
            for name, labels in _read(alert):
                assert name == "up" or "job=" in labels, f"{alert.name}: {name}"

    def test_each_process_has_an_alert_that_says_it_is_gone(self) -> None:
        """Whether it does not answer or is no target any longer."""
        for job, name in GONE.items():
            expression = alerts()[name].expression
            assert f'up{{job="{job}"}} == 0' in expression
            assert f'absent(up{{job="{job}"}})' in expression

    def test_none_waits_for_the_zero_of_what_has_vanished(self) -> None:
        """A low value counts only of a process whose end is told by another alert."""
        assert [each.name for each in alerts().values() if not _is_safe(each)] == []

    def test_one_that_does_is_found(self) -> None:
        """The lint itself, on alerts as they should not be."""
        pollers = 'temporal_num_pollers{job="worker"}'
        wrong = (f"{pollers} == 0", f"sum by (build_id) ({pollers}) < 1", f"{pollers} <= 2")
        right = (
            f"x{{job='load'}} > 0 unless {pollers} > 0",
            f"absent({pollers})",
            f"{pollers} > 5",
        )

        assert not any(_is_safe(Alert("A", {"expr": each})) for each in wrong)
        assert all(_is_safe(Alert("A", {"expr": each})) for each in right)


def test_latencies_are_recorded_in_any_sdks_words() -> None:
    """The recorded expressions are those of the one module that knows the words and units."""
    for latency in (
        "workflow_task_schedule_to_start",
        "activity_schedule_to_start",
        "workflow_task_execution",
    ):
        recorded = recordings()[f"build:temporal_{latency}_seconds:p95_1m"]

        assert _bare(f"({recorded})") == _bare(_p95(latency))


def _p95(latency: str) -> str:
    by = ("deployment_name", "build_id")

    def rise(name: str) -> str:
        return f'sum by ({", ".join(by)}, le) (rate({name}{{job="worker"}}[1m]))'

    return quantile(0.95, latency, rise, by, job="worker")


def _bare(expression: str) -> str:
    return re.sub(r"\s", "", expression)


def _read(alert: Alert) -> list[tuple[str, str]]:
    """The series that it reads, with what is asked of their labels."""
    return SELECTOR.findall(alert.expression)


def _is_safe(alert: Alert) -> bool:
    """Whether no process whose end nobody tells of could silence it by ending."""
    if not LOW.search(alert.expression):
        return True
    guarded = {
        name
        for name, labels in _read(alert)
        if name == "up" or any(f'job="{job}"' in labels for job in GONE)
    }
    named = {name for name, _ in _read(alert)}
    return named <= guarded or any(
        word in alert.expression for word in ("absent", "unless", " or ", "\nor\n")
    )


def _promtool(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("promtool"), "test", "rules", *map(str, files)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
