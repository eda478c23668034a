"""What workers in every language export, scraped by a real Prometheus: the same numbers come out.

The pages were scraped from workers that did the same work (`tests/fixtures/metrics`), cut to what
is read; the first line of each says by what. Java's is the core's with its own shape of a timer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from rollout.base.settings import ROOT
from rollout.core.config import Analysis
from rollout.core.judge import judge
from rollout.core.observation import BuildSample, Measurements
from rollout.prometheus.client import prometheus_at
from rollout.prometheus.comparison import CLOSED
from rollout.prometheus.measure import measure
from rollout.prometheus.sdk_metrics import counter
from rollout.prometheus.traffic import read_traffic
from tests.support.dashboards import asked
from tests.support.prometheus import Prometheus, expositions
from tests.support.waiting import eventually, until

FIXTURES = ROOT / "tests" / "fixtures" / "metrics"
RULES = ROOT / "metrics" / "rules"
ANALYSIS = Analysis(min_samples=5)

DONE = BuildSample(
    "v2",
    tasks=26,
    task_failures=4,
    activities=11,
    activity_failures=3,
    workflows=12,
    workflow_failures=3,
    non_determinism=2,
)
"""What each of the workers did."""

CORE = ("python-default", "python-milliseconds", "python-seconds")
TYPESCRIPT = ("typescript-default", "typescript-suffixes")
GO = ("go-histogram", "go-plain", "go-summary")
JAVA = "java-micrometer"
OWN = "own-labels"
SOUND = "sound"


def _pages() -> dict[str, str]:
    pages = {path.stem: path.read_text() for path in FIXTURES.glob("*.txt")}
    # A micrometer timer has neither buckets nor quantiles, unless it is told to.
    lines = pages["go-histogram"].splitlines()
    pages[JAVA] = "\n".join(line for line in lines if "_bucket{" not in line)
    pages[OWN] = "\n".join(
        line.replace("{", '{build_id="1_2",deployment_name="somebodys",', 1) for line in lines
    )
    growing = "temporal_workflow_completed"
    pages[SOUND] = "\n".join(
        re.sub(r"\S+$", "+9", line) if line.startswith((growing, "temporal_workflow_endto")) else ""
        for line in pages["typescript-default"].splitlines()
    )
    return pages


PAGES = _pages()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """For each page a deployment of its name, in which v1 and v2 both export it; one is mixed."""
    server = Prometheus(tmp_path_factory.mktemp("prometheus"))
    with expositions(PAGES) as port:

        def group(deployment: str, build_id: str, page: str) -> dict[str, Any]:
            labels = {"deployment_name": deployment, "build_id": build_id}
            labels["__metrics_path__"] = f"/{page}"
            return {"targets": [f"127.0.0.1:{port}"], "labels": labels}

        pairs = [(page, page, page) for page in PAGES]
        pairs.append(("mixed", "python-default", "go-summary"))
        server.write_targets(
            "workers.json",
            [
                group(name, build, page)
                for name, *pages in pairs
                for build, page in zip(("v1", "v2"), pages, strict=True)
            ],
        )
        try:
            server.start()
            yield server
        finally:
            server.stop()


async def measured(prometheus: Prometheus, deployment: str) -> Measurements:
    """The first measurements of a deployment with what its target did."""

    async def found() -> Measurements | None:
        seen = await measure(prometheus.url, deployment, "v2", "v1", ANALYSIS, since=30)
        return seen if seen.problem is None and seen.target.tasks and seen.current.tasks else None

    seen = await until(found)
    assert seen is not None
    return seen


def counts(sample: BuildSample, build_id: str = "v2") -> BuildSample:
    """The sample without its latencies."""
    return replace(sample, build_id=build_id, schedule_to_start_p95=None, end_to_end_p95=None)


class TestAnalysis:
    """What the judge is given."""

    def test_every_page_has_its_place(self) -> None:
        """A page that is added has to be expected somewhere."""
        assert set(PAGES) == {*CORE, *TYPESCRIPT, *GO, JAVA, OWN, SOUND}

    @pytest.mark.parametrize("page", [*CORE, *TYPESCRIPT, *GO, JAVA, OWN])
    async def test_the_same_counts(self, prometheus: Prometheus, page: str) -> None:
        """Work and failures of each kind, whatever the counters are called."""
        seen = await measured(prometheus, page)
        assert counts(seen.target) == DONE
        assert counts(seen.current) == DONE
        assert judge(ANALYSIS, seen, 0).reason.startswith(
            "the code of v2 does not match the history of its runs: non-determinism in 2 of its 26 "
        )

    @pytest.mark.parametrize("page", [*CORE, *TYPESCRIPT, *GO, OWN])
    async def test_latencies_in_seconds(self, prometheus: Prometheus, page: str) -> None:
        """Tasks waited some 50 to 300 ms, and runs took up to 2 s, whatever the SDK's unit is."""
        seen = await measured(prometheus, page)
        assert seen.compared_type == "job"
        for sample in (seen.target, seen.current):
            assert sample.schedule_to_start_p95 is not None
            assert sample.end_to_end_p95 is not None
            assert 0.02 < sample.schedule_to_start_p95 < 0.5
            assert 1 < sample.end_to_end_p95 < 6

    async def test_no_latency_is_none(self, prometheus: Prometheus) -> None:
        """Where a timer has neither buckets nor quantiles, failures alone are compared."""
        seen = await measured(prometheus, JAVA)
        assert (seen.target.schedule_to_start_p95, seen.target.end_to_end_p95) == (None, None)

    async def test_two_languages_in_one_deployment(self, prometheus: Prometheus) -> None:
        """A rewrite in another language is compared with what it replaces."""
        seen = await measured(prometheus, "mixed")
        assert counts(seen.target) == counts(seen.current) == DONE
        assert seen.compared_type == "job"
        assert seen.target.schedule_to_start_p95 == pytest.approx(0.045766669)  # Go's own
        assert seen.current.schedule_to_start_p95 == pytest.approx(0.0988, abs=0.0001)
        assert seen.target.end_to_end_p95 == pytest.approx(2.02588913)

    async def test_the_target_says_the_build(self, prometheus: Prometheus) -> None:
        """What a worker says of itself, such as a build id that tally rewrote, is dropped."""
        await measured(prometheus, OWN)
        labels = prometheus.query(f'temporal_workflow_failed_total{{deployment_name="{OWN}"}}')
        assert {each["metric"]["build_id"] for each in labels} == {"v1", "v2"}
        assert not [name for each in labels for name in each["metric"] if "exported" in name]


class TestWatch:
    """What `rollout watch` and the dashboard show."""

    async def test_a_core_with_its_defaults(self, prometheus: Prometheus) -> None:
        """Shares and latencies, from counters without a suffix and buckets in milliseconds."""

        async def traffic() -> bool:
            async with prometheus_at(prometheus.url) as client:
                found = await read_traffic(client, SOUND, "job")
            return found.problem is None and {"v1", "v2"} <= set(found.shares) & set(found.p95)

        await until(traffic)
        async with prometheus_at(prometheus.url) as client:
            found = await read_traffic(client, SOUND)
        assert found.workflow_type == "job"
        assert 0 < found.p95["v2"] < 100

    @pytest.mark.parametrize("page", [*CORE, *TYPESCRIPT, *GO, JAVA])
    def test_the_dashboards_know_every_name(self, prometheus: Prometheus, page: str) -> None:
        """Work of both builds shows, whatever its counters are called."""
        of = {each.where: each for each in asked() if each.board == "workers"}
        for where in ("Workflow tasks A", "Activities A", "Workflows completed A"):
            expression = of[where].filled(deployment=page)

            def both(expression: str = expression) -> bool:
                found = prometheus.query(expression)
                return {each["metric"]["build_id"] for each in found} == {"v1", "v2"}

            eventually(both, seconds=20)

    def test_rules_are_healthy(self, prometheus: Prometheus) -> None:
        """No mixture of names makes one fail."""
        groups = prometheus.get("rules")["groups"]
        assert [
            r.get("lastError") for g in groups for r in g["rules"] if r["health"] == "err"
        ] == []


class TestNames:
    """The rules, written by hand, against the table."""

    @pytest.mark.parametrize("name", [*CLOSED, "workflow_task_execution_failed"])
    def test_each_counter_by_all_its_names(self, name: str) -> None:
        """A rule that knew one of them alone would be silent for half of the SDKs."""
        text = "".join(path.read_text() for path in sorted(RULES.glob("*.yml")))
        uses = {each: len(re.findall(rf"\b{each}\{{", text)) for each in counter(name)}
        assert len(set(uses.values())) == 1, uses
        assert all(uses.values())
