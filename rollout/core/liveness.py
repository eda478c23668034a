"""Pure: which workers live, judged by the change of their heartbeats on our own clock.

A heartbeat's time is the worker's, and a worker's clock may be wrong by hours. So its value
proves nothing by itself; that it has *changed* between two of our looks does. How long a
worker may be silent follows from the interval that was seen of it, and before that from the
longest that an SDK uses by itself: 60 s (https://docs.temporal.io/develop/worker-performance).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

__all__ = ["DEFAULT_INTERVAL", "RETURN", "SKEWED", "Heartbeat", "Liveness", "Pulse"]

DEFAULT_INTERVAL = timedelta(seconds=60)
"""Every SDK's own; what a worker is granted before two of its beats were seen."""

SKEWED = timedelta(seconds=10)
"""A clock that is further from ours than this is named."""

_MISSED = 3
"""So many intervals without a change, and the worker counts as dead..."""

_REMEMBERED = 3
"""So many intervals."""

_LEAST_PATIENCE = timedelta(seconds=6)
"""...but never sooner than this: a beat may be late, and so may our look."""

RETURN = timedelta(seconds=10)
"""A worker that says goodbye is mostly restarted: for so long it may be on its way back."""


@dataclass(frozen=True)
class Heartbeat:
    """What the server keeps of one worker."""

    key: str
    """The worker's own, new with each start of it."""
    deployment: str
    build_id: str
    task_queue: str
    beat_at: datetime
    """By the worker's clock."""
    ending: bool = False
    """Whether it has said that it shuts down."""
    host: str = ""
    pid: int | None = None


@dataclass(frozen=True)
class Pulse:
    """One worker as we have followed it."""

    heartbeat: Heartbeat
    changed_at: datetime
    """When we first saw this beat, by our clock."""
    intervals: tuple[timedelta, ...] = ()
    """The last that were seen between two beats, by the worker's clock."""

    @property
    def confirmed(self) -> bool:
        """Whether a change was seen: before that the server may only remember it."""
        return bool(self.intervals)

    def silent_since(self, now: datetime) -> timedelta:
        """How long no beat has come, as far as we have looked."""
        return now - self.changed_at

    def patience(self) -> timedelta:
        """How long it may be silent.

        A single interval says little: an SDK's second beat comes soon after its first.
        """
        if len(self.intervals) < 2:
            return DEFAULT_INTERVAL + _LEAST_PATIENCE
        return max(_MISSED * max(self.intervals), _LEAST_PATIENCE)

    def lives(self, now: datetime) -> bool:
        """Whether it counts as alive at ``now``.

        A beat from the future that was not seen to change proves nothing: its worker may have
        been dead for as long as its clock is ahead.
        """
        if self.heartbeat.ending or (not self.confirmed and self.ahead(now) > SKEWED):
            return False
        return self.silent_since(now) <= self.patience()

    def ahead(self, now: datetime) -> timedelta:
        """How far its clock is ahead of ours, as its newest beat shows; below 0: behind."""
        return self.heartbeat.beat_at - (self.changed_at if self.confirmed else now)

    def is_skewed(self, now: datetime) -> bool:
        """Whether its clock is `SKEWED`; of an unconfirmed beat only a future one can be told."""
        ahead = self.ahead(now)
        return ahead > SKEWED or (self.confirmed and ahead < -SKEWED)


@dataclass(frozen=True)
class Liveness:
    """All workers of a deployment, followed from look to look."""

    pulses: Mapping[str, Pulse] = field(default_factory=dict)

    def saw(self, found: Iterable[Heartbeat], now: datetime) -> Liveness:
        """The same after one more look at ``now``; whom the server has forgotten is gone.

        A beat that is seen for the first time has its age by the worker's clock held against
        it, so that the first look already tells a worker long dead; a clock that runs ahead
        cannot lend it life beyond `Pulse.patience` after our first look.
        """
        return replace(self, pulses={beat.key: self._pulse(beat, now) for beat in found})

    def alive(self, now: datetime) -> list[Pulse]:
        """Those that live."""
        return [pulse for pulse in self.pulses.values() if pulse.lives(now)]

    def returning(self, now: datetime) -> list[Pulse]:
        """Those that said goodbye less than `RETURN` ago."""
        return [
            pulse
            for pulse in self.pulses.values()
            if pulse.heartbeat.ending and pulse.silent_since(now) <= RETURN
        ]

    def _pulse(self, beat: Heartbeat, now: datetime) -> Pulse:
        known = self.pulses.get(beat.key)
        if known is None:
            age = max(now - beat.beat_at, timedelta())
            return Pulse(beat, changed_at=now - age)
        if beat.beat_at == known.heartbeat.beat_at:
            return replace(known, heartbeat=beat)
        # Seldom looks see every second or third beat, which makes them more patient, not less.
        interval = abs(beat.beat_at - known.heartbeat.beat_at)
        return Pulse(beat, now, (*known.intervals, interval)[-_REMEMBERED:])
