"""The rules of the truth test: they convict what is wrong, and nothing that may have been so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.truth_rules import Claims, hold
from tests.support.truth_server import STUCK, Counted, Routing, ServerLook

V1, HALF, V2 = Routing("v1"), Routing("v1", "v2", 50.0), Routing("v2")


def look(at: float, v1: Counted, routing: Routing = V1, **known: Any) -> ServerLook:
    """A look that took half a second."""
    return ServerLook(at, at + 0.5, routing, runs={"v1": v1}, **known)


def outcome(what: str, value: Any, *looks: ServerLook, of: str = "v1") -> str:
    """What becomes of a claim that was read between 2 and 3 s."""
    held = hold([Claims("api", 2, 3, {(what, of): value})], looks)
    (counted,) = held.outcomes.values()
    return next(iter(counted))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, "bounded"), (3, "bounded"), (8, "bounded"), (2, "wrong"), (9, "wrong")],
)
def test_open_runs(value: int, expected: str) -> None:
    """Of 5 runs 2 ended and 3 began between two looks: from 3 to 8 were open in between."""
    looks = look(1, Counted(5, 10)), look(4, Counted(6, 12))
    assert outcome("open_runs", value, *looks) == expected


def test_a_count_that_stood_still() -> None:
    """Where nothing began or ended a count is equal or wrong."""
    looks = look(1, Counted(5, 10)), look(4, Counted(5, 10))
    assert outcome("open_runs", 5, *looks) == "equal"
    assert outcome("open_runs", 4, *looks) == "wrong"


def test_safe_to_stop() -> None:
    """*Safe* is wrong where both looks count an open run, and is nothing dangerous where unsaid."""
    looks = look(1, Counted(1, 10)), look(4, Counted(1, 10))
    held = hold([Claims("api", 2, 3, {("safe_to_stop", "v1"): True})], looks)
    assert len(held.dangerous) == 1
    assert not hold([Claims("api", 2, 3, {("safe_to_stop", "v1"): False})], looks).outcomes
    ended = look(1, Counted(1, 10)), look(4, Counted(0, 11))
    assert outcome("safe_to_stop", True, *ended) == "bounded"


def test_complete() -> None:
    """*Complete* is wrong while runs that nobody takes up wait, before and after."""
    none = Counted()
    old, new = {"old": 1 - STUCK - 1.0}, {"new": 0.0}
    waits = look(1, none, untaken=old | new), look(4, none, untaken=old)
    assert outcome("complete", True, *waits) == "wrong"
    assert outcome("complete", True, look(1, none, untaken=old), look(4, none)) == "equal"
    assert outcome("complete", True, *(look(at, none, untaken=new) for at in (1, 4))) == "equal"


def test_routing() -> None:
    """A routing that no look around it has, and another had, is of another time."""
    none = Counted()
    looks = look(0, none, V1), look(1, none, HALF), look(4, none, V2)
    assert outcome("routing", ("v1", "v2", 50.0), *looks) == "bounded"
    assert outcome("routing", ("v1", "", 0.0), *looks) == "wrong"
    assert outcome("target_share", 0.5, *looks) == "bounded"


def test_what_waits() -> None:
    """What waits is approximate; to see nothing of many is wrong."""
    looks = [look(at, Counted(), waiting={"v1": tasks}) for at, tasks in ((1, 40), (4, 50))]
    assert outcome("waiting_tasks", 45, *looks) == "bounded"
    assert outcome("waiting_tasks", 37, *looks) == "approximate"
    assert outcome("waiting_tasks", 0, *looks) == "wrong"


def test_without_a_look_on_each_side_nothing_is_held() -> None:
    """Nothing is said of a claim that is newer than the last look, or older than the first."""
    claim = Claims("api", 2, 3, {("open_runs", "v1"): 7})
    assert not hold([claim], [look(1, Counted())]).outcomes
    assert not hold([claim], [look(4, Counted())]).outcomes


def test_what_the_load_counts() -> None:
    """The load may be ahead of visibility for a moment, and never for good."""
    looks = look(1, Counted(5, 10), started=15), look(4, Counted(5, 12), started=17)
    assert outcome("started", 16, *looks, of="") == "bounded"
    assert outcome("completed", 12, *looks) == "bounded"
    assert outcome("completed", 3, *looks) == "approximate"
    later = look(5, Counted(5, 14), started=19)
    assert outcome("started", 19, *looks, later, of="") == "approximate"
    assert outcome("started", 20, *looks, later, of="") == "wrong"
