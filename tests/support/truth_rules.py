"""Pure: what we said, held against what the server said before and after we looked.

No tolerance in seconds or runs stands in here. A claim was read between the time at which it says
its look began and the time at which it was heard. The last look at the server that was over before
then, and the first that began after, bound what was so in between: runs only ever begin and end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.truth_server import BUILDS, STUCK, ServerLook

__all__ = ["Claims", "Held", "hold"]

_SAME = 0.001
"""Seconds by which a time may differ that was written as a fraction and read again."""

_MANY = 10

_GATES = 2
"""Runs that are not the load's, at most."""

_LATER = 10
"""After so many looks visibility has what the load has heard of."""

Outcome = Literal["equal", "bounded", "approximate", "wrong"]


@dataclass(frozen=True)
class Claims:
    """What one of ours said at one moment."""

    source: str
    """``api``, ``exporter`` or ``status``."""
    since: float
    """When its look began, as it says itself (where it does not: when it was asked); in seconds
    since 1970."""
    heard: float
    """When we had the answer."""
    values: dict[tuple[str, str], Any] = field(default_factory=dict)
    """By what is claimed, and of which build or program; None is not claimed."""


@dataclass
class Held:
    """What became of the claims."""

    outcomes: defaultdict[tuple[str, str], Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    """How often a kind of claim was equal, bounded or wrong, by kind and source."""
    wrong: list[str] = field(default_factory=list)
    """Each wrong claim, as a sentence."""
    oldest: dict[str, float] = field(default_factory=dict)
    """By source, the seconds from the beginning of a look until it was heard, at most."""
    dangerous: list[str] = field(default_factory=list)
    """Of those the ones that look safe and are not."""


def hold(claims: Sequence[Claims], looks: Sequence[ServerLook]) -> Held:
    """Hold each claim against the looks around it; those with none on one side are left out."""
    held = Held()
    states = {_state(look) for look in looks}
    for each in claims:
        before = [look for look in looks if look.ended <= each.since]
        after = [look for look in looks if look.began >= each.heard]
        if not before or not after:
            continue
        age = each.heard - each.since
        held.oldest[each.source] = max(age, held.oldest.get(each.source, 0.0))
        first, last = before[-1], after[0]
        between = looks[len(before) - 1 : len(looks) - len(after) + 1]
        for (what, of), value in each.values.items():
            if value is None:
                continue
            outcome: Outcome | None
            if what in ("started", "completed"):
                outcome, expected = _counter(what, of, value, between, after[:_LATER])
            else:
                outcome, expected = _judge(what, of, value, between, states)
            if outcome is None:
                continue
            held.outcomes[what, each.source][outcome] += 1
            if outcome == "wrong":
                text = (
                    f"{each.source} said {what} {of} {value!r} of {each.since:.1f} to "
                    f"{each.heard:.1f}, and the server {expected} of {first.ended:.1f} to "
                    f"{last.began:.1f}"
                )
                held.wrong.append(text)
                if what in ("safe_to_stop", "complete"):
                    held.dangerous.append(text)
    return held


def _judge(  # noqa: PLR0911 - a case a kind of claim
    what: str, of: str, value: Any, looks: Sequence[ServerLook], states: set[Any]
) -> tuple[Outcome | None, str]:
    first, last = looks[0], looks[-1]
    match what:
        case "open_runs":
            return _within(value, *_open(first, last, of))
        case "unassigned_runs":
            assigned = sum(last.of(b).total - first.of(b).total for b in BUILDS)
            began = last.started - first.started
            ended = last.nowhere.ended - first.nowhere.ended
            low = first.nowhere.running - assigned - ended
            return _within(value, max(0, low), first.nowhere.running + began)
        case "waiting_tasks":
            return _waiting(value, [look.waiting.get(of, 0) for look in looks])
        case "routing":
            return _among(value, [_state(look) for look in looks], states)
        case "target_share":
            shares = [round(look.routing.share(of), 4) for look in looks]
            everywhere = {round(share, 4) for share in _shares(states, of)}
            return _among(round(value, 4), shares, everywhere)
        case "current_changed" | "ramping_changed":
            low, high = getattr(first.routing, what), getattr(last.routing, what)
            same = high - low < _SAME
            return _within(value, low - _SAME, low + _SAME if same else high + _SAME, same=same)
        case "safe_to_stop":
            return _safe(of, first, last) if value else (None, "")
        case "complete":
            stuck = _stuck(first, last)
            return ("wrong" if stuck else "equal"), f"had {stuck} stuck runs throughout"
    return None, ""


def _open(first: ServerLook, last: ServerLook, build_id: str) -> tuple[int, int]:
    """Between how many and how many runs can have been open on the build between two looks."""
    before, after = first.of(build_id), last.of(build_id)
    low = max(0, before.running - (after.ended - before.ended))
    return low, before.running + (after.total - before.total)


def _counter(
    what: str, build_id: str, value: float, looks: Sequence[ServerLook], after: Sequence[ServerLook]
) -> tuple[Outcome, str]:
    """The load hears of a run's start and end by itself, and visibility a moment later."""

    def count(look: ServerLook) -> int:
        return look.started if what == "started" else look.of(build_id).ended

    if count(looks[0]) - _GATES <= value <= count(looks[-1]):
        return ("equal" if count(looks[0]) == count(looks[-1]) else "bounded"), ""
    if value > count(after[-1]):
        return "wrong", f"{count(after[-1])}"
    return "approximate", ""


def _waiting(value: float, seen: Sequence[int]) -> tuple[Outcome, str]:
    """The server knows what waits approximately: only to see nothing of many tasks is wrong."""
    if not value and min(seen) >= _MANY:
        return "wrong", f"{seen}"
    if min(seen) <= value <= max(seen):
        return ("equal" if min(seen) == max(seen) else "bounded"), ""
    return "approximate", ""


def _stuck(first: ServerLook, last: ServerLook) -> int:
    """How many runs had waited for too long at the first look, and still did at the last."""
    return sum(
        run_id in last.untaken and began < first.began - STUCK
        for run_id, began in first.untaken.items()
    )


def _safe(build_id: str, first: ServerLook, last: ServerLook) -> tuple[Outcome, str]:
    """A build is safe that has no open run, at one of two looks at the least."""
    open_before, open_after = first.of(build_id).running, last.of(build_id).running
    if (open_before and open_after) or _open(first, last, build_id)[0]:
        return "wrong", f"{open_before} and then {open_after} open runs"
    return ("bounded" if open_before or open_after else "equal"), ""


def _within(
    value: float, low: float, high: float, *, same: bool | None = None
) -> tuple[Outcome, str]:
    if not low <= value <= high:
        return "wrong", f"between {low} and {high}"
    return ("equal" if (low == high if same is None else same) else "bounded"), ""


def _among(value: Any, seen: Sequence[Any], ever: set[Any]) -> tuple[Outcome, str]:
    if value not in seen:
        # A state that came and went between two looks cannot be held against anything.
        return ("bounded", "") if value not in ever else ("wrong", f"{seen}")
    return ("equal" if len(set(seen)) == 1 else "bounded"), ""


def _state(look: ServerLook) -> tuple[str, str, float]:
    routing = look.routing
    return routing.current, routing.ramping, routing.percentage


def _shares(states: set[tuple[str, str, float]], build_id: str) -> set[float]:
    found = set()
    for current, ramping, percentage in states:
        if build_id == ramping:
            found.add(percentage / 100)
        else:
            found.add(1 - percentage / 100 if build_id == current else 0.0)
    return found
