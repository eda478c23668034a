"""What is told of a rollout, from one look to the next."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rollout.core.actions import Phase, Plan
from rollout.core.config import RolloutConfig
from rollout.core.news import Known, News, news
from rollout.core.observation import Observation, Ramp
from tests.support.synthetic_deployment import T0, config, seen, version

V1, V2 = version("v1", "current"), version("v2")
WITH_ANALYSIS = config(more='[analysis]\nmax_hold = "60s"')
BEFORE = seen(V1, V2, current="v1")


class Reader:
    """Follows one look after another."""

    def __init__(self, wanted: RolloutConfig = WITH_ANALYSIS) -> None:
        self.config = wanted
        self.known: Known | None = None

    def look(
        self,
        observation: Observation,
        phase: Phase = "progressing",
        reason: str = "so",
        *,
        held: float = 0.0,
    ) -> list[tuple[str, str]]:
        """What is new in it."""
        decided = Plan(phase, reason, holds=held > 0)
        found, self.known = news(self.known, self.config, observation, decided, T0, held=held)
        return [(each.event, each.text) for each in found]


def test_the_first_look_tells_nothing() -> None:
    """What was so before anybody looked is no news; nor is what stays."""
    reader = Reader()
    assert reader.look(seen(V1, V2, current="v1", ramping=Ramp("v2", 10))) == []
    assert reader.look(seen(V1, V2, current="v1", ramping=Ramp("v2", 10))) == []


def test_a_whole_rollout() -> None:
    """Each change of routing, and the end; a version is safe once."""
    reader = Reader()
    reader.look(BEFORE)
    assert reader.look(replace(BEFORE, ramping=Ramp("v2", 10))) == [
        ("routing", "10 % of new runs go to v2, the others to v1")
    ]
    drained = version(
        "v1", "drained", drained_since=T0 - timedelta(minutes=1), last_current_at=T0,
        first_activated_at=T0 - timedelta(hours=1), drainage_checked_at=T0, described_at=T0,
    )  # fmt: skip
    after = seen(drained, version("v2", "current"), current="v2")
    assert reader.look(after, "complete", "v2 takes all new runs") == [
        ("routing", "all new runs go to v2"),
        ("complete", "v2 takes all new runs"),
        ("safe-to-stop", "v1 is safe to stop"),
    ]
    doubtful = replace(after, versions=(replace(drained, open_runs=None, open_pinned=None), V2))
    assert reader.look(doubtful, "waiting") == []
    assert reader.look(after, "complete", "v2 takes all new runs") == []


def test_a_rollback() -> None:
    """It is told with its reason, also where the block cannot be read for a moment."""
    reader = Reader()
    ramping = replace(BEFORE, ramping=Ramp("v2", 10))
    reader.look(ramping)
    blocked = replace(V2, blocked="31 % of v2's activities failed")
    rolled_back = seen(V1, blocked, current="v1")
    assert reader.look(rolled_back, "blocked", "v2 was rolled back: 31 %") == [
        ("routing", "all new runs go to v1, and none to v2 any more"),
        ("rollback", "v2 is rolled back: 31 % of v2's activities failed"),
    ]
    unread = seen(V1, version("v2", described=False), current="v1")
    assert reader.look(unread, "waiting") == []
    assert reader.look(rolled_back, "blocked", "v2 was rolled back: 31 %") == []


def test_a_block() -> None:
    """What a person must mend is told once, whatever one look could not read; mended, again."""
    reader = Reader()
    reader.look(BEFORE)
    told = [("block", "v2 needs a person: the gate of v2 failed")]
    assert reader.look(BEFORE, "blocked", "the gate of v2 failed") == told
    assert reader.look(BEFORE, "waiting", "what was read is old") == []
    assert reader.look(BEFORE, "blocked", "the gate of v2 failed") == []
    assert reader.look(BEFORE, "progressing", "the gate of v2 runs") == []
    assert reader.look(BEFORE, "blocked", "the gate of v2 failed") == told


def test_a_step_held_too_long() -> None:
    """Once it is over its cap, once for each step."""
    reader = Reader()
    at_10 = replace(BEFORE, ramping=Ramp("v2", 10))
    reader.look(at_10)
    assert reader.look(at_10, reason="held at 10 %: slow", held=59) == []
    told = [("hold", "v2 is held at 10 %: slow, for longer than max_hold")]
    assert reader.look(at_10, reason="held at 10 %: slow", held=61) == told
    assert reader.look(at_10, reason="held at 10 %: slow", held=62) == []
    reader.look(replace(BEFORE, ramping=Ramp("v2", 50)))
    again = replace(BEFORE, ramping=Ramp("v2", 50))
    assert reader.look(again, reason="held at 50 %: slow", held=61) == [
        ("hold", "v2 is held at 50 %: slow, for longer than max_hold")
    ]


def test_out_of_versioning() -> None:
    """Workers without a version have no name."""
    reader = Reader()
    reader.look(BEFORE)
    found, _ = news(
        reader.known, WITH_ANALYSIS, seen(V1, V2), Plan("progressing", "so"), T0, held=0.0
    )
    assert found == (News("routing", "all new runs go to workers without a version"),)
