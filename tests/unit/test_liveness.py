"""Which workers live: judged by the change of their heartbeats, on our own clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from rollout.core.liveness import Heartbeat, Liveness

T0 = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)


def at(seconds: float) -> datetime:
    """A moment on our clock."""
    return T0 + timedelta(seconds=seconds)


def followed(
    until: float,
    *,
    every: float,
    killed: float = 1e9,
    skew: float = 0.0,
    look: float = 1.0,
    ending: float = 1e9,
) -> Liveness:
    """A worker that beats from 0 on, looked at each ``look`` seconds from 0 up to ``until``."""
    seen = Liveness()
    now = 0.0
    while now <= until:
        beat = (min(now, killed, ending) // every) * every
        heartbeat = Heartbeat("w", "d", "v1", "q", at(beat + skew), ending=now >= ending)
        seen = seen.saw([heartbeat], at(now))
        now += look
    return seen


class TestLives:
    """A worker counts as alive for as long as its beats change."""

    @pytest.mark.parametrize("every", [1.0, 2.0, 10.0, 60.0])
    @pytest.mark.parametrize("skew", [0.0, 3600.0, -60.0, -3600.0])
    def test_whatever_its_interval_and_its_clock(self, every: float, skew: float) -> None:
        """Every SDK's default is 60 s, and a clock that is wrong makes no worker dead."""
        assert followed(3 * every + 1, every=every, skew=skew).alive(at(3 * every + 1))

    @pytest.mark.parametrize("skew", [0.0, 3600.0, -60.0])
    def test_a_killed_one_is_dead_after_three_intervals(self, skew: float) -> None:
        """A clock that runs an hour ahead lends it no life."""
        seen = followed(40, every=2, killed=30, skew=skew)
        assert not seen.alive(at(40))

    def test_one_look_does_not_believe_the_future(self) -> None:
        """A beat from the future that was not seen to change may be an hour old."""
        seen = Liveness().saw([Heartbeat("w", "d", "v1", "q", at(3600))], at(0))
        assert not seen.alive(at(0))
        assert seen.pulses["w"].is_skewed(at(0))

    def test_one_look_tells_a_worker_long_dead(self) -> None:
        """The server remembers workers for minutes."""
        seen = Liveness().saw([Heartbeat("w", "d", "v1", "q", at(-90))], at(0))
        assert not seen.alive(at(0))

    def test_one_look_believes_an_sdk_at_its_default(self) -> None:
        """50 s of silence are usual for a worker that beats each minute."""
        seen = Liveness().saw([Heartbeat("w", "d", "v1", "q", at(-50))], at(0))
        assert seen.alive(at(0))

    def test_seldom_looks(self) -> None:
        """Who looks every 5 s at beats of 2 s sees every second or third, and calls none dead."""
        seen = followed(60, every=2, look=5)
        assert seen.alive(at(60))

    def test_a_second_beat_soon_after_the_first(self) -> None:
        """An SDK beats when it starts, and again when it polls: that is not its interval."""
        seen = Liveness()
        for now, beat in ((0, 0), (1, 0.4), (50, 0.4), (60, 0.4)):
            seen = seen.saw([Heartbeat("w", "d", "v1", "q", at(beat))], at(now))
        assert seen.alive(at(60))

    def test_the_forgotten_are_gone(self) -> None:
        """A worker that the server no longer lists is not remembered here."""
        assert followed(10, every=2).saw([], at(11)).pulses == {}


class TestGoodbye:
    """A worker that shuts down says so in its last beat."""

    def test_it_is_not_alive_but_may_return(self) -> None:
        """For 10 s a restart may be under way; then it is gone."""
        seen = followed(21, every=2, ending=20)
        assert not seen.alive(at(21))
        assert seen.returning(at(21))
        assert not seen.returning(at(32))


class TestSkew:
    """A clock that is far from ours is named."""

    @pytest.mark.parametrize(("skew", "skewed"), [(0, False), (5, False), (60, True), (-60, True)])
    def test_by_its_confirmed_beats(self, skew: float, skewed: bool) -> None:
        """Ahead or behind, by more than 10 s."""
        seen = followed(10, every=2, skew=skew)
        assert seen.pulses["w"].is_skewed(at(10)) is skewed
