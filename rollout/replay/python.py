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
from dataclasses import dataclass, field, replace
from typing import Any, TextIO

from google.protobuf.json_format import ParseError
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import WorkflowHistory
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import (
    Replayer,
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import _Definition

from rollout.base.exit import Misuse
from rollout.replay.drift import first_drift
from rollout.temporal.history import names_in, undecodable
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


@dataclass
class _Trace:
    """What the code did while one history was replayed."""

    read_up_to: int = 0
    """The id of the last event that the code has been told of."""
    failure: str | None = None
    """What it raised, where a task failed."""
    commands: list[WorkflowCommand] = field(default_factory=list)


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
        # The sandbox of the workers (workers.host), each instance watched.
        sandboxed, plain = (
            _WatchedRunner(runner, deployment, build_id)
            for runner in (SandboxedWorkflowRunner(), UnsandboxedWorkflowRunner())
        )
        self._runners = (sandboxed, plain)
        self._replayer = (
            Replayer(
                workflows=app.workflows,
                workflow_runner=sandboxed,
                unsandboxed_workflow_runner=plain,
                # The core would log each failure once more, and to stdout.
                runtime=Runtime(telemetry=TelemetryConfig(logging=None)),
            )
            if app.workflows
            else None
        )

    async def one(self, given: _History) -> dict[str, Any]:
        """The outcome of one history, as a line of the output."""
        trace = _Trace()
        problem = await self._problem(given, trace)
        event_id, error = problem or (None, None)
        drift = first_drift(given.history, trace.commands)
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

    async def _problem(self, given: _History, trace: _Trace) -> tuple[int | None, str] | None:
        """The first event that does not fit the code, and why; None where all of them do."""
        # A dynamic workflow has no name: it takes every type.
        if self._replayer is None or not {given.workflow_type, None} & self._names:
            return None, f"{self._module} offers no workflow {given.workflow_type}"
        if not any(
            event.HasField("workflow_task_completed_event_attributes")
            for event in given.history.events
        ):
            return None  # no code has run yet; the SDK would wait for it for ever
        for runner in self._runners:
            runner.watch(given, trace)
        result = await self._replayer.replay_workflow(given.history, raise_on_replay_failure=False)
        # The SDK lets pass what fails in the task after the history's end.
        if result.replay_failure is not None or trace.failure is not None:
            return _failure(given.history, trace, str(result.replay_failure))
        return None


class _WatchedRunner(WorkflowRunner):
    """Runs workflows as ``inner`` does, and notes what each of them does."""

    def __init__(self, inner: WorkflowRunner, deployment: str, build_id: str) -> None:
        self._inner = inner
        self._deployment = deployment
        self._build_id = build_id
        self._given: _History | None = None
        self._trace = _Trace()

    def watch(self, given: _History, trace: _Trace) -> None:
        """From now on ``given`` is replayed; note it in ``trace``."""
        self._given, self._trace = given, trace

    def prepare_workflow(self, defn: _Definition) -> None:
        self._inner.prepare_workflow(defn)

    def set_worker_level_failure_exception_types(self, types: Any) -> None:  # noqa: ANN401
        self._inner.set_worker_level_failure_exception_types(types)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        if self._given is not None:
            # The replayer's own would end up in the arguments that the code makes of them.
            info = replace(
                det.info, task_queue=self._given.task_queue, namespace=self._given.namespace
            )
            det = replace(det, info=info)
        instance = self._inner.create_instance(det)
        activate, trace = instance.activate, self._trace

        def watched(act: WorkflowActivation) -> WorkflowActivationCompletion:
            if not act.is_replaying:
                # A task that no build has completed yet is this build's, as in a worker.
                act.deployment_version_for_current_task.deployment_name = self._deployment
                act.deployment_version_for_current_task.build_id = self._build_id
            completion = activate(act)
            _note(act, completion, trace)
            return completion

        # In place: a class of our own would have to follow every method the SDK adds.
        instance.activate = watched  # type: ignore[method-assign]
        return instance


def _note(act: WorkflowActivation, completion: WorkflowActivationCompletion, trace: _Trace) -> None:
    trace.read_up_to = max(trace.read_up_to, act.history_length)
    if completion.HasField("failed"):
        failure = completion.failed.failure
        kind = failure.application_failure_info.type or "error"
        trace.failure = f"the workflow code raises {kind}: {failure.message}"
    for command in completion.successful.commands:
        copy = WorkflowCommand()  # the SDK goes on with the original, and changes it
        copy.CopyFrom(command)
        trace.commands.append(copy)


def _failure(history: WorkflowHistory, trace: _Trace, text: str) -> tuple[int | None, str]:
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


def _likely_event(history: WorkflowHistory, trace: _Trace, reason: str) -> int | None:
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
