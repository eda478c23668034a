"""The verdict *safe to stop*, and the shares of new runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from inspect import Parameter, signature

import pytest

from rollout.core.observation import Observation, Ramp, Version
from rollout.core.verdict import safe_to_stop, target_share, warnings

T0 = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)

V1 = Version(
    "v1", "drained", first_activated_at=T0, drained_since=T0, open_runs=0, backlog=0, workers=1
)
V2 = Version("v2", "current", first_activated_at=T0, open_runs=9, backlog=0, workers=2)
SEEN = Observation("d", "n", T0, current="v2", versions=(V1, V2))


def against(seen: Observation, build_id: str = "v1", now: datetime = T0) -> dict[str, str]:
    """The points that speak against stopping, by their names."""
    verdict = safe_to_stop(seen, build_id, "v2", now)
    assert verdict.safe_to_stop == all(point.ok for point in verdict.evidence)
    return {point.check: point.detail for point in verdict.evidence if not point.ok}


class TestSafeToStop:
    """Safe needs every point; anything unknown speaks against."""

    def test_a_drained_version_with_a_replacement_is_safe(self) -> None:
        """Drained, nothing open, nothing waiting, somebody else alive: safe."""
        assert against(SEEN) == {}

    @pytest.mark.parametrize(
        ("change", "check", "detail"),
        [
            ({"status": "draining"}, "server_status", "the server says draining"),
            ({"status": "unknown"}, "server_status", "the server says unknown"),
            ({"status": "unregistered"}, "server_status", "the server says unregistered"),
            ({"status": "inactive"}, "server_status", "the server says inactive"),
            ({"open_runs": 12}, "open_runs", "12 runs are open on v1"),
            ({"open_runs": 1}, "open_runs", "1 run is open on v1"),
            ({"open_runs": None}, "open_runs", "the open runs could not be counted"),
            ({"backlog": 3}, "backlog", "3 tasks wait for it"),
            ({"backlog": None}, "backlog", "the backlog could not be read"),
        ],
    )
    def test_each_point_of_the_version_counts(
        self, change: dict[str, object], check: str, detail: str
    ) -> None:
        """One bad or unknown value is enough, and is named."""
        changed = replace(V1, **change)  # type: ignore[arg-type]
        assert against(replace(SEEN, versions=(changed, V2))) == {check: detail}

    @pytest.mark.parametrize(
        ("workers", "detail"),
        [(0, "v2 has no live worker"), (None, "the workers of v2 are not known")],
    )
    def test_someone_else_must_be_alive(self, workers: int | None, detail: str) -> None:
        """Where the current version's workers are dead or unknown, none is stopped."""
        seen = replace(SEEN, versions=(V1, replace(V2, workers=workers)))
        assert against(seen) == {"replacement": detail}

    def test_a_change_on_its_way_is_waited_for(self) -> None:
        """Until the routing has settled, runs may still begin on it."""
        assert "routing_settled" in against(replace(SEEN, routing_settled=False))

    def test_a_ramping_version_is_not_safe(self) -> None:
        """A version with a share of new runs is never safe."""
        seen = replace(SEEN, ramping=Ramp("v1", 5))
        assert against(seen)["routing"] == "5% of new runs go to v1"

    def test_the_target_is_not_safe(self) -> None:
        """What is wanted next is not called safe to stop."""
        waiting = replace(V1, build_id="v3", status="inactive", first_activated_at=None)
        seen = replace(SEEN, versions=(waiting, V2))
        verdict = safe_to_stop(seen, "v3", "v3", T0)
        assert [p.detail for p in verdict.evidence if not p.ok] == [
            "v3 is the target in rollout.toml"
        ]

    def test_a_version_that_never_ran_is_safe(self) -> None:
        """An inactive version that never had any runs has nothing to drain."""
        idle = replace(V1, status="inactive", first_activated_at=None)
        assert against(replace(SEEN, versions=(idle, V2))) == {}

    def test_an_old_reading_proves_nothing(self) -> None:
        """An observation of a minute ago is not evidence."""
        assert against(SEEN, now=T0 + timedelta(minutes=1)) == {"fresh": "read 60 s ago"}

    def test_the_time_has_to_be_given(self) -> None:
        """Without it the freshness could not be judged: leaving it out is an error."""
        assert signature(safe_to_stop).parameters["now"].default is Parameter.empty

    def test_tasks_of_closed_runs_do_not_count(self) -> None:
        """Where nothing is open and no worker is left, nobody will ever take what is waiting."""
        left = replace(V1, backlog=2, workers=0)
        assert against(replace(SEEN, versions=(left, V2))) == {}

    def test_the_only_version_is_not_safe(self) -> None:
        """Without a current version nobody takes the new runs."""
        seen = replace(SEEN, current=None, versions=(V1,))
        assert against(seen) == {"replacement": "no other version takes the new runs"}


MISSING = (
    "v2 has no live worker on task queue extra, where others have: its 100% of new runs there wait "
    "for one"
)


class TestWarnings:
    """Runs that wait for a worker are told."""

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({}, []),
            ({"v1": {"open_runs": 3, "workers": 0}}, ["3 runs wait for a worker of v1"]),
            (
                {"v2": {"workers": 0}},
                [
                    "v2 has no live worker: its 100% of new runs wait for one",
                    "9 runs wait for a worker of v2",
                ],
            ),
            (
                {"v1": {"queues": frozenset({"q", "extra"})}, "v2": {"queues": frozenset({"q"})}},
                [MISSING],
            ),
        ],
    )
    def test_each_is_one_sentence(
        self, changes: dict[str, dict[str, object]], told: list[str]
    ) -> None:
        """For the version, and for the task queue where others have workers."""
        versions = tuple(replace(v, **changes.get(v.build_id, {})) for v in (V1, V2))  # type: ignore[arg-type]
        assert list(warnings(replace(SEEN, versions=versions))) == told


class TestTargetShare:
    """The shares of new runs add up to one wherever something is current."""

    @pytest.mark.parametrize(
        ("ramping", "shares"),
        [
            (None, {"v1": 0.0, "v2": 1.0}),
            (Ramp("v1", 10), {"v1": 0.1, "v2": 0.9}),
            (Ramp("v1", 100), {"v1": 1.0, "v2": 0.0}),
        ],
    )
    def test_share(self, ramping: Ramp | None, shares: dict[str, float]) -> None:
        """The ramping version has its percentage, the current one the rest."""
        seen = replace(SEEN, ramping=ramping)
        assert {b: pytest.approx(target_share(seen, b)) for b in shares} == shares
