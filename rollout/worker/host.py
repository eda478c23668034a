"""The life of a worker process: connect, poll, declare, take its place, drain, exit.

With version sets it takes its place before it polls, and without a version it has none.
"""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import structlog
import tenacity
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import Worker, WorkerDeploymentConfig

from rollout.base.connect import connect_patiently, is_transient
from rollout.base.exit import Failure, Misuse
from rollout.base.signals import stop_on_signals, unless_stopped
from rollout.temporal.version_sets import register
from rollout.worker.app import App
from rollout.worker.declaration import Declaration, admit, declare
from rollout.worker.self_routing import take_place
from rollout.worker.telemetry import make_runtime

__all__ = ["Options", "refuse_own_behaviors", "serve"]

log = structlog.get_logger(__name__)

T = TypeVar("T")

_MAX_ACTIVITIES = 100
_LONGEST_WAIT = 2.0
"""Seconds between two tries to declare: the planner takes a build for undeclared after 5."""
_LONG = 10.0
"""Seconds; the server mostly knows a build within one of its worker's first poll."""
_BEHAVIORS = {
    "pinned": VersioningBehavior.PINNED,
    "auto-upgrade": VersioningBehavior.AUTO_UPGRADE,
}


@dataclass(frozen=True)
class Options:
    """What a worker was told by its command line or its environment."""

    build_id: str
    strategy: str
    deployment: str
    task_queue: str
    metrics_port: int | None
    managed: bool
    allow_changed_code: bool
    drain: timedelta
    """How long running activities may take to finish once the worker is told to stop."""
    versioning: str = "deployment"
    """``deployment``, ``version-sets`` or ``none``."""
    behavior: str = "pinned"
    """Of workflows that say nothing themselves: ``pinned`` or ``auto-upgrade``."""


def refuse_own_behaviors(app: App, options: Options) -> None:
    """A workflow with a behavior of its own hangs on a worker without a deployment's version.

    The server rejects each of its completions there, and says so to nobody.
    """
    if app.behaviors and options.versioning != "deployment":
        names = ", ".join(sorted(app.behaviors))
        raise Misuse(
            f"{app.module}: {names} cannot run with --versioning {options.versioning}: take "
            "versioning_behavior= out of @workflow.defn, or use --versioning deployment"
        )


async def serve(app: App, options: Options) -> int:
    """Run a worker until SIGTERM or SIGINT, then drain it. Returns the exit code."""
    os.environ["BUILD_ID"] = options.build_id  # for activities: they have no workflow to ask
    stop = stop_on_signals()
    build = _declaration(app, options)
    identity = f"{options.deployment}:{options.build_id}@{socket.gethostname()}:{os.getpid()}"
    runtime = make_runtime(
        options.metrics_port, deployment=options.deployment, build_id=options.build_id
    )

    client = await unless_stopped(stop, connect_patiently(runtime=runtime, identity=identity))
    if client is None:
        return 0
    ready = await unless_stopped(stop, _before_polling(client, build, options))
    if not ready:
        return 0
    worker = _make_worker(client, app, options)

    polling = asyncio.create_task(worker.run())
    settling = asyncio.create_task(_settle_in(client, build, identity, options))
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
    )


async def _before_polling(client: Client, build: Declaration, options: Options) -> bool:
    """What must be done before the first poll; returns True."""
    if options.versioning == "deployment":
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(is_transient), wait=tenacity.wait_fixed(0.5)
        )
        await retrying(admit, client, build, allow_changed_code=options.allow_changed_code)
    elif options.versioning == "version-sets":
        place = await register(client, options.task_queue, build.build_id, build.strategy)
        if place == "superseded":
            log.warning(
                "this build gets no tasks: a newer one of its version set has taken them over; "
                "its worker can be stopped once that one polls"
            )
    return True


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def _make_worker(client: Client, app: App, options: Options) -> Worker:
    deployment_config = None
    if options.versioning == "deployment":
        deployment_config = WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(options.deployment, options.build_id),
            use_worker_versioning=True,
            default_versioning_behavior=_BEHAVIORS[options.behavior],
        )
    try:
        return Worker(
            client,
            task_queue=options.task_queue,
            workflows=app.workflows,
            activities=app.activities,
            activity_executor=ThreadPoolExecutor(_MAX_ACTIVITIES),
            max_concurrent_activities=_MAX_ACTIVITIES,
            graceful_shutdown_timeout=options.drain,
            # The SDK wants the build id in one of the two places, not in both.
            build_id=None if deployment_config else options.build_id,
            use_worker_versioning=options.versioning == "version-sets",
            deployment_config=deployment_config,
        )
    except ValueError as error:
        raise Failure(f"{app.module} cannot be served: {error}") from error


def _say_that_it_takes_long(state: tenacity.RetryCallState) -> None:
    unreachable = state.outcome is not None and state.outcome.failed
    if (state.seconds_since_start or 0) > _LONG and not unreachable:
        log.warning(
            "the server does not know this build yet, although its worker polls; is the deployment "
            "at its limit of versions (`rollout status` says so)?"
        )


async def _settle_in(client: Client, build: Declaration, identity: str, options: Options) -> None:
    """Declare the build once the server knows it, and, unless managed, take its place."""
    if options.versioning != "deployment":
        return
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(is_transient)
        | tenacity.retry_if_result(lambda ok: not ok),
        wait=tenacity.wait_exponential(multiplier=0.2, max=_LONGEST_WAIT),
        before_sleep=_say_that_it_takes_long,
    )
    try:
        await retrying(declare, client, build, identity)
    except RPCError as error:
        raise Failure(f"{build.build_id} cannot be declared: {error.message}") from error
    log.info("declared", strategy=build.strategy, behavior=build.behavior)
    if not options.managed:
        await take_place(client, build.deployment, options.task_queue, build.build_id, identity)
