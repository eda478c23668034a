"""The verdict *safe to stop*, and the shares of new runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from inspect import Parameter, signature

import pytest

from rollout.core.observation import Observation, Ramp, Version
from rollout.core.shares import real_samples, real_share, target_share
from rollout.core.verdict import hinges_on_another_look, queries_hang, safe_to_stop
from rollout.core.warned import warnings

T0 = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)

V1 = Version(
    "v1",
    "drained",
    first_activated_at=T0 - timedelta(hours=1),
    drained_since=T0 - timedelta(minutes=10),
    open_runs=0,
    open_pinned=0,
    zero_since=T0 - timedelta(minutes=5),
    backlog=0,
    workers=1,
)
V2 = Version("v2", "current", first_activated_at=T0, open_runs=9, backlog=0, workers=2)
SEEN = Observation("d", "n", T0, current="v2", versions=(V1, V2), unassigned=0, stuck=0)


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
            ({"open_runs": 12, "open_pinned": 12}, "open_runs", "12 runs are open on v1"),
            ({"open_runs": 1, "open_pinned": 1}, "open_runs", "1 run is open on v1"),
            (
                {"open_runs": 5, "open_pinned": 2},
                "open_runs",
                "2 runs are open on v1, beside 3 that can go on elsewhere",
            ),
            ({"open_runs": 5, "open_pinned": None}, "open_runs", "5 runs are open on v1"),
            (
                {"zero_since": T0 - timedelta(seconds=1)},
                "open_runs",
                (
                    "no run is open on v1, but that was seen only once, and a chain of runs may "
                    "just go on"
                ),
            ),
            (
                {"zero_since": None},
                "open_runs",
                (
                    "no run is open on v1, but that was seen only once, and a chain of runs may "
                    "just go on"
                ),
            ),
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

    @pytest.mark.parametrize(
        ("change", "now", "told"),
        [
            pytest.param(
                {"described_at": T0 - timedelta(seconds=50)},
                T0 + timedelta(seconds=1),
                None,
                id="of a drained version, after that: its queues get nothing new",
            ),
            pytest.param(
                {
                    "drained_since": T0 - timedelta(seconds=40),
                    "described_at": T0 - timedelta(seconds=50),
                },
                T0 + timedelta(seconds=1),
                "read 1 s ago, its queues 51 s ago",
                id="before it was drained",
            ),
            pytest.param(
                {
                    "status": "inactive",
                    "first_activated_at": None,
                    "described_at": T0 - timedelta(seconds=40),
                },
                T0,
                "read 0 s ago, its queues 40 s ago",
                id="of one that may get runs",
            ),
            pytest.param(
                {}, T0 - timedelta(seconds=60), "read 0 s ago", id="our clock was set back"
            ),
        ],
    )
    def test_a_verdict_is_as_old_as_its_oldest_part(
        self, change: dict[str, object], now: datetime, told: str | None
    ) -> None:
        """Each part has its own time, where it is older than the look."""
        changed = replace(V1, **change)  # type: ignore[arg-type]
        expected = {} if told is None else {"fresh": told}
        assert against(replace(SEEN, versions=(changed, V2)), now=now) == expected

    def test_the_age_of_old_queues_is_told_where_it_is_safe(self) -> None:
        """No part claims to be younger than it is."""
        described = replace(V1, described_at=T0 - timedelta(seconds=50))
        seen = replace(SEEN, versions=(described, V2))
        evidence = {p.check: p.detail for p in safe_to_stop(seen, "v1", "v2", T0).evidence}
        assert evidence["fresh"] == "read 0 s ago, its queues 50 s ago"

    @pytest.mark.parametrize(
        ("stuck", "told"),
        [
            (1520, "1,520 new runs wait for a worker for more than 10 s"),
            (1, "1 new run waits for a worker for more than 10 s"),
            (None, "whether new runs wait for a worker is not known"),
        ],
    )
    def test_new_runs_that_wait_speak_against(self, stuck: int | None, told: str) -> None:
        """They may yet have to go back to it, where the current version cannot take them."""
        seen = replace(SEEN, unassigned=stuck, stuck=stuck)
        assert against(seen) == {"new_runs": told}

    def test_new_runs_in_flight_do_not(self) -> None:
        """A run without a version for some milliseconds is one that begins."""
        assert against(replace(SEEN, unassigned=40)) == {}

    def test_idle_auto_upgrade_runs_do_not_hold_it(self) -> None:
        """They are named, and go on elsewhere."""
        idle = replace(V1, open_runs=3, open_pinned=0)
        seen = replace(SEEN, versions=(idle, V2))
        assert against(seen) == {}
        evidence = {p.check: p.detail for p in safe_to_stop(seen, "v1", "v2", T0).evidence}
        assert evidence["open_runs"] == (
            "no pinned run is open on v1; 3 auto-upgrade runs go on elsewhere at their next task"
        )

    def test_what_only_a_gate_ran_on(self) -> None:
        """It reads so, and not as one that has had its traffic."""
        tried = replace(V1, first_activated_at=None)
        assert (V1.shown_status, tried.shown_status) == ("drained", "gate only")
        evidence = safe_to_stop(replace(SEEN, versions=(tried, V2)), "v1", "v2", T0).evidence
        assert evidence[2].detail == (
            "the server says drained since 11:50:00 UTC, and nothing but its gate has run on it"
        )

    @pytest.mark.parametrize(
        ("change", "hinges"),
        [
            ({"zero_since": T0}, True),
            ({}, False),
            ({"zero_since": T0, "backlog": 3}, False),
            ({"open_runs": 1, "open_pinned": 1, "zero_since": None}, False),
        ],
    )
    def test_when_it_is_worth_looking_again(self, change: dict[str, object], hinges: bool) -> None:
        """Where nothing but the second zero is missing."""
        changed = replace(V1, **change)  # type: ignore[arg-type]
        seen = replace(SEEN, versions=(changed, V2))
        assert hinges_on_another_look(seen, "v2", T0) is hinges

    def test_the_time_has_to_be_given(self) -> None:
        """Without it the freshness could not be judged: leaving it out is an error."""
        assert signature(safe_to_stop).parameters["now"].default is Parameter.empty

    def test_safe_does_not_mean_that_queries_go_on(self) -> None:
        """What stops with the workers of a safe version is said, where it has had runs at all."""
        told = "queries to runs of v1, closed ones too, hang while it is stopped"
        assert queries_hang(V1) == told
        assert queries_hang(replace(V1, first_activated_at=None)) is None

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
            (
                {"v1": {"open_runs": 3, "open_pinned": 3, "workers": 0}},
                ["3 runs wait for a worker of v1"],
            ),
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


def waits(seen: Observation, **known: object) -> Observation:
    """``seen`` with 1,520 new runs that wait."""
    return replace(seen, **{"unassigned": 1560, "stuck": 1520, **known})  # type: ignore[arg-type]


ON_V2 = "have not begun for more than 10 s: their first tasks have been taken, and not completed"
V0 = (
    "3 runs wait on v0, which the server has forgotten: start a worker of v0, or move each to a "
    "build that can go on with it: `temporal workflow update-options --workflow-id ID "
    "--versioning-override-behavior one_time --versioning-override-deployment-name d "
    "--versioning-override-build-id v2`"
)


class TestWhatWaits:
    """What waits is seen, and what is approximate says so."""

    @pytest.mark.parametrize(
        ("seen", "told"),
        [
            pytest.param(
                waits(replace(SEEN, versions=(replace(V2, backlog=1520, waiting_age=94.0),))),
                [
                    "1,520 new runs wait for a worker of v2, the oldest for about 94 s",
                    "about 1,520 tasks wait for the workers of v2, the oldest for about 94 s",
                ],
                id="its workers do not keep up",
            ),
            pytest.param(
                waits(replace(SEEN, versions=(replace(V2, backlog=None),)), stuck=1),
                ["1 new run waits for a worker of v2, for more than 10 s"],
                id="for how long is not known",
            ),
            pytest.param(
                waits(SEEN, ramping=Ramp("v1", 10), versions=(replace(V1, backlog=9), V2)),
                ["1,520 new runs wait for a worker of v1 or v2, for more than 10 s"],
                id="during a ramp nobody knows of which",
            ),
            pytest.param(waits(SEEN), [f"1,520 new runs on v2 {ON_V2}"], id="a missing codec"),
            pytest.param(
                waits(SEEN, current=None, stuck=12),
                ["12 new runs wait: nothing is current"],
                id="nobody",
            ),
            pytest.param(replace(SEEN, unassigned=40), [], id="in flight"),
            pytest.param(replace(SEEN, elsewhere={"v0": 3}), [V0], id="on a forgotten version"),
            pytest.param(
                replace(SEEN, skewed=("the clock of a worker on box is 3600 s ahead of ours",)),
                ["the clock of a worker on box is 3600 s ahead of ours"],
                id="a skewed clock",
            ),
            pytest.param(
                replace(SEEN, throttled=True),
                ["the server refused some questions, because it is asked too often"],
                id="throttled",
            ),
            pytest.param(
                replace(SEEN, versions=(replace(V1, workers=0, open_runs=3, open_pinned=0), V2)),
                [],
                id="idle auto-upgrade runs do not wait for it",
            ),
            pytest.param(
                replace(SEEN, versions=(V1, replace(V2, workers=0, returning=1, open_runs=0))),
                [
                    (
                        "v2 has no live worker: its 100% of new runs wait for one, "
                        "which is on its way back"
                    )
                ],
                id="a restart",
            ),
        ],
    )
    def test_it_is_told(self, seen: Observation, told: list[str]) -> None:
        """Each by a sentence that says what, of what, and for how long."""
        assert list(warnings(seen)) == told

    def test_a_target_that_does_not_keep_up(self) -> None:
        """Whatever the pace, even paused: who gets far fewer new runs than meant is named."""
        ramp = replace(
            SEEN,
            ramping=Ramp("v1", 50),
            unassigned=150,
            versions=(replace(V1, started=12), replace(V2, started=188)),
        )
        assert list(warnings(ramp)) == [
            "v1 gets 6 % of new runs instead of 50 % (12 of 200): its workers do not keep up"
        ]


class TestRealShare:
    """Who really gets new runs, with the number of runs that says so."""

    @pytest.mark.parametrize(
        ("started", "samples", "shares"),
        [
            ((12, 188), 200, (0.06, 0.94)),
            ((0, 0), 0, (None, None)),
            ((None, 188), None, (None, None)),
        ],
    )
    def test_share(
        self,
        started: tuple[int | None, int],
        samples: int | None,
        shares: tuple[float | None, float | None],
    ) -> None:
        """Where one part is unknown, so are all shares."""
        versions = (replace(V1, started=started[0]), replace(V2, started=started[1]))
        seen = replace(SEEN, ramping=Ramp("v1", 50), versions=versions)
        assert real_samples(seen) == samples
        assert (real_share(seen, "v1"), real_share(seen, "v2")) == shares
        assert real_share(seen, "v3") is None


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
