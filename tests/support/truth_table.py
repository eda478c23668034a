"""The truth test's account as a table, for the terminal and for docs/truth.md alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tests.support.truth_rules import Held

__all__ = ["Account", "Row", "as_markdown"]

_WHAT = {
    "started": "runs started",
    "completed": "runs completed on a version",
    "open_runs": "open runs of a version",
    "unassigned_runs": "running workflows without a version",
    "waiting_tasks": "tasks that wait for a version",
    "routing": "current, ramping, percentage",
    "target_share": "share meant for a version",
    "current_changed": "when current changed",
    "ramping_changed": "when the ramp changed",
    "safe_to_stop": "*safe to stop*, where it is said",
    "complete": "*complete*, where it is said",
}


_OUTCOMES = ("equal", "bounded", "approximate", "wrong")


@dataclass(frozen=True)
class Row:
    """Something that was added up, measured or counted over the whole run."""

    what: str
    outcome: Literal["equal", "bounded", "late", "measured", "wrong"]
    said: str


@dataclass(frozen=True)
class Account:
    """What came of a run."""

    held: Held
    rows: tuple[Row, ...]
    looks: int
    seconds: float
    not_answered: int
    machine: str
    """How busy it was."""

    @property
    def failures(self) -> list[str]:
        """What is wrong, a sentence each."""
        return [
            *self.held.wrong,
            *(f"{row.what}: {row.said}" for row in self.rows if row.outcome == "wrong"),
        ]


def as_markdown(account: Account) -> str:
    """The account's two tables, and a sentence for each figure that was wrong."""
    held = account.held
    ages = ", ".join(f"{age:.1f} s ({source})" for source, age in sorted(held.oldest.items()))
    head = (
        f"{account.looks} looks at the server in {account.seconds:.0f} s, {account.machine}. "
        f"From the beginning of a look of ours until we heard of it, at most: {ages}. "
        f"{account.not_answered} questions of the test were not answered: that "
        "process was not up, was stopped or had been killed."
    )
    return "\n".join(
        [
            head,
            "",
            "| held each second | source | equal | bounded | approximate | wrong |",
            "|---|---|--:|--:|--:|--:|",
            *_held(held.outcomes),
            "",
            "| over the whole run | | |",
            "|---|---|---|",
            *(f"| {row.what} | {row.outcome} | {row.said} |" for row in account.rows),
            "",
            *(f"- wrong: {failure}" for failure in account.failures),
        ]
    ).rstrip("\n")


def _held(outcomes: Mapping[tuple[str, str], Mapping[str, int]]) -> Iterator[str]:
    for kind, name in _WHAT.items():
        for (what, source), counted in sorted(outcomes.items()):
            if what == kind:
                numbers = " | ".join(str(counted.get(o, 0)) for o in _OUTCOMES)
                yield f"| {name} | {source} | {numbers} |"
