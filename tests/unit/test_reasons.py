"""Why a rollout is where it is, as Prometheus reads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from prometheus_client import CollectorRegistry, generate_latest

from rollout.controller.metrics import ControllerMetrics, Families
from rollout.controller.reasons import Round
from rollout.core.actions import BLOCKS, Plan
from rollout.core.config import Analysis, Check, Deployment, RolloutConfig, Seconds
from rollout.core.observation import (
    BuildSample,
    CheckResult,
    GateRun,
    Measurements,
    Observation,
    Ramp,
    Version,
)
from tests.support.scrape import Labels, Series, labels, parse

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
OF = {"namespace": "shop", "deployment_name": "greetings"}
CONFIG = RolloutConfig(
    deployment=Deployment(target="v2"),
    analysis=Analysis(max_hold=Seconds(300), checks=(Check(name="queue", query="q", max=5),)),
)
SEEN = Observation(
    "greetings",
    "shop",
    NOW,
    current="v1",
    ramping=Ramp("v2", 10),
    versions=(Version("v1", "current"), Version("v2", "ramping")),
)
FAILING = Measurements(
    60,
    BuildSample("v2", tasks=90, activities=100, activity_failures=40, end_to_end_p95=2.5),
    BuildSample("v1", tasks=900, activities=1000, activity_failures=1, end_to_end_p95=0.5),
    checks=(CheckResult("queue", 3.0),),
)


class Told:
    """The controller's metrics, after some rounds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.families = Families(self.registry, "shop")
        self.metrics = ControllerMetrics(self.families, "greetings")

    def round(
        self,
        decided: Plan,
        seen: Observation = SEEN,
        *,
        held: float = 0.0,
        at: datetime = NOW,
        config: RolloutConfig = CONFIG,
    ) -> Series:
        """What is told after one more round."""
        self.metrics.reconciled("ok", Round(config, seen, decided, held, at))
        return self.told()

    def told(self) -> Series:
        """What a scrape gets now."""
        return parse(generate_latest(self.registry).decode())


def of(**names: str) -> Labels:
    """The labels of one series of the deployment."""
    return labels(**OF, **names)


def truths(series: dict[Labels, float], label: str) -> dict[str, float]:
    """The values by one label."""
    return {dict(key)[label]: value for key, value in series.items()}


class TestPlan:
    """What the plan waits for."""

    def test_a_block_says_of_which_kind(self) -> None:
        """Each kind has a series, and the present one is 1; none is where nothing is blocked."""
        told = Told()
        found = told.round(Plan("blocked", "v2 was rolled back", kind="rolled_back"))
        expected = {kind: float(kind == "rolled_back") for kind in BLOCKS}
        assert truths(found["rollout_blocked"], "kind") == expected
        found = told.round(Plan("progressing", "the gate runs", kind="gate"))
        assert set(found["rollout_blocked"].values()) == {0.0}

    def test_since_when_a_reason_holds(self) -> None:
        """The time stays while phase and kind do, whatever the sentence; one series alone."""
        told, later = Told(), NOW + timedelta(seconds=30)
        told.round(Plan("waiting", "v2 has no live worker", kind="no_worker"))
        found = told.round(Plan("waiting", "no worker of v2", kind="no_worker"), at=later)
        waiting = of(phase="waiting", kind="no_worker")
        assert found["rollout_reason_since_seconds"] == {waiting: NOW.timestamp()}
        found = told.round(Plan("progressing", "next step"), at=later)
        routing = of(phase="progressing", kind="routing")
        assert found["rollout_reason_since_seconds"] == {routing: later.timestamp()}

    def test_a_step_that_is_held(self) -> None:
        """That it is held, for how long, and for how long it may be."""
        decided = Plan("progressing", "held at 10 %", kind="held", holds=True)
        found = Told().round(decided, held=42.0)
        assert found["rollout_held"] == {of(): 1.0}
        assert found["rollout_held_seconds"] == {of(): 42.0}
        assert found["rollout_held_limit_seconds"] == {of(): 300.0}

    def test_a_round_that_failed_changes_nothing(self) -> None:
        """What was found last stays, and grows old."""
        told = Told()
        before = told.round(Plan("blocked", "v2 was rolled back", kind="rolled_back"))
        told.metrics.reconciled("error")
        assert told.told()["rollout_blocked"] == before["rollout_blocked"]

    def test_a_deployment_that_is_followed_no_more_has_no_series(self) -> None:
        """Nothing of it is left."""
        told = Told()
        told.metrics.configured(CONFIG)
        told.metrics.program_files(list)
        told.round(Plan("complete", "v2 takes all new runs", kind="complete"))
        told.metrics.forget()
        assert not any(
            ("deployment_name", "greetings") in key for each in told.told().values() for key in each
        )

    def test_program_files(self) -> None:
        """Whether supervisord could load its files again, asked for at each scrape."""
        told, problems = Told(), list[str]()
        told.metrics.program_files(lambda: problems)
        assert told.told()["rollout_program_files_ok"] == {of(): 1.0}
        problems.append("a.ini is broken")
        assert told.told()["rollout_program_files_ok"] == {of(): 0.0}


class TestAnalysis:
    """The judge's own numbers, bounds and word."""

    PAUSES = Plan("progressing", "at 10 %", kind="pausing")

    def test_counts_and_bounds(self) -> None:
        """What was counted of both builds, and what is proven of their failure ratios."""
        found = Told().round(self.PAUSES, replace(SEEN, measurements=FAILING))
        target = of(build_id="v2", side="target", work="activities")
        current = of(build_id="v1", side="current", work="activities")
        assert found["rollout_analysis_executions"][target] == 100
        assert found["rollout_analysis_failures"][target] == 40
        assert found["rollout_analysis_executions"][current] == 1000
        assert found["rollout_analysis_failures"][current] == 1
        bounds = found["rollout_analysis_failure_bound_ratio"]
        assert 0.001 < bounds[current] < 0.05 < bounds[target] < 0.4
        assert truths(found["rollout_analysis_outcome"], "outcome") == {
            "advance": 0.0,
            "hold": 0.0,
            "rollback": 1.0,
        }
        assert found["rollout_analysis_measured"] == {of(): 1.0}
        assert found["rollout_analysis_failure_limit_ratio"] == {of(): 0.05}
        assert found["rollout_analysis_samples_limit"] == {of(): 20.0}
        assert found["rollout_analysis_non_determinism"] == {of(build_id="v2"): 0.0}
        assert found["rollout_analysis_check_value"] == {of(check="queue"): 3.0}

    def test_latencies_and_their_limit(self) -> None:
        """The p95 that were compared; one that has too few samples has no series."""
        found = Told().round(self.PAUSES, replace(SEEN, measurements=FAILING))
        assert found["rollout_analysis_latency_seconds"] == {
            of(build_id="v2", side="target", latency="end_to_end"): 2.5,
            of(build_id="v1", side="current", latency="end_to_end"): 0.5,
        }
        assert found["rollout_analysis_latency_limit_seconds"] == {of(latency="end_to_end"): 1.5}

    def test_what_could_not_be_asked_has_no_numbers(self) -> None:
        """Numbers that mean nothing are not told; that there are none is."""
        away = replace(FAILING, problem="no answer")
        found = Told().round(self.PAUSES, replace(SEEN, measurements=away))
        assert found["rollout_analysis_measured"] == {of(): 0.0}
        assert found["rollout_analysis_outcome"][of(outcome="hold")] == 1.0
        assert "rollout_analysis_executions" not in found

    def test_nothing_is_judged_while_nothing_ramps(self) -> None:
        """Without a ramp to the target there is no verdict on it, and none that is left over."""
        told = Told()
        told.round(self.PAUSES, replace(SEEN, measurements=FAILING))
        found = told.round(self.PAUSES, replace(SEEN, ramping=None))
        left = {name for name in found if name.startswith("rollout_analysis")}
        assert left == {"rollout_analysis_failure_limit_ratio", "rollout_analysis_samples_limit"}

    def test_counts_of_the_server(self) -> None:
        """By the server's counts there is one kind of work: runs."""
        counted = Measurements(
            60, BuildSample("v2", workflows=9), BuildSample("v1", workflows=90), source="server"
        )
        found = Told().round(self.PAUSES, replace(SEEN, measurements=counted))
        assert set(truths(found["rollout_analysis_executions"], "work")) == {"runs"}


class TestGateAndReplay:
    """What happens before the first step."""

    def test_the_last_try_of_each_gate(self) -> None:
        """Of each task queue the last try counts."""
        gates = (
            GateRun("fast", 2, "running"),
            GateRun("fast", 1, "failed"),
            GateRun("slow", 1, "passed"),
        )
        found = Told().round(Plan("progressing", "gate", kind="gate"), replace(SEEN, gates=gates))
        true = {key for key, value in found["rollout_gate_outcome"].items() if value}
        assert true == {
            of(build_id="v2", task_queue="fast", outcome="running"),
            of(build_id="v2", task_queue="slow", outcome="passed"),
        }
        assert len(found["rollout_gate_outcome"]) == 6
        assert truths(found["rollout_gate_attempt"], "task_queue") == {"fast": 2.0, "slow": 1.0}

    def test_each_replay_on_the_target(self) -> None:
        """Passed, failed or untried; of builds that the server has forgotten nothing is told."""
        verified = {
            "v1": "passed",
            "v1.1": "run w: an activity is missing",
            "v1.2": "untried: no command",
            "v0": "passed",
        }
        versions = (
            Version("v2", "ramping", verified=verified),
            *(Version(build_id, "drained") for build_id in ("v1", "v1.1", "v1.2")),
        )
        found = Told().round(Plan("progressing", "step"), replace(SEEN, versions=versions))
        true = {key for key, value in found["rollout_replay_outcome"].items() if value}
        assert true == {
            of(build_id="v2", source="v1", outcome="passed"),
            of(build_id="v2", source="v1.1", outcome="failed"),
            of(build_id="v2", source="v1.2", outcome="untried"),
        }
