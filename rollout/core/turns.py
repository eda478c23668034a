"""Pure: whose turn it is to be asked about, where not everybody is each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

__all__ = ["Turn", "in_turn"]

_MOST_NEWS = 8
"""So many of those that are news are asked about at a time, beside those of each time."""


@dataclass(frozen=True)
class Turn:
    """What decides when one of them is asked about."""

    each_time: bool
    is_news: bool
    """Whether nothing is known of it as it is now."""
    asked_at: datetime | None
    """When it was last asked about; None: never."""


def in_turn(turns: Mapping[str, Turn], others: int) -> list[str]:
    """Those of each time; then what is news, or ``others`` of the rest if that is more.

    Of the rest those come first that have not been asked about for longest, so that everybody is
    in the end.
    """

    def order(name: str) -> tuple[bool, bool, float]:
        turn = turns[name]
        asked_at = turn.asked_at.timestamp() if turn.asked_at else 0.0
        return not turn.each_time, not turn.is_news, asked_at

    each_time = sum(turn.each_time for turn in turns.values())
    news = sum(turn.is_news and not turn.each_time for turn in turns.values())
    return sorted(turns, key=order)[: each_time + max(others, min(news, _MOST_NEWS))]
