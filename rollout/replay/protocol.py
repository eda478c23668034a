"""Pure: what a replay program is told and what it may answer; docs/replay-protocol.md for people.

Histories go in as JSON lines, one verdict a history comes out. Whatever else comes out, and
whatever is left out, means that the code could not be tried: never that it passed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["NoVerdict", "Verdicts"]

Run = tuple[str, str]
"""Workflow id and run id."""

_TEXTS = ("error", "drift", "left_out")
_LONGEST_TEXT = 300
"""An SDK's error may print whole events; what is told is kept on the version, as a line."""

_SHOWN = 100


class NoVerdict(Exception):  # noqa: N818
    """What was answered is not a verdict on a history that was asked for; a sentence says why."""


class Verdicts:
    """The answers of one replay, each held against what was asked."""

    def __init__(self) -> None:
        self._asked: dict[Run, str] = {}
        self._answered: dict[Run, dict[str, Any]] = {}

    def ask(self, line: Mapping[str, Any]) -> None:
        """Expect a verdict on the history in ``line``, which is about to be written."""
        self._asked[_run(line)] = _workflow_type(line)

    def answer(self, line: bytes) -> None:
        """Take a line of the output. Raises `NoVerdict` where it is not what was asked for."""
        if not line.strip():
            return
        try:
            verdict = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise NoVerdict(f"its replay printed {_shown(line)}, which is no verdict") from error
        problem = _problem(verdict)
        if problem:
            raise NoVerdict(f"its replay printed {_shown(line)}, which is no verdict: {problem}")
        run = _run(verdict)
        if run not in self._asked:
            raise NoVerdict(f"its replay judged a run that it was not given: {' '.join(run)}")
        if run in self._answered:
            raise NoVerdict(f"its replay judged {run[0]} twice")
        verdict = {"event_id": None, "error": None, **verdict, "workflow_type": self._asked[run]}
        if not verdict.get("left_out") and not verdict["ok"] and not verdict["error"]:
            verdict["error"] = "its replay gives no reason"
        shortened = {key: _short(verdict[key]) for key in _TEXTS if verdict.get(key)}
        self._answered[run] = {**verdict, **shortened}

    def all(self) -> list[dict[str, Any]]:
        """The verdicts in the order of what was asked. Raises `NoVerdict` where one is missing."""
        missing = [run for run in self._asked if run not in self._answered]
        if missing:
            raise NoVerdict(
                f"its replay judged {len(self._answered)} of {len(self._asked)} runs, "
                f"not {missing[0][0]}"
            )
        return [self._answered[run] for run in self._asked]


def _problem(verdict: Any) -> str | None:  # noqa: ANN401 - whatever JSON holds
    """What is wrong with ``verdict``; None: it is one."""
    if not isinstance(verdict, dict):
        return "it is not an object"
    event_id = verdict.get("event_id")
    ok, left_out = verdict.get("ok"), verdict.get("left_out")
    rules = (
        *(
            (
                isinstance(verdict.get(key), str),
                f"it needs the {key} of the history as it was given",
            )
            for key in ("workflow_id", "run_id")
        ),
        *((isinstance(verdict.get(key), str | None), f"{key} must be a text") for key in _TEXTS),
        (event_id is None or type(event_id) is int, "event_id must be a whole number"),
        (left_out or isinstance(ok, bool), "ok must be true or false"),
        (left_out or not (ok and verdict.get("error")), "ok is true beside an error"),
    )
    return next((problem for holds, problem in rules if not holds), None)


def _run(line: Mapping[str, Any]) -> Run:
    return line["workflow_id"], line["run_id"]


def _workflow_type(line: Mapping[str, Any]) -> str:
    """As the history's first event names it, so that no replay has to."""
    started = line["history"]["events"][0].get("workflowExecutionStartedEventAttributes", {})
    return str(started.get("workflowType", {}).get("name", "unknown"))


def _shown(line: bytes) -> str:
    return repr(_short(line.decode(errors="replace"), _SHOWN))


def _short(text: str, longest: int = _LONGEST_TEXT) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
