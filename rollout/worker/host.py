"""The life of a worker process: connect, poll, settle in, drain, exit."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor

import structlog
from temporalio.client import Client
from temporalio.worker import Worker

from rollout.base.connect import connect_patiently
from rollout.base.exit import Failure
from rollout.base.signals import stop_on_signals, unless_stopped
from rollout.worker.app import App
from rollout.worker.declaration import Declaration
from rollout.worker.defaults import MAX_ACTIVITIES
from rollout.worker.options import Options
from rollout.worker.telemetry import make_runtime
from rollout.worker.versioning import VERSIONINGS, Identity

__all__ = ["serve"]

log = structlog.get_logger(__name__)


async def serve(app: App, options: Options) -> int:
    """Run a worker until SIGTERM or SIGINT, then drain it. Returns the exit code."""
    os.environ["BUILD_ID"] = options.build_id  # for activities: they have no workflow to ask
    stop = stop_on_signals()
    versioning = VERSIONINGS[options.versioning]
    build = _declaration(app, options)
    identity = f"{options.deployment}:{options.build_id}@{socket.gethostname()}:{os.getpid()}"
    runtime = make_runtime(
        options.metrics_port, deployment=options.deployment, build_id=options.build_id
    )

    client = await unless_stopped(stop, connect_patiently(runtime=runtime, identity=identity))
    if client is None:
        return 0
    if not await unless_stopped(stop, _ready(versioning.before_polling(client, build, options))):
        return 0
    worker = _make_worker(client, app, options, versioning.identity(options))

    polling = asyncio.create_task(worker.run())
    settling = asyncio.create_task(versioning.settle_in(client, build, options, identity))
    stopping = asyncio.create_task(stop.wait())
    log.info("polling", task_queue=options.task_queue, module=app.module, code=app.fingerprint)
    await asyncio.wait({polling, settling, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if settling.done() and not _failed(settling):
        await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)

    settling.cancel()
    log.info("draining", at_most_seconds=options.drain.total_seconds())
    await worker.shutdown()
    try:
        await polling
    except RuntimeError as error:  # the SDK's word for a namespace or a queue it may not poll
        raise Failure(f"the worker cannot poll: {' '.join(str(error).split())}") from error
    if _failed(settling):
        await settling
    log.info("stopped")
    return 0


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


def _make_worker(client: Client, app: App, options: Options, named: Identity) -> Worker:
    try:
        return Worker(
            client,
            task_queue=options.task_queue,
            workflows=app.workflows,
            activities=app.activities,
            activity_executor=ThreadPoolExecutor(MAX_ACTIVITIES),
            max_concurrent_activities=MAX_ACTIVITIES,
            graceful_shutdown_timeout=options.drain,
            build_id=named.build_id,
            use_worker_versioning=named.use_worker_versioning,
            deployment_config=named.deployment_config,
        )
    except ValueError as error:
        raise Failure(f"{app.module} cannot be served: {error}") from error
