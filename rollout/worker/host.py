"""The life of a worker process: connect, poll, settle in, drain, exit."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from rollout.base.connect import connect_patiently
from rollout.base.exit import Failure, Misuse
from rollout.base.logger import get_logger
from rollout.base.signals import stop_on_signals, unless_stopped
from rollout.base.tracing import is_tracing, traced
from rollout.worker.app import App
from rollout.worker.declaration import Declaration
from rollout.worker.defaults import MAX_ACTIVITIES
from rollout.worker.lifespan import lived
from rollout.worker.options import Options
from rollout.worker.telemetry import make_runtime
from rollout.worker.versioning import VERSIONINGS, Identity

__all__ = ["serve"]

_CHILD_SECONDS = 2.0

log = get_logger(__name__)


async def serve(app: App, options: Options) -> int:
    """Run a worker until SIGTERM or SIGINT, then drain it. Returns the exit code."""
    os.environ["BUILD_ID"] = options.build_id  # for activities: they have no workflow to ask
    stop = stop_on_signals()
    more = (each for each in app.own.task_queues if each != options.task_queue)
    options = replace(options, more_task_queues=tuple(more))
    runtime = make_runtime(
        options.metrics_port, deployment=options.deployment, build_id=options.build_id
    )
    try:
        async with lived(app, stop) as entered:
            if entered:
                await _serve(app, options, runtime, stop)
    finally:
        _end_children()
    return 0


def _end_children() -> None:
    """End the processes of an executor that the app gives: nothing runs in them any more.

    The interpreter's own shutdown, which would, is skipped (`rollout.base.exit.end`).
    """
    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    for child in children:
        child.join(_CHILD_SECONDS)
        child.kill()


async def _serve(app: App, options: Options, runtime: Runtime, stop: asyncio.Event) -> None:
    versioning = VERSIONINGS[options.versioning]
    build = _declaration(app, options)
    identity = f"{options.deployment}:{options.build_id}@{socket.gethostname()}:{os.getpid()}"
    client = await unless_stopped(stop, _connected(app, options, runtime, identity))
    if client is None:
        return
    if not await unless_stopped(stop, _ready(versioning.before_polling(client, build, options))):
        return
    workers = _make_workers(client, app, options, versioning.identity(options))

    polling = asyncio.create_task(_poll(workers))
    settling = asyncio.create_task(versioning.settle_in(client, build, options, identity))
    stopping = asyncio.create_task(stop.wait())
    queues = ", ".join(options.task_queues)
    log.info("polling", task_queue=queues, module=app.module, code=app.fingerprint)
    await asyncio.wait({polling, settling, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if settling.done() and not _failed(settling):
        await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)

    settling.cancel()
    log.info("draining", at_most_seconds=options.drain.total_seconds())
    await asyncio.gather(*(worker.shutdown() for worker in workers))
    try:
        await polling
    except RuntimeError as error:  # the SDK's word for a namespace or a queue it may not poll
        raise Failure(f"the worker cannot poll: {' '.join(str(error).split())}") from error
    if _failed(settling):
        await settling
    log.info("stopped")


async def _poll(workers: Sequence[Worker]) -> None:
    await asyncio.gather(*(worker.run() for worker in workers))


async def _connected(app: App, options: Options, runtime: Runtime, identity: str) -> Client:
    names = {"build_id": options.build_id, "deployment_name": options.deployment}
    own = traced("worker", app.own.client, **names)
    try:
        return await connect_patiently(runtime=runtime, identity=identity, own=own)
    except Failure:
        raise
    except Exception as error:
        if not app.own.client:
            raise
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise Misuse(f"{app.module}: its client_options() cannot be used: {told}") from error


def _declaration(app: App, options: Options) -> Declaration:
    others = {n: b for n, b in sorted(app.behaviors.items()) if b != options.behavior}
    return Declaration(
        options.deployment,
        options.build_id,
        options.strategy,
        app.fingerprint,
        behavior=options.behavior,
        exceptions=", ".join(f"{name} {behavior}" for name, behavior in others.items()),
        workflows=app.names,
    )


async def _ready(work: Awaitable[None]) -> bool:
    """Do ``work``; True, which tells that it was done from that it was stopped."""
    await work
    return True


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def _make_workers(client: Client, app: App, options: Options, named: Identity) -> list[Worker]:
    """One for each task queue; raises `Misuse` where what the app gives does not go together."""
    own = dict(app.own.worker)
    if "tuner" not in own:  # which has a number of its own
        own.setdefault("max_concurrent_activities", MAX_ACTIVITIES)
    if "workflow_runner" not in own and is_tracing():
        # In a copy of its own a workflow would not know the span that it runs in.
        shared = SandboxRestrictions.default.with_passthrough_modules("opentelemetry")
        own["workflow_runner"] = SandboxedWorkflowRunner(restrictions=shared)
    if "activity_executor" not in own:
        own["activity_executor"] = ThreadPoolExecutor(
            own.get("max_concurrent_activities") or MAX_ACTIVITIES
        )
    try:
        return [
            Worker(
                client,
                task_queue=task_queue,
                workflows=workflows,
                activities=activities,
                graceful_shutdown_timeout=options.drain,
                build_id=named.build_id,
                use_worker_versioning=named.use_worker_versioning,
                deployment_config=named.deployment_config,
                **own,
            )
            for task_queue in options.task_queues
            for workflows, activities in (app.on(task_queue),)
        ]
    except (ValueError, TypeError, RuntimeError) as error:
        told = " ".join(str(error).split())
        raise Misuse(f"{app.module} cannot be served: {told}") from error
