"""What the measurements of target and current call for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.config import Analysis, Check, Seconds
from rollout.core.judge import Judgement, judge, slowest_allowed
from rollout.core.observation import BuildSample, CheckResult, Measurements

ANALYSIS = Analysis(min_samples=20, failure_ratio=0.05, max_hold=Seconds(60), then="hold")
V1 = BuildSample("v1", tasks=900, activities=500, workflows=300)
V2 = BuildSample("v2", tasks=90, activities=50, workflows=30)
SEEN = Measurements(60, V2, V1)
CHECK = Check(name="errors", query="x", min=1, max=5)
CHECKED = Analysis(checks=(CHECK,))


def of(target: dict[str, Any] | None = None, current: dict[str, Any] | None = None) -> Measurements:
    """The measurements of two sound builds, changed so."""
    return replace(
        SEEN, target=replace(V2, **(target or {})), current=replace(V1, **(current or {}))
    )


class TestAdvance:
    """Enough samples, and nothing against the target."""

    def test_a_sound_target_advances(self) -> None:
        """The reason gives the numbers that it rests on."""
        assert judge(ANALYSIS, SEEN, 0) == Judgement(
            "advance",
            "v2 does as well as v1: "
            "0 of 90 workflow tasks, 0 of 50 activities, 0 of 30 workflows failed",
        )

    @pytest.mark.parametrize(
        ("target", "current"),
        [
            ({"activities": 100, "activity_failures": 5}, {}),  # exactly what failure_ratio allows
            ({"activities": 100, "activity_failures": 12}, {"activity_failures": 50}),
            ({"workflow_failures": 0}, {"workflow_failures": 200}),  # v2 mends v1
            ({"activities": 0, "workflows": 20}, {"activities": 0}),  # a build without activities
            ({"activities": 20, "workflows": 0}, {}),  # one whose workflows take days
            ({}, {"tasks": 0, "activities": 0, "workflows": 0}),  # the current one is idle
        ],
    )
    def test_as_well_as_the_current_build_is_well_enough(
        self, target: dict[str, float], current: dict[str, float]
    ) -> None:
        """Failures that the current build has too, within the tolerance, are no hindrance."""
        assert judge(ANALYSIS, of(target, current), 0).outcome == "advance"


class TestFailures:
    """More failures than the current build's."""

    @pytest.mark.parametrize(
        ("target", "current", "outcome"),
        [
            # Of 20, eight may be chance for one who looks every second, nine are not.
            ({"activities": 20, "activity_failures": 8}, {}, "hold"),
            ({"activities": 20, "activity_failures": 9}, {}, "rollback"),
            # However bad, fewer than min_samples prove nothing.
            ({"activities": 19, "activity_failures": 19}, {}, "hold"),
            # What the current build fails as well is not the target's fault...
            ({"activity_failures": 20}, {"activity_failures": 200}, "advance"),
            ({"activity_failures": 40}, {"activity_failures": 200}, "hold"),
            (
                {"activities": 200, "activity_failures": 160},
                {"activity_failures": 200},
                "rollback",
            ),
            # ... and of a current build that has run little it is not known.
            ({"activity_failures": 10}, {"activities": 6}, "hold"),
            ({"activity_failures": 45}, {"activities": 6}, "hold"),
            ({"activity_failures": 45}, {"activities": 60}, "rollback"),
            # What it does not do at all excuses nothing.
            ({"activity_failures": 10}, {"activities": 0}, "hold"),
            ({"activity_failures": 15}, {"activities": 0}, "rollback"),
            ({"workflow_failures": 9}, {}, "hold"),
            ({"workflow_failures": 13}, {}, "rollback"),
            ({"workflow_failures": 3}, {}, "hold"),
            ({"task_failures": 30}, {}, "rollback"),
            # A failure may be scraped before the execution that it belongs to.
            ({"activity_failures": 51}, {}, "rollback"),
        ],
    )
    def test_rolled_back_once_it_is_no_chance(
        self, target: dict[str, float], current: dict[str, float], outcome: str
    ) -> None:
        """The surplus has to be proven to be above failure_ratio, at all looks together."""
        assert judge(ANALYSIS, of(target, current), 0).outcome == outcome

    def test_the_reason_has_the_numbers(self) -> None:
        """Both builds' ratios and counts are in the sentence."""
        seen = of({"activities": 58, "activity_failures": 18}, {"activity_failures": 2})
        told = "31 % of v2's activities failed (18 of 58), 0 % of v1's (2 of 500)"

        assert judge(ANALYSIS, seen, 0) == Judgement("rollback", told)

    def test_perhaps_chance_is_said(self) -> None:
        """A hold for failures that are too few to convict says so."""
        seen = of({"workflows": 10, "workflow_failures": 1})

        assert judge(ANALYSIS, seen, 0) == Judgement(
            "hold",
            "10 % of v2's workflows failed (1 of 10), 0 % of v1's (0 of 300), "
            "which may still be chance",
        )

    def test_tolerance_is_the_operators(self) -> None:
        """With a failure_ratio of 40 % a third of failures is let through."""
        tolerant = Analysis(failure_ratio=0.4)

        assert judge(tolerant, of({"activity_failures": 17}), 0).outcome == "advance"

    @pytest.mark.parametrize("held", [-30, 0, 1e6])
    def test_a_rollback_does_not_wait(self, held: float) -> None:
        """It is decided while the pause lasts, as well as long after."""
        assert judge(ANALYSIS, of({"activity_failures": 40}), held).outcome == "rollback"


class TestNonDeterminism:
    """Code that does not match the history."""

    @pytest.mark.parametrize("target", [{}, {"tasks": 1, "activities": 0, "workflows": 0}])
    def test_one_is_enough(self, target: dict[str, float]) -> None:
        """No number of samples is needed: it does not happen by chance."""
        judgement = judge(ANALYSIS, of({**target, "non_determinism": 1, "task_failures": 1}), -5)

        assert judgement.outcome == "rollback"
        assert "non-determinism in 1 of its" in judgement.reason

    def test_the_current_builds_own_is_not_the_targets(self) -> None:
        """A current build that breaks is a reason to go on."""
        seen = of(current={"non_determinism": 9, "task_failures": 9})

        assert judge(ANALYSIS, seen, 0).outcome == "advance"


class TestSamples:
    """Too few say nothing."""

    @pytest.mark.parametrize(
        ("activities", "workflows", "outcome"),
        [(0, 0, "hold"), (4, 15, "hold"), (4, 16, "advance"), (0, 20, "advance")],
    )
    def test_workflows_and_activities_count_together(
        self, activities: float, workflows: float, outcome: str
    ) -> None:
        """Below min_samples the traffic stays."""
        seen = of({"activities": activities, "workflows": workflows})

        assert judge(ANALYSIS, seen, 0).outcome == outcome

    def test_the_reason_counts_them(self) -> None:
        """It says how many there are and how many it takes."""
        assert judge(ANALYSIS, of({"activities": 2, "workflows": 5}), 0).reason == (
            "analysis short of samples: 7 of 20 workflows and activities of v2"
        )

    @pytest.mark.parametrize(
        ("workflows", "counted", "when"),
        [
            (0, 0, ""),  # for how long is not known
            (0, 45, "; none came in 45 s"),
            (3, 103, "; at this rate in about 4 min"),
            (9, 90, "; at this rate in about 10 s"),
            (9, 8 * 3600.0, "; at this rate in about 53 min"),
            (1, 3600, "; at this rate in about 9 h"),
            (1, 86400, "; at this rate in about 9 d"),
        ],
    )
    def test_when_there_will_be_enough(self, workflows: float, counted: float, when: str) -> None:
        """Where the traffic there is does not suffice, it says how long it would take."""
        seen = of({"activities": 0, "tasks": 0, "workflows": workflows})
        few = Analysis(min_samples=10)

        assert judge(few, replace(seen, counted=counted), 0).reason == (
            f"analysis short of samples: {workflows} of 10 workflows and activities of v2{when}"
        )


class TestLatency:
    """A slow target is held; how long, max_hold says."""

    @pytest.mark.parametrize(
        ("usual", "slow", "outcome"),
        [
            (0.01, 1.0, "advance"),  # a hundred times, but within the slack of 1 s
            (0.01, 1.02, "hold"),
            (10, 19.9, "advance"),  # far over the slack, but within twice
            (10, 20.1, "hold"),
            (None, 99, "advance"),  # nothing to compare with
            (10, None, "advance"),
        ],
    )
    @pytest.mark.parametrize("which", ["schedule_to_start_p95", "end_to_end_p95"])
    def test_by_ratio_and_slack(
        self, which: str, usual: float | None, slow: float | None, outcome: str
    ) -> None:
        """Slow is more than latency_ratio times and more than latency_slack beyond."""
        seen = replace(of({which: slow}, {which: usual}), compared_type="Order")

        assert judge(ANALYSIS, seen, 0).outcome == outcome

    @pytest.mark.parametrize(
        ("limits", "allowed"), [((2, 1), 10.0), ((1, 1), 6.0), ((1, 0), 5.0), ((2, 9), 14.0)]
    )
    def test_what_is_allowed(self, limits: tuple[float, float], allowed: float) -> None:
        """The larger of the two allowances holds."""
        ratio, slack = limits
        analysis = Analysis(latency_ratio=ratio, latency_slack=Seconds(slack))

        assert slowest_allowed(analysis, 5.0) == allowed

    @pytest.mark.parametrize(("tasks", "outcome"), [(19, "advance"), (20, "hold")])
    @pytest.mark.parametrize("build", [0, 1])
    def test_few_tasks_have_no_p95(self, build: int, tasks: float, outcome: str) -> None:
        """The wait for a worker is compared once both builds have had min_samples tasks."""
        both: list[dict[str, float]] = [
            {"schedule_to_start_p95": 30},
            {"schedule_to_start_p95": 0.1},
        ]
        both[build]["tasks"] = tasks

        assert judge(ANALYSIS, of(*both), 0).outcome == outcome

    def test_the_reasons_have_the_numbers(self) -> None:
        """They name what is slow, of which type, and both p95."""
        waits = of({"schedule_to_start_p95": 3.123}, {"schedule_to_start_p95": 0.0123})
        ends = of({"end_to_end_p95": 45}, {"end_to_end_p95": 20})

        assert judge(ANALYSIS, waits, 0).reason == (
            "v2 is slow: its workflow tasks wait for a worker 3.1 s (p95), those of v1 0.012 s"
        )
        assert judge(ANALYSIS, replace(ends, compared_type="Order"), 0).reason == (
            "v2 is slow: its Order runs take 45 s (p95), those of v1 20 s"
        )


class TestChecks:
    """Queries of the operator's own."""

    @pytest.mark.parametrize(
        ("value", "outcome", "said"),
        [
            (0.9, "rollback", "check errors is 0.9, below its min of 1"),
            (1.0, "advance", "does as well"),
            (5.0, "advance", "does as well"),
            (5.1, "rollback", "check errors is 5.1, above its max of 5"),
            (float("inf"), "rollback", "check errors is inf, above its max of 5"),
            (None, "hold", "check errors has no value"),
        ],
    )
    def test_bounds(self, value: float | None, outcome: str, said: str) -> None:
        """Out of its bounds rolls back, without a value holds."""
        judgement = judge(CHECKED, replace(SEEN, checks=(CheckResult("errors", value),)), 0)

        assert judgement.outcome == outcome
        assert said in judgement.reason

    def test_one_that_was_not_measured_holds(self) -> None:
        """A check that has just come into rollout.toml has no value yet."""
        assert judge(CHECKED, SEEN, 0) == Judgement("hold", "check errors has no value")

    def test_why_it_has_no_value_is_said(self) -> None:
        """The measurement's own sentence is the reason."""
        seen = replace(
            SEEN,
            checks=(CheckResult("errors", None),),
            check_problems=("check errors has no value: parse error",),
        )

        assert judge(CHECKED, seen, 0).reason == "check errors has no value: parse error"


class TestProblem:
    """Without Prometheus nothing is known."""

    def test_holds(self) -> None:
        """The problem is named, whatever the numbers say."""
        seen = replace(of({"non_determinism": 5}), problem="no answer at 127.0.0.1:9090")

        assert judge(ANALYSIS, seen, 0) == Judgement(
            "hold", "Prometheus cannot be asked: no answer at 127.0.0.1:9090; traffic stays"
        )

    def test_nothing_measured_holds(self) -> None:
        """No measurements at all are no good ones."""
        assert judge(ANALYSIS, None, 0) == Judgement("hold", "nothing has been measured yet")


HOLDING = (
    None,
    replace(SEEN, problem="no answer"),
    of({"activities": 0, "workflows": 3}),
    of({"activities": 10, "activity_failures": 1}),
    of({"schedule_to_start_p95": 9}, {"schedule_to_start_p95": 1}),
)


class TestMaxHold:
    """A step is not held for ever."""

    @pytest.mark.parametrize("seen", HOLDING)
    @pytest.mark.parametrize("held", [-30, 0, 60])
    def test_until_max_hold_it_is_held(self, seen: Measurements | None, held: float) -> None:
        """Up to and with max_hold, `then` does not matter."""
        gentle, strict = (judge(analysis_then(then), seen, held) for then in ("hold", "rollback"))

        assert gentle == strict
        assert gentle.outcome == "hold"

    @pytest.mark.parametrize("seen", HOLDING)
    def test_then_rollback(self, seen: Measurements | None) -> None:
        """After max_hold every hold becomes a rollback, with the hold's reason."""
        before, after = (judge(analysis_then("rollback"), seen, held) for held in (60, 61))

        assert after == Judgement(
            "rollback", f"held for 61 s, longer than max_hold (60 s): {before.reason}"
        )

    @pytest.mark.parametrize("seen", HOLDING)
    def test_then_hold(self, seen: Measurements | None) -> None:
        """After max_hold it stays held, and says that a person must decide."""
        judgement = judge(analysis_then("hold"), seen, 61)

        assert judgement.outcome == "hold"
        assert judgement.reason.endswith(
            "longer than max_hold (60 s), "
            "a person must decide: `rollout promote` or `rollout rollback`"
        )

    def test_a_target_that_recovers_still_advances(self) -> None:
        """max_hold ends holding, not the rollout."""
        assert judge(analysis_then("rollback"), SEEN, 1e6).outcome == "advance"


def analysis_then(then: Any) -> Analysis:
    """An analysis with a max_hold of a minute."""
    return Analysis(max_hold=Seconds(60), then=then)


counts = st.integers(0, 10_000).map(float)
ratios = st.floats(0, 1)
latencies = st.none() | st.floats(0, 1e5)


@st.composite
def samples(draw: st.DrawFn, build_id: str) -> BuildSample:
    """Any sample of a build."""
    numbers = {
        name: draw(counts)
        for name in (
            "tasks", "task_failures", "activities", "activity_failures", "workflows",
            "workflow_failures", "non_determinism",
        )
    }  # fmt: skip
    waits, ends = draw(latencies), draw(latencies)
    return BuildSample(build_id, **numbers, schedule_to_start_p95=waits, end_to_end_p95=ends)


@st.composite
def analyses(draw: st.DrawFn) -> Analysis:
    """Any analysis without checks."""
    return Analysis(
        min_samples=draw(st.integers(1, 100)),
        failure_ratio=draw(ratios),
        latency_ratio=draw(st.floats(1, 10)),
        latency_slack=Seconds(draw(st.floats(0, 10))),
        max_hold=Seconds(600),
        then=draw(st.sampled_from(["hold", "rollback"])),
    )


class TestProperties:
    """What holds of any measurements."""

    @given(analyses(), samples("v2"), samples("v1"), st.floats(-1e4, 600))
    def test_without_failures_never_a_rollback(
        self, analysis: Analysis, target: BuildSample, current: BuildSample, held: float
    ) -> None:
        """A target without failures, however slow, is not rolled back before max_hold is over."""
        sound = replace(
            target, task_failures=0, activity_failures=0, workflow_failures=0, non_determinism=0
        )

        assert judge(analysis, Measurements(60, sound, current), held).outcome != "rollback"

    @given(analyses(), samples("v2"), samples("v1"), st.floats(-1e4, 1e4))
    def test_with_a_problem_never_an_advance(
        self, analysis: Analysis, target: BuildSample, current: BuildSample, held: float
    ) -> None:
        """Whatever numbers came along, a problem keeps the traffic from moving on."""
        seen = Measurements(60, target, current, problem="no answer")

        assert judge(analysis, seen, held).outcome != "advance"

    @given(analyses(), samples("v2"), samples("v1"))
    def test_short_of_samples_never_an_advance(
        self, analysis: Analysis, target: BuildSample, current: BuildSample
    ) -> None:
        """One sample less than min_samples is too few, whatever they are."""
        few = replace(target, workflows=0.0, activities=analysis.min_samples - 1.0)

        assert judge(analysis, Measurements(60, few, current), 0).outcome != "advance"

    @given(analyses(), samples("v2"), samples("v1"), st.integers(1, 100))
    def test_more_failures_never_do_better(
        self, analysis: Analysis, target: BuildSample, current: BuildSample, more: int
    ) -> None:
        """Where the target is rolled back, a target with more failures is so too."""
        worse = replace(target, activity_failures=target.activity_failures + more)
        outcomes = [
            judge(analysis, Measurements(60, each, current), 0).outcome for each in (target, worse)
        ]

        assert outcomes[1] == "rollback" or outcomes[0] != "rollback"
