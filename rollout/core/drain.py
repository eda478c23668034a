"""Pure: how fast the open runs of a build become fewer, and when none will be left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["WINDOW", "Drain", "drain_of"]

WINDOW = timedelta(minutes=2)
"""So far back the pace is measured: long enough for counts that fall by one now and then."""

_SHORTEST = timedelta(seconds=10)


@dataclass(frozen=True)
class Drain:
    """The open runs of one build, and their pace."""

    left: int
    pace: float | None
    """How many fewer there are each second, below 0 where they become more; None: not known yet."""

    @property
    def seconds(self) -> float | None:
        """Until none is left at this pace; None where they do not become fewer."""
        return self.left / self.pace if self.pace and self.pace > 0 else None


def drain_of(counts: Sequence[tuple[datetime, int | None]]) -> Drain | None:
    """The drain by ``counts``, each with its time, the oldest first.

    None where the last of them is not known.
    """
    if not counts or counts[-1][1] is None:
        return None
    last_at = counts[-1][0]
    known = [(at, n) for at, n in counts if n is not None and last_at - at <= WINDOW]
    (first_at, first), left = known[0], known[-1][1]
    if last_at - first_at < _SHORTEST:
        return Drain(left, None)
    return Drain(left, (first - left) / (last_at - first_at).total_seconds())
