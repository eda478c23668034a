"""The client's pure parts: durations, the schedule, percentiles, results, the account."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.quantiles import Quantiles
from client.results import MalformedError, Ran, read_greeting, read_order
from client.schedule import Start, schedule
from client.score import Score
from rollout.base.durations import parse_duration


class TestParseDuration:
    """`rollout.base.durations.parse_duration`."""

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("30s", 30),
            ("10m", 600),
            ("1h30m", 5400),
            ("2d", 172_800),
            ("250ms", 0.25),
            ("1m250ms", 60.25),
            ("1.5h", 5400),
            (" 5s ", 5),
            ("0s", 0),
        ],
    )
    def test_reads(self, text: str, seconds: float) -> None:
        """Numbers with units add up to seconds."""
        assert parse_duration(text) == pytest.approx(seconds)

    @pytest.mark.parametrize(
        "text", ["", " ", "5", "5x", "s", "-5s", "30s1m", "1m1m", "1 m", "1e3s", "٣s", "nan", "5 s"]
    )
    def test_refuses(self, text: str) -> None:
        """Anything else is refused in one sentence that quotes it and shows the shape."""
        with pytest.raises(ValueError, match=r"is not a duration: write it like 30s") as refusal:
            parse_duration(text)
        assert repr(text) in str(refusal.value)


class TestSchedule:
    """`client.schedule.schedule`."""

    def test_is_due_by_number_alone(self) -> None:
        """Start number i is due at i / rate, and none at or after the end."""
        starts = list(schedule(4, orders=0, order_seconds=(1, 1), duration=1.1))
        assert starts == [Start(i, i / 4, "Greeting") for i in range(5)]

    def test_goes_on_for_ever_without_a_duration(self) -> None:
        """Without a duration the schedule has no end, and its times do not drift."""
        starts = schedule(3, orders=0, order_seconds=(1, 1))
        assert next(itertools.islice(starts, 30_000, None)).due == 10_000

    def test_mixes_orders_in(self) -> None:
        """About the asked share are orders, each as long as the range allows."""
        starts = list(schedule(1, orders=0.2, order_seconds=(20, 60), duration=5000, seed=1))
        seconds = [start.order_seconds for start in starts if start.workflow_type == "Order"]
        assert 900 < len(seconds) < 1100
        assert 20 <= min(seconds) < 21
        assert 59 < max(seconds) <= 60

    @pytest.mark.parametrize(("orders", "workflow_type"), [(0, "Greeting"), (1, "Order")])
    def test_ends_of_the_share(self, orders: float, workflow_type: str) -> None:
        """A share of 0 has no order, and a share of 1 nothing else."""
        starts = schedule(1, orders=orders, order_seconds=(1, 2), duration=200)
        assert {start.workflow_type for start in starts} == {workflow_type}

    def test_a_seed_repeats_it(self) -> None:
        """The same seed gives the same workflows, another one others."""

        def mix(seed: int) -> list[Start]:
            return list(schedule(1, orders=0.5, order_seconds=(1, 9), duration=50, seed=seed))

        assert mix(7) == mix(7)
        assert mix(7) != mix(8)


class TestQuantiles:
    """`client.quantiles.Quantiles`."""

    def test_has_nothing_to_say_of_nothing(self) -> None:
        """Without values there is no percentile and no largest value."""
        assert (Quantiles().percentile(50), Quantiles().largest) == (None, None)

    @given(
        st.lists(st.floats(min_value=0.001, max_value=20_000), min_size=1, max_size=200),
        st.sampled_from([1, 50, 95, 99, 100]),
    )
    def test_is_at_most_two_percent_too_high(self, values: list[float], percent: float) -> None:
        """A percentile lies between the true value and 2 % above it."""
        quantiles = Quantiles()
        for value in values:
            quantiles.add(value)
        true = sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
        found = quantiles.percentile(percent)
        assert found is not None
        assert true * 0.999999 <= found <= true * 1.020001
        assert quantiles.largest == max(values)

    @pytest.mark.parametrize("extreme", [0.0, 1e9])
    def test_takes_any_value(self, extreme: float) -> None:
        """A value beyond the buckets is counted, and its percentile is itself."""
        quantiles = Quantiles()
        quantiles.add(extreme)
        assert quantiles.percentile(99) == extreme


class TestResults:
    """`client.results`."""

    def test_reads_a_greeting(self) -> None:
        """The build id is what the greeting says."""
        assert read_greeting("Hello from worker Build ID: v1.1!") == Ran("v1.1", ("v1.1",))

    @pytest.mark.parametrize("result", [None, 7, "", "Hello from worker Build ID: !", "Hello!"])
    def test_refuses_another_greeting(self, result: object) -> None:
        """A text without a build id is malformed."""
        with pytest.raises(MalformedError):
            read_greeting(result)

    @pytest.mark.parametrize(
        ("steps", "builds"),
        [
            ([("v1", "v1"), ("v1", "v1")], ("v1",)),
            ([("v1", "v1"), ("v2", "v2")], ("v1", "v2")),
            ([("v1", "v2"), ("v1", "v1")], ("v1", "v2")),
        ],
    )
    def test_reads_an_order(self, steps: list[tuple[str, str]], builds: tuple[str, ...]) -> None:
        """An order crossed where any step, of workflow or activity, names another build."""
        result = {
            "order_id": "o",
            "steps": [
                {"name": "pack", "workflow_build_id": ours, "activity_build_id": theirs}
                for ours, theirs in steps
            ],
        }
        ran = read_order(result, "o")
        assert ran == Ran(steps[-1][0], builds)
        assert ran.crossed == (len(builds) > 1)

    @pytest.mark.parametrize(
        "result",
        [
            None,
            [],
            {},
            {"order_id": "o", "steps": []},
            {"order_id": "o", "steps": [{"name": "pack"}]},
            {
                "order_id": "another",
                "steps": [{"workflow_build_id": "v1", "activity_build_id": "v1"}],
            },
        ],
    )
    def test_refuses_another_order(self, result: object) -> None:
        """A result without steps, without builds or of another order is malformed."""
        with pytest.raises(MalformedError):
            read_order(result, "o")


class TestScore:
    """`client.score.Score`."""

    def test_percentiles_are_the_greetings(self) -> None:
        """An order's length, which is asked for, stays out of the summary's latency."""
        score = Score()
        for workflow_type, latency in (("Greeting", 0.1), ("Order", 60.0)):
            score.took(workflow_type)  # type: ignore[arg-type]
            score.complete(workflow_type, Ran("v1", ("v1",)), latency)  # type: ignore[arg-type]
        assert score.summary()["latency_seconds"] == dict.fromkeys(
            ("p50", "p95", "p99", "max"), 0.1
        )

    def test_counts_what_is_open(self) -> None:
        """What was taken and has neither completed nor failed is open."""
        score = Score()
        for _ in range(5):
            score.took("Greeting")
        score.fail("Greeting")
        score.complete("Greeting", Ran("v2", ("v1", "v2")), 0.2)
        summary = score.summary()
        assert {name: summary[name] for name in ("started", "completed", "failed", "open")} == {
            "started": 5,
            "completed": 1,
            "failed": 1,
            "open": 3,
        }
        assert summary["crossed"] == 1
        assert summary["by_build"] == {"v2": 1}
