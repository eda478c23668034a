"""How often it is worth to look, and whose turn it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from rollout.core.observation import Observation, Ramp, Version
from rollout.core.pace import MOVING, RESTING, WAITING, pace
from rollout.core.turns import Turn, in_turn

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
LONG_AGO = NOW - timedelta(hours=1)
LATELY = NOW - timedelta(minutes=1)
JUST_NOW = NOW - timedelta(seconds=5)

V1 = Version("v1", "drained", open_runs=0, open_pinned=0, workers=1, created_at=LONG_AGO)
V2 = Version("v2", "current", open_runs=40, open_pinned=40, workers=1, created_at=LONG_AGO)
ARRIVED = Observation(
    "d", "n", NOW, current="v2", current_changed_at=LATELY, versions=(V1, V2), stuck=0
)


class TestPace:
    """A rollout is looked at often while something happens, or may at any moment."""

    def test_all_over(self) -> None:
        """The target is current and nothing is left to drain: soon at rest."""
        assert pace(ARRIVED, "v2", LATELY, NOW) == RESTING
        assert pace(ARRIVED, None, LATELY, NOW) == RESTING
        assert pace(ARRIVED, "v2", JUST_NOW, NOW) == MOVING
        for v1 in (
            replace(V1, created_at=JUST_NOW),
            replace(V1, started_at=JUST_NOW),
            replace(V1, drained_since=JUST_NOW),
        ):
            assert pace(replace(ARRIVED, versions=(v1, V2)), "v2", LATELY, NOW) == MOVING

    @pytest.mark.parametrize(
        "seen",
        [
            replace(ARRIVED, ramping=Ramp("v1", 10), current_changed_at=LONG_AGO),
            replace(ARRIVED, routing_settled=False),
            replace(ARRIVED, versions=(replace(V1, status="draining"), V2)),
            replace(ARRIVED, versions=(replace(V1, open_runs=3, open_pinned=3), V2)),
            replace(ARRIVED, versions=(replace(V1, open_runs=None, open_pinned=None), V2)),
            replace(ARRIVED, versions=(V1, replace(V2, workers=0))),
            replace(ARRIVED, versions=(V1, replace(V2, workers=None))),
            replace(ARRIVED, stuck=2),
            replace(ARRIVED, stuck=None),
        ],
        ids=["ramps", "settles", "drains", "open", "uncounted", "dead", "unlisted", "stuck", "?"],
    )
    def test_something_is_left(self, seen: Observation) -> None:
        """Or what was not read may hide it."""
        assert pace(seen, "v2", LATELY, NOW) == MOVING

    def test_a_target_is_awaited(self) -> None:
        """Its workers may come at any moment, for a while."""
        assert pace(ARRIVED, "v3", JUST_NOW, NOW) == WAITING
        ready = replace(ARRIVED, versions=(V1, V2, Version("v3", "inactive", workers=1)))
        assert pace(ready, "v3", JUST_NOW, NOW) == MOVING

    def test_nothing_happens_for_long(self) -> None:
        """A drain of weeks, and a target that nobody starts, cost as little as rest."""
        open_for_long = replace(V1, status="draining", open_runs=3, open_pinned=3)
        quiet = replace(ARRIVED, current_changed_at=LONG_AGO, versions=(open_for_long, V2))
        assert pace(quiet, "v2", LONG_AGO, NOW) == RESTING
        assert pace(quiet, "v3", LONG_AGO, NOW) == RESTING
        assert pace(quiet, "v3", JUST_NOW, NOW) == WAITING
        assert pace(replace(quiet, ramping=Ramp("v1", 10)), "v2", LONG_AGO, NOW) == MOVING

    def test_within_what_a_verdict_allows(self) -> None:
        """No part grows so old between two looks that nothing could be safe."""
        for each in (WAITING, MOVING, RESTING):
            assert each.routing <= each.parts <= 20


class TestTurns:
    """Everybody is asked about in the end."""

    def test_in_the_end(self) -> None:
        """Those of each time always, and of twenty others each within ten looks at two."""
        asked: dict[str, datetime | None] = {f"b{index}": None for index in range(22)}
        for look in range(20):
            now = NOW + timedelta(seconds=look)
            turns = {b: Turn(b in ("b0", "b1"), at is None, at) for b, at in asked.items()}
            chosen = in_turn(turns, 2)
            assert chosen[:2] == ["b0", "b1"]
            assert len(chosen) <= 2 + 8
            asked |= dict.fromkeys(chosen, now)
        assert None not in asked.values()
        assert min(at for at in asked.values() if at) >= NOW + timedelta(seconds=9)

    def test_news_first(self) -> None:
        """What has just been drained does not wait for its turn."""
        turns = {f"b{index}": Turn(False, False, LONG_AGO) for index in range(9)}
        turns |= {"new": Turn(False, True, JUST_NOW), "each": Turn(True, False, JUST_NOW)}
        assert in_turn(turns, 1) == ["each", "new"]
