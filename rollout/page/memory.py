"""What the controller remembers of its looks: a bounded past for where there is no Prometheus."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.core.changes import what_changed
from rollout.core.observation import Observation, Version
from rollout.core.shares import real_share, target_share

__all__ = ["KEPT", "Change", "Memory", "Point", "Sample"]

KEPT = timedelta(hours=6)
"""So far back the past goes."""

_FINE, _FINE_APART = 300, timedelta(seconds=2)
_COARSE_APART = timedelta(seconds=30)
_COARSE = int(KEPT / _COARSE_APART)
_CHANGES = 60
_BUILDS = 12
"""So many builds of a look are kept: those with most to tell."""


@dataclass(frozen=True)
class Point:
    """One build at one moment; None: not known."""

    open_runs: int | None
    holding: int | None
    """Of these those that need its workers."""
    meant: float
    """The share of new runs, 0 to 1, that the routing gives to it."""
    real: float | None
    """The share that it has got since the routing last changed."""


@dataclass(frozen=True)
class Sample:
    """One look."""

    at: datetime
    builds: Mapping[str, Point]


@dataclass(frozen=True)
class Change:
    """Something that was seen to happen, in one sentence."""

    at: datetime
    text: str


class Memory:
    """The looks at one deployment: each of the last minutes, and one in 30 s of hours.

    Written by the loop, read by the threads that answer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fine: deque[Sample] = deque(maxlen=_FINE)
        self._coarse: deque[Sample] = deque(maxlen=_COARSE)
        self._changes: deque[Change] = deque(maxlen=_CHANGES)
        self._deeds: deque[Change] = deque(maxlen=_CHANGES)
        self._last: Observation | None = None

    def saw(self, seen: Observation, target: str) -> None:
        """Take in one more look; ``target`` is the build that is wanted."""
        sample = Sample(seen.at, _points(seen))
        told = what_changed(self._last, seen, target) if self._last else ()
        with self._lock:
            self._changes.extend(Change(seen.at, text) for text in told)
            for kept, apart in ((self._fine, _FINE_APART), (self._coarse, _COARSE_APART)):
                if not kept or seen.at - kept[-1].at >= apart or seen.at < kept[-1].at:
                    kept.append(sample)
        self._last = seen

    def did(self, deeds: Iterable[Change]) -> None:
        """Take in what the controller did of late, the oldest first, told before or not."""
        with self._lock:
            self._deeds.extend([deed for deed in deeds if deed not in self._deeds])

    def samples(self) -> tuple[Sample, ...]:
        """The oldest first."""
        with self._lock:
            fine, coarse = tuple(self._fine), tuple(self._coarse)
        before = fine[0].at if fine else None
        return (*(each for each in coarse if before is None or each.at < before), *fine)

    def changes(self) -> tuple[Change, ...]:
        """What was seen to happen of late, the oldest first."""
        with self._lock:
            return tuple(self._changes)

    def deeds(self) -> tuple[Change, ...]:
        """What the controller did of late, the oldest first."""
        with self._lock:
            return tuple(self._deeds)


def _points(seen: Observation) -> dict[str, Point]:
    def weight(version: Version) -> tuple[float, int]:
        return target_share(seen, version.build_id), version.open_runs or 0

    most = sorted(seen.versions, key=weight, reverse=True)[:_BUILDS]
    return {
        version.build_id: Point(
            version.open_runs,
            version.holding,
            target_share(seen, version.build_id),
            real_share(seen, version.build_id),
        )
        for version in most
    }
