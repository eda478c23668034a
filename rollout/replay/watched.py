"""The SDK's replayer of a build, as its workers are, watched at what the code does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import temporalio.worker
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import WorkflowHistory
from temporalio.converter import PayloadCodec
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import (
    Plugin,
    Replayer,
    ReplayerConfig,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerConfig,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowReplayResult,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import _Definition

from rollout.worker.app import App

__all__ = ["Trace", "Watching", "replayer_of"]

_OF_CLIENT = ("data_converter", "header_codec_behavior")
_OF_WORKER = (
    *("workflow_runner", "unsandboxed_workflow_runner", "workflow_task_executor"),
    *("workflow_failure_exception_types", "debug_mode", "disable_safe_workflow_eviction"),
)


@dataclass
class Trace:
    """What the code did while one history was replayed."""

    read_up_to: int = 0
    """The id of the last event that the code has been told of."""
    failure: str | None = None
    """What it raised, where a task failed."""
    commands: list[WorkflowCommand] = field(default_factory=list)


def replayer_of(app: App, watching: Watching) -> Replayer:
    """What replays on the code of ``app``, with its own options as far as they bear on that."""
    client, worker = app.own.client, app.own.worker
    options: dict[str, Any] = {
        **{name: client[name] for name in _OF_CLIENT if name in client},
        **{name: worker[name] for name in _OF_WORKER if name in worker},
    }
    # As in a worker, to which the client's own come first.
    for name, kind in (("interceptors", temporalio.worker.Interceptor), ("plugins", Plugin)):
        of_client = (each for each in client.get(name, ()) if isinstance(each, kind))
        options[name] = [*of_client, *worker.get(name, ())]
    options["plugins"].append(watching)  # the last, so that it watches what the others make of it
    return Replayer(
        workflows=app.workflows,
        # The core would log each failure once more, and to stdout.
        runtime=Runtime(telemetry=TelemetryConfig(logging=None)),
        **options,
    )


class Watching(Plugin):
    """Has the workflows of a replayer run as they would, and notes what each of them does."""

    def __init__(self, deployment: str, build_id: str) -> None:
        self._version = (deployment, build_id)
        self._runners: list[_WatchedRunner] = []
        self.codec: PayloadCodec | None = None
        """By which the build's payloads are encoded, once the replayer has been made."""

    def watch(self, task_queue: str, namespace: str, trace: Trace) -> None:
        """From now on a run of theirs is replayed; note it in ``trace``."""
        for runner in self._runners:
            runner.watch(task_queue, namespace, trace)

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Put a watched runner around each of the two."""
        sandboxed = config.get("workflow_runner") or SandboxedWorkflowRunner()
        plain = config.get("unsandboxed_workflow_runner") or UnsandboxedWorkflowRunner()
        self._runners = [_WatchedRunner(each, *self._version) for each in (sandboxed, plain)]
        config["workflow_runner"], config["unsandboxed_workflow_runner"] = self._runners
        if (converter := config.get("data_converter")) is not None:
            self.codec = converter.payload_codec
        return config

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """It is no worker's."""
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:  # noqa: A002 - the SDK's name
        """It is no worker's."""
        await next(worker)

    def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[  # noqa: A002 - the SDK's name
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]]:
        """Nothing more."""
        return next(replayer, histories)


class _WatchedRunner(WorkflowRunner):
    """Runs workflows as ``inner`` does, and notes what each of them does."""

    def __init__(self, inner: WorkflowRunner, deployment: str, build_id: str) -> None:
        self._inner = inner
        self._deployment = deployment
        self._build_id = build_id
        self._place: dict[str, Any] = {}
        self._trace = Trace()

    def watch(self, task_queue: str, namespace: str, trace: Trace) -> None:
        """From now on a run of theirs is replayed; note it in ``trace``."""
        self._place = {"task_queue": task_queue, "namespace": namespace}
        self._trace = trace

    def prepare_workflow(self, defn: _Definition) -> None:
        self._inner.prepare_workflow(defn)

    def set_worker_level_failure_exception_types(self, types: Any) -> None:  # noqa: ANN401
        self._inner.set_worker_level_failure_exception_types(types)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        # The replayer's own would end up in the arguments that the code makes of them.
        det = replace(det, info=replace(det.info, **self._place))
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


def _note(act: WorkflowActivation, completion: WorkflowActivationCompletion, trace: Trace) -> None:
    trace.read_up_to = max(trace.read_up_to, act.history_length)
    if completion.HasField("failed"):
        failure = completion.failed.failure
        kind = failure.application_failure_info.type or "error"
        trace.failure = f"the workflow code raises {kind}: {failure.message}"
    for command in completion.successful.commands:
        copy = WorkflowCommand()  # the SDK goes on with the original, and changes it
        copy.CopyFrom(command)
        trace.commands.append(copy)
