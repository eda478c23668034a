"""The replay program for Python: whether a build's code would do what each history tells.

It is `rollout replay --app`, and `rollout worker --replay`: histories come in on stdin, one JSON
object a line, and one verdict each goes out to stdout (docs/replay-protocol.md). Neither Temporal
nor any activity is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TextIO

from google.protobuf.json_format import ParseError
from temporalio.client import WorkflowHistory
from temporalio.workflow import _Definition

from rollout.base.exit import Misuse
from rollout.replay.drift import first_drift
from rollout.replay.watched import Trace, Watching, replayer_of
from rollout.temporal.history import names_in, readable, undecodable
from rollout.worker.app import App

__all__ = ["own_stdout", "replay"]

_NICENESS = 5
_LONGEST_ERROR = 300

# Two ways in which the SDK's core writes the event that it stumbled over.
_EVENT_ID = re.compile(r"HistoryEvent(?:\(id: | \{ event_id: )(\d+)")
_MESSAGE = re.compile(r'message: "((?:[^"\\]|\\.)*)"')
_EVENT_TEXT = re.compile(r"HistoryEvent\(id: \d+, (\w+)\)|HistoryEvent \{.*?event_type: (\w+).*\}")
_UNDECODED = re.compile("decoding|payload encoding")
_QUOTED = re.compile(r"'([^']*)' does not match")


@dataclass(frozen=True)
class _History:
    """One line of the input."""

    run_id: str
    workflow_type: str
    task_queue: str
    namespace: str
    history: WorkflowHistory


def own_stdout() -> TextIO:
    """The real stdout, for results alone: whatever else prints there goes to stderr from now on."""
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return results


async def replay(app: App, results: TextIO, *, deployment: str, build_id: str) -> int:
    """Replay every history on stdin and write each outcome to ``results`` as it is known.

    In: ``{"workflow_id", "history"}``, and where they are known ``run_id`` and
    ``namespace``; ``history`` as the SDK or the CLI writes it. Out: ``{"workflow_id",
    "run_id", "workflow_type", "ok", "event_id", "error"}``, and only where there is something
    to say ``drift``: how the code's arguments differ, or ``left_out``: why the history could
    not be tried. Returns 0 whatever the outcomes; raises `Misuse` at a line that is not a history.

    https://docs.temporal.io/develop/python/testing-suite#replay
    """
    os.nice(_NICENESS)  # workers that serve real runs share this machine
    os.environ["BUILD_ID"] = build_id  # as in a worker
    replays = _Replays(app, deployment, build_id)
    async for given in _histories():
        outcome = await replays.one(given)
        print(json.dumps(outcome), file=results, flush=True)
    return 0


async def _histories() -> AsyncIterator[_History]:
    """The lines of stdin, read one at a time: a history can be megabytes long."""
    number = 0
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        number += 1
        if line.strip():
            try:
                yield _history(json.loads(line))
            except (ValueError, LookupError, TypeError, AttributeError, ParseError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise Misuse(f"line {number} of the input is not a history: {reason}") from error


def _history(line: dict[str, Any]) -> _History:
    history = WorkflowHistory.from_json(line["workflow_id"], line["history"])
    if not history.events:
        raise ValueError("it has no events")
    started = history.events[0].workflow_execution_started_event_attributes
    if not started.workflow_type.name:
        raise ValueError("its first event starts no workflow")
    return _History(
        run_id=line.get("run_id") or started.original_execution_run_id,
        workflow_type=started.workflow_type.name,
        task_queue=started.task_queue.name,
        namespace=line.get("namespace") or "default",
        history=history,
    )


class _Replays:
    """Replays histories on one build's code, one after another."""

    def __init__(self, app: App, deployment: str, build_id: str) -> None:
        definitions = [_Definition.must_from_class(workflow) for workflow in app.workflows]
        self._names = {definition.name for definition in definitions}
        self._module = app.module
        self._watching = Watching(deployment, build_id)
        self._replayer = replayer_of(app, self._watching) if app.workflows else None

    async def one(self, given: _History) -> dict[str, Any]:
        """The outcome of one history, as a line of the output."""
        trace = Trace()
        problem = await self._problem(given, trace)
        event_id, error = problem or (None, None)
        history = await readable(given.history, self._watching.codec)
        drift = first_drift(history, trace.commands)
        more: dict[str, Any] = {}
        if drift is not None:
            more["drift"] = drift[1]
            event_id = drift[0] if problem is None else event_id
        # Code that fails for another reason breaks the run, whatever else is encrypted in it.
        undecoded = trace.failure is not None and _UNDECODED.search(trace.failure)
        encodings = undecodable(given.history) if undecoded else []
        if encodings:
            more["left_out"] = (
                f"could not be tried: payloads encoded as {', '.join(encodings)} cannot be "
                "decoded here"
            )
        return {
            "workflow_id": given.history.workflow_id,
            "run_id": given.run_id,
            "workflow_type": given.workflow_type,
            "ok": problem is None,
            "event_id": event_id,
            "error": error,
            **more,
        }

    async def _problem(self, given: _History, trace: Trace) -> tuple[int | None, str] | None:
        """The first event that does not fit the code, and why; None where all of them do."""
        # A dynamic workflow has no name: it takes every type.
        if self._replayer is None or not {given.workflow_type, None} & self._names:
            return None, f"{self._module} offers no workflow {given.workflow_type}"
        if not any(
            event.HasField("workflow_task_completed_event_attributes")
            for event in given.history.events
        ):
            return None  # no code has run yet; the SDK would wait for it for ever
        self._watching.watch(given.task_queue, given.namespace, trace)
        result = await self._replayer.replay_workflow(given.history, raise_on_replay_failure=False)
        # The SDK lets pass what fails in the task after the history's end.
        if result.replay_failure is not None or trace.failure is not None:
            return _failure(given.history, trace, str(result.replay_failure))
        return None


def _failure(history: WorkflowHistory, trace: Trace, text: str) -> tuple[int | None, str]:
    """The event and the reason in what the SDK says of a replay that failed."""
    if trace.failure is not None:
        return trace.read_up_to or None, _short(trace.failure)
    message = _MESSAGE.search(text)
    # Rust escapes as JSON does, as far as these messages go.
    reason = text
    if message:
        with contextlib.suppress(ValueError):
            reason = str(json.loads(f'"{message.group(1)}"'))
    event = _EVENT_ID.search(reason)
    event_id = int(event.group(1)) if event else _likely_event(history, trace, reason)
    reason = _EVENT_TEXT.sub(lambda match: match.group(1) or match.group(2), reason)
    return event_id, _short(re.sub(r"^\[TMPRL\d+\] ", "", reason))


def _likely_event(history: WorkflowHistory, trace: Trace, reason: str) -> int | None:
    """The event of which the core names only type or id, as in "... 'pay' does not match ...".

    It is one of those that follow the last event which the code has been told of.
    """
    quoted = _QUOTED.search(reason)
    if quoted is None:
        return trace.read_up_to or None
    for event in history.events:
        if event.event_id > trace.read_up_to and quoted.group(1) in names_in(event):
            return event.event_id
    return None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_ERROR else f"{line[: _LONGEST_ERROR - 1]}…"
