"""Target against current, as a real Prometheus has them."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle

import rollout.prometheus.measure
from rollout.core.config import Analysis, Check, Seconds
from rollout.core.observation import BuildSample, CheckResult, Measurements
from rollout.prometheus.comparison import Comparison
from rollout.prometheus.measure import measure
from tests.support.prometheus import Prometheus, expositions, tool
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually, until
from tests.support.worker_process import Command, environ, python

ANALYSIS = Analysis(window=Seconds(60), min_samples=5)
BASELINE = 13
"""Seconds of scrapes that the counters of `METERED` have behind them when a test begins: more
than the shortest window, so that they are known to have begun before it."""

METERED = ("rises", "appears", "restarts", "returns", "early", "types", "v1.1", "od'd\"na\\me")


def page(deployment: str, build_id: str, *lines: str) -> str:
    """What a worker exports; each of ``lines`` is a series without the labels common to all."""
    name = deployment.replace("\\", r"\\").replace('"', r"\"")
    common = f'deployment_name="{name}",build_id="{build_id}"'
    return "\n".join(
        line.replace("{", f"{{{common},", 1)
        if "{" in line
        else line.replace(" ", f"{{{common}}} ", 1)
        for line in lines
    )


class Metered:
    """Deployments whose workers export what a test writes, scraped by a real Prometheus."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.prometheus = prometheus
        self.pages: dict[str, str] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._groups: list[dict[str, Any]] = []

    def export(self, deployment: str, build_id: str, *lines: str) -> None:
        """From now on its worker exports just ``lines``."""
        name = self._names.setdefault((deployment, build_id), f"w{len(self._names)}")
        self.pages[name] = page(deployment, build_id, *lines)

    def expect(self, deployment: str, build_id: str, port: int, path: str = "/metrics") -> None:
        """Let Prometheus scrape a worker, as the exporter would."""
        labels = {"deployment_name": deployment, "build_id": build_id, "__metrics_path__": path}
        self._groups.append({"targets": [f"127.0.0.1:{port}"], "labels": labels})
        self.prometheus.write_targets("workers.json", self._groups)

    def expect_exported(self, port: int) -> None:
        """Let Prometheus scrape all that is exported on ``port``."""
        for (deployment, build_id), path in self._names.items():
            self.expect(deployment, build_id, port, f"/{path}")

    async def measure(
        self, deployment: str, target: str = "v2", analysis: Analysis = ANALYSIS, since: float = 10
    ) -> Measurements:
        """Measure ``target`` against v1 over the shortest window."""
        return await measure(self.prometheus.url, deployment, target, "v1", analysis, since=since)

    async def until(
        self,
        deployment: str,
        condition: Callable[[Measurements], object],
        target: str = "v2",
        since: float = 10,
    ) -> Measurements:
        """The first measurements that are so; fails with what they are instead."""
        deadline = time.monotonic() + since - 2
        while True:
            seen = await self.measure(deployment, target, since=since)
            if seen.problem is None and condition(seen):
                return seen
            assert time.monotonic() < deadline, str(seen)
            await asyncio.sleep(0.2)

    async def scraped(self, deployment: str, expected: BuildSample) -> Measurements:
        """The first measurements whose target is as ``expected``."""
        return await self.until(deployment, lambda seen: seen.target == expected, expected.build_id)


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metered]:
    """Several deployments whose current build v1 has counters that are older than the window."""
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"))
    metered = Metered(prometheus)
    for deployment in METERED:
        metered.export(deployment, "v1", "temporal_workflow_failed_total 1000")
        metered.export(deployment, "v2")
    before = "temporal_activity_execution_failed_total 100"
    metered.export("rises", "v2", before)
    metered.export("restarts", "v2", before)
    metered.export("returns", "v2", before)
    metered.export("v1.1", "v1.1")
    metered.export("v1.1", "v1x1")
    with expositions(metered.pages) as port:
        metered.expect_exported(port)
        metered.expect("half", "v1", port, "/w0")
        metered.expect("half", "v2", port, "/nowhere")
        try:
            prometheus.start()
            failures = "temporal_activity_execution_failed_total"
            eventually(lambda: len(prometheus.query(failures)) == 3, seconds=20)
            metered.export("returns", "v2")
            old = f"time() - min(timestamp(up offset {BASELINE}s)) - {BASELINE}"
            eventually(
                lambda: (
                    prometheus.query(f"{old} > 0")
                    and not prometheus.query(
                        f'last_over_time({failures}{{deployment_name="returns"}}[11s])'
                    )
                ),
                seconds=BASELINE + 20,
            )
            yield metered
        finally:
            prometheus.stop()


class TestCounters:
    """What is counted within the window."""

    async def test_an_old_counter_counts_by_its_rise(self, metered: Metered) -> None:
        """Of 103 failures, the 100 from before the window are not counted."""
        metered.export("rises", "v2", "temporal_activity_execution_failed_total 103")

        await metered.scraped("rises", BuildSample("v2", activity_failures=3))

    async def test_a_new_counter_counts_from_zero(self, metered: Metered) -> None:
        """A counter that Prometheus first sees at 3 has risen by 3, in whatever it counts."""
        metered.export(
            "appears",
            "v2",
            "temporal_workflow_task_execution_latency_seconds_count 40",
            'temporal_workflow_task_execution_failed_total{failure_reason="WorkflowError"} 3',
            'temporal_workflow_task_execution_failed_total{failure_reason="NonDeterminismError"} 1',
            'temporal_activity_execution_latency_seconds_count{activity_type="a"} 7',
            'temporal_activity_execution_latency_seconds_count{activity_type="b"} 8',
            "temporal_activity_execution_failed_total 5",
            "temporal_local_activity_execution_latency_seconds_count 10",
            "temporal_local_activity_execution_failed_total 2",
            # Of the end-to-end latencies some runs have two: their last task was done twice.
            'temporal_workflow_endtoend_latency_seconds_count{workflow_type="A"} 30',
            'temporal_workflow_completed_total{workflow_type="A"} 10',
            'temporal_workflow_completed_total{workflow_type="B"} 1',
            "temporal_workflow_canceled_total 1",
            "temporal_workflow_continue_as_new_total 3",
            "temporal_workflow_failed_total 6",
        )
        expected = BuildSample(
            "v2",
            tasks=40,
            task_failures=4,
            activities=25,
            activity_failures=7,
            workflows=21,
            workflow_failures=6,
            non_determinism=1,
        )

        seen = await metered.scraped("appears", expected)
        assert seen.current == BuildSample("v1")

    async def test_a_counter_that_began_anew_counts_both_lives(self, metered: Metered) -> None:
        """50 failures, a restart within the window, and 4 more: the restart undoes none."""
        metered.export("restarts", "v2", "temporal_activity_execution_failed_total 150")
        await metered.scraped("restarts", BuildSample("v2", activity_failures=50))
        metered.export("restarts", "v2", "temporal_activity_execution_failed_total 4")

        seen = await metered.until("restarts", lambda seen: seen.target.activity_failures != 50)
        # Here Prometheus extrapolates to the ends of the window.
        assert 54 <= seen.target.activity_failures < 75

    async def test_a_counter_that_was_away_counts_from_zero(self, metered: Metered) -> None:
        """What a process counted that ended before the window does not weigh on the next."""
        metered.export("returns", "v2", "temporal_activity_execution_failed_total 5")

        await metered.scraped("returns", BuildSample("v2", activity_failures=5))

    async def test_builds_and_deployments_are_told_apart(self, metered: Metered) -> None:
        """The dot in v1.1 stands for itself, and quotes in a name end no string."""
        odd = METERED[-1]
        metered.export("v1.1", "v1x1", "temporal_activity_execution_failed_total 9")
        metered.export("v1.1", "v1.1", "temporal_activity_execution_failed_total 2")
        metered.export(odd, "v2", "temporal_activity_execution_failed_total 3")

        await metered.scraped("v1.1", BuildSample("v1.1", activity_failures=2))
        await metered.scraped("v1.1", BuildSample("v1x1", activity_failures=9))
        await metered.scraped(odd, BuildSample("v2", activity_failures=3))

    @pytest.mark.parametrize(
        ("window", "since", "used", "counted"),
        [
            (60, 33.9, 33, 33),
            (60, 900, 60, 900),
            (60, 2, 10, 10),
            (5, 900, 10, 900),
            (60, 1e6, 60, 86400),
        ],
    )
    async def test_how_far_back(
        self, metered: Metered, window: float, since: float, used: float, counted: float
    ) -> None:
        """Latencies over the window, work since traffic changed; at least 10 s, a day at most."""
        analysis = Analysis(window=Seconds(window))

        seen = await metered.measure("rises", analysis=analysis, since=since)
        assert (seen.window, seen.counted) == (used, counted)

    async def test_failures_stay_counted_when_the_window_has_gone_on(
        self, metered: Metered
    ) -> None:
        """What failed before the window, but since traffic changed, still speaks."""
        analysis = Analysis(window=Seconds(10), min_samples=1)
        waits = "temporal_workflow_task_schedule_to_start_latency_seconds"
        failed = "temporal_activity_execution_failed_total 3"
        metered.export("early", "v2", failed, *latencies(waits, {0.1: 0, 0.5: 20}))
        await metered.until("early", lambda seen: seen.target.activity_failures == 3)

        deadline = time.monotonic() + 30
        while True:
            seen = await metered.measure("early", analysis=analysis, since=60)
            if seen.target.schedule_to_start_p95 is None:
                break
            assert time.monotonic() < deadline, str(seen)
            await asyncio.sleep(0.5)
        assert seen.target.activity_failures == 3


def latencies(name: str, counted: dict[float, int]) -> list[str]:
    """A histogram: for each bound, how many took up to that many seconds."""
    prefix, _, labels = name.partition("{")
    labels = labels.rstrip("}")
    lines = [
        f'{prefix}_bucket{{{labels}{"," if labels else ""}le="{bound:g}"}} {count}'
        for bound, count in counted.items()
    ]
    total = max(counted.values())
    lines.append(lines[-1].rpartition("le=")[0] + f'le="+Inf"}} {total}')
    lines.append(f"{prefix}_count{{{labels}}} {total}" if labels else f"{prefix}_count {total}")
    return lines


class TestLatency:
    """p95 of like with like."""

    async def test_the_type_that_speaks_most_against_the_target(self, metered: Metered) -> None:
        """Of the types that both closed often enough, the one furthest beyond what is allowed."""
        ends = 'temporal_workflow_endtoend_latency_seconds{workflow_type="%s"}'
        waits = "temporal_workflow_task_schedule_to_start_latency_seconds"
        metered.export(
            "types",
            "v1",
            *latencies(ends % "Quick", {0.01: 100}),
            *latencies(ends % "Long", {10: 0, 20: 100}),
            *latencies(ends % "Rare", {1: 4}),
            *latencies(waits, {0.01: 100}),
        )
        metered.export(
            "types",
            "v2",
            *latencies(ends % "Quick", {0.1: 0, 1: 10}),  # a hundred times, but within the slack
            *latencies(ends % "Long", {40: 0, 60: 10}),
            *latencies(ends % "Rare", {100: 0, 1000: 10}),  # v1 has closed four: says nothing
            *latencies(ends % "New", {100: 0, 1000: 10}),  # v1 has none
            *latencies(waits, {0.1: 0, 0.5: 20}),
            'temporal_workflow_completed_total{workflow_type="Quick"} 10',
            'temporal_workflow_completed_total{workflow_type="Long"} 10',
        )

        seen = await metered.until("types", lambda seen: seen.compared_type)
        assert (seen.target.workflows, seen.compared_type) == (20, "Long")
        assert seen.target.end_to_end_p95 == pytest.approx(59)
        assert seen.target.schedule_to_start_p95 == pytest.approx(0.48)
        assert seen.current.end_to_end_p95 == pytest.approx(19.5)
        assert seen.current.schedule_to_start_p95 == pytest.approx(0.0095)
        # Where no type was closed often enough, none is compared.
        strict = Analysis(min_samples=11)
        assert (await metered.measure("types", analysis=strict)).compared_type is None


class TestChecks:
    """Queries of the operator's own."""

    @pytest.mark.parametrize(
        ("query", "value"),
        [
            ('count(up{build_id="$target", deployment_name="$deployment"})', 1.0),
            ("count(up{build_id=~'$target|$current', deployment_name='$deployment'})", 2.0),
            ('sum(rate(up{build_id="$current"}[$window])) * 0 + 0.5', 0.5),
            ("scalar(vector(2)) + 1", 3.0),
            ("vector(1) / 0", float("inf")),
            ('vector(7) and on () up{build_id!~".*x$"}', 7.0),  # a $ of a pattern's stays
        ],
    )
    async def test_value(self, metered: Metered, query: str, value: float) -> None:
        """The names of the builds, the deployment and the window are filled in."""
        seen = await metered.measure(METERED[-1], analysis=checked(query))

        assert (seen.checks, seen.check_problems) == ((CheckResult("mine", value),), ())

    @pytest.mark.parametrize(
        ("query", "why"),
        [
            ("nothing_of_that_name", "its query gives nothing"),
            ("vector(0) / 0", "its query gives nothing"),
            ("up", "values, aggregate them to one"),
            ("up[1m]", "its query gives a matrix, not a number"),
            ("sum(", "parse error"),
        ],
    )
    async def test_no_value(self, metered: Metered, query: str, why: str) -> None:
        """A check without one value says why, and does no harm to the rest."""
        seen = await metered.measure("rises", analysis=checked(query))

        assert seen.problem is None
        assert seen.checks == (CheckResult("mine", None),)
        assert seen.check_problems[0].startswith("check mine has no value: ")
        assert why in seen.check_problems[0]


def checked(query: str) -> Analysis:
    """An analysis with one check."""
    return Analysis(checks=(Check(name="mine", query=query, max=1),))


async def problem_at(url: str) -> str | None:
    """What measuring at ``url`` says is wrong."""
    return (await measure(url, "greetings", "v2", "v1", ANALYSIS, since=30)).problem


class TestProblems:
    """Whatever is wrong with Prometheus is a sentence, never an exception."""

    async def test_nothing_listens(self) -> None:
        """The address is named, without the password in it."""
        port = free_port()

        problem = await problem_at(f"http://me:secret@127.0.0.1:{port}/prometheus")
        assert problem == f"no answer at 127.0.0.1:{port}"

    async def test_it_hangs(self) -> None:
        """After 3 s, one for all questions, it is given up."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            began = time.monotonic()

            problem = await problem_at(f"http://127.0.0.1:{port}")
            assert problem == f"no answer within 3 s at 127.0.0.1:{port}"
            assert time.monotonic() - began < 5

    async def test_something_else_answers(self) -> None:
        """A page that is no answer of Prometheus's is told apart from no answer."""
        with expositions({"api/v1/query": "hello 1"}) as port:
            problem = await problem_at(f"http://127.0.0.1:{port}")
        assert problem is not None
        assert problem.endswith(f"at 127.0.0.1:{port} is no Prometheus")

    @pytest.mark.parametrize("url", ["127.0.0.1:9090", "", "http://127.0.0.1:x"])
    async def test_no_address(self, url: str) -> None:
        """An address that is none says which variable to set."""
        assert "set PROMETHEUS_URL" in str(await problem_at(url))

    async def test_a_build_that_is_not_scraped(self, metered: Metered) -> None:
        """Its missing counters are no sign of health."""
        seen = await metered.measure("half")
        unknown = await metered.measure("rises", "v9")

        assert str(seen.problem).startswith("it scrapes no worker of v2")
        assert str(unknown.problem).startswith("it scrapes no worker of v9")
        assert seen.target == BuildSample("v2")

    async def test_old_scrapes(self, metered: Metered, monkeypatch: pytest.MonkeyPatch) -> None:
        """A last scrape that is too old is no measurement."""
        monkeypatch.setattr(rollout.prometheus.measure, "STALE", -1.0)
        monkeypatch.setattr(rollout.prometheus.measure, "STALE_INTERVALS", -1)

        problem = str((await metered.measure("rises")).problem)
        assert problem.startswith("it last scraped a worker of v2 ")
        assert problem.endswith("s ago, instead of every 2 s")

    @pytest.mark.parametrize(
        ("scrapes", "age", "interval"),
        [
            pytest.param("1x60", 0, 2, id="fresh"),
            pytest.param("1x50 _x9", 20, 2, id="ceased 20 s ago"),
            pytest.param("1x5 _x55", 110, 2, id="a young one that ceased"),
            pytest.param("_x57 1 1 1 1", 0, 2, id="young"),
            pytest.param("1 _x14 1 _x14 1 _x14 1 _x14 1", 0, 30, id="every 30 s"),
            pytest.param("_x60 1", 0, None, id="the first"),
            pytest.param("1x50 0x10", None, 2, id="down"),
        ],
    )
    def test_what_is_usual_between_scrapes(
        self, tmp_path: Path, scrapes: str, age: float | None, interval: float | None
    ) -> None:
        """The interval is that of the scrapes there are, however young or old the last one is."""
        comparison = Comparison("d", "v2", "v1", 10, 10)
        up = 'up{job="worker",deployment_name="d",build_id="v2"}'
        expected = {comparison.scrape_ages(): age, comparison.scrape_intervals(): interval}
        rules = {
            "evaluation_interval": "2s",
            "tests": [
                {
                    "interval": "2s",
                    "input_series": [{"series": up, "values": scrapes}],
                    "promql_expr_test": [
                        {
                            "expr": query,
                            "eval_time": "2m",
                            "exp_samples": []
                            if value is None
                            else [{"labels": '{build_id="v2"}', "value": value}],
                        }
                        for query, value in expected.items()
                    ],
                }
            ],
        }
        path = tmp_path / "tests.yml"
        path.write_text(json.dumps(rules))

        subprocess.run([tool("promtool"), "test", "rules", str(path)], check=True)


APP = """
from datetime import timedelta
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

ONCE = {
    "start_to_close_timeout": timedelta(seconds=9),
    "retry_policy": RetryPolicy(maximum_attempts=1),
}

@activity.defn
async def work(fail: bool) -> None:
    if fail:
        raise ApplicationError("broken")

@workflow.defn
class Job:
    @workflow.run
    async def run(self, kind: str) -> None:
        if kind == "raises":
            raise ValueError("a mistake")
        if kind == "goes on":
            workflow.continue_as_new("good")
        if kind == "is canceled":
            await workflow.sleep(60)
        if kind == "changes":
            if CODE == "first":
                await workflow.sleep(1)
            await workflow.execute_activity(work, False, **ONCE)
            await workflow.sleep(60)
        if kind == "local":
            await workflow.execute_local_activity(work, True, **ONCE)
        await workflow.execute_activity(work, kind == "fails", **ONCE)

WORKFLOWS, ACTIVITIES, FINGERPRINT = [Job], [work], "the same"
"""
ENDLESS = ("raises", "changes")
"""The kinds of jobs that fail their workflow task again and again."""


class Jobs:
    """A deployment of real workers that run `APP`, scraped by a real Prometheus."""

    def __init__(self, server: DevServer, folder: Path, metered: Metered) -> None:
        self.name = f"m{secrets.token_hex(4)}"
        self._server = server
        self._folder = folder
        self._metered = metered
        for code in ("first", "second"):
            (folder / f"measured_{code}.py").write_text(f'CODE = "{code}"\n{APP}')

    @contextmanager
    def worker(self, build_id: str, code: str) -> Iterator[None]:
        """A worker that has taken its place; it ends with the block."""
        port = free_port()
        words = python(
            "workers", "--build-id", build_id, "--strategy", "incompatible", "--deployment",
            self.name, "--task-queue", self.name, "--app", f"measured_{code}",
            "--metrics-port", str(port),
        )  # fmt: skip
        settings = environ(self._server, PYTHONPATH=str(self._folder))
        command = Command(words, settings, self._folder)
        try:
            self._metered.expect(self.name, build_id, port)
            eventually(lambda: command.records("took its place"), seconds=30)
            yield
            command.stop()
        finally:
            command.end()

    async def run(self, *kinds: str) -> list[Any]:
        """Run one job of each kind; what those came to that end."""
        client = await Client.connect(self._server.address)
        handles = [
            await client.start_workflow(
                "Job", kind, id=f"{self.name}-{secrets.token_hex(4)}", task_queue=self.name
            )
            for kind in kinds
        ]
        for handle, kind in zip(handles, kinds, strict=True):
            if kind == "is canceled":
                await until(partial(waits, handle))
                await handle.cancel()
        ending = [
            handle.result()
            for handle, kind in zip(handles, kinds, strict=True)
            if kind not in ENDLESS
        ]
        return await asyncio.gather(*ending, return_exceptions=True)


async def waits(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether its first task is done: it has started a timer."""
    return (await handle.describe()).history_length >= 5


def all_is_seen(seen: Measurements) -> bool:
    """Whether Prometheus has scraped every failure of the jobs, and at least one of each task."""
    target = seen.target
    return (target.activity_failures, target.workflow_failures) == (
        4,
        4,
    ) and target.task_failures > target.non_determinism > 0


@pytest.mark.temporal
class TestWorkers:
    """What real workers export."""

    async def test_each_number_is_what_happened(
        self, metered: Metered, temporal_server: DevServer, tmp_path: Path
    ) -> None:
        """Failing activities and workflows, code that raises and code that changed are all seen."""
        jobs = Jobs(temporal_server, tmp_path, metered)
        with jobs.worker("v1", "first"):
            await jobs.run(*["good"] * 5, "goes on", "is canceled")
            with jobs.worker("v2", "first"):
                await jobs.run("changes", "good")
            with jobs.worker("v2", "second"):
                await jobs.run(*["good"] * 4, *["fails"] * 3, "local", "raises")
                seen = await metered.until(jobs.name, all_is_seen, since=60)
        # One has closed twice, as it went on as new; one was canceled. Each is counted once.
        assert (seen.current.tasks, seen.current.workflows, seen.current.activities) == (15, 8, 6)
        assert seen.current.activity_failures == seen.current.task_failures == 0
        assert seen.target.activities >= 8
        assert seen.target.tasks > seen.target.task_failures
        assert seen.compared_type == "Job"
        assert seen.target.end_to_end_p95 is not None
        assert seen.target.schedule_to_start_p95 is not None
