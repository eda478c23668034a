"""The peer: a Temporal worker without versioning, as most are, drained on SIGTERM.

``python -m bench.plain_worker v1`` serves the code of one of the demo's builds.
A new build of it is deployed by a restart.
"""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta

import structlog
from temporalio.common import WorkerDeploymentVersion
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker, WorkerDeploymentConfig

from rollout.base import exit as stack_exit
from rollout.base import logs
from rollout.base.command_line import Parser
from rollout.base.connect import connect
from rollout.worker import app as apps

log = structlog.get_logger("bench.plain_worker")

_GRACE = timedelta(seconds=10)
"""As long as `python -m workers` gives its activities on SIGTERM."""


async def _main() -> int:
    parser = Parser(
        prog="python -m bench.plain_worker",
        description="Serve one of the demo's builds without versioning until SIGTERM.",
        epilog="example: python -m bench.plain_worker v1 --task-queue greetings",
    )
    parser.add_argument("build", help="v1, v1.1 or v2")
    parser.add_argument("--task-queue", default="greetings", metavar="NAME")
    options = parser.parse_args()
    logs.configure("plain-worker", build_id=options.build)
    app = apps.load(apps.demo_module(options.build))
    os.environ["BUILD_ID"] = options.build  # the demo's activities answer with it
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runtime = Runtime(telemetry=TelemetryConfig(logging=logs.core_logging()))
    worker = Worker(
        await connect(runtime=runtime),
        task_queue=options.task_queue,
        workflows=app.workflows,
        activities=app.activities,
        graceful_shutdown_timeout=_GRACE,
        # Unversioned: the build's name is reported and routes nothing.
        deployment_config=WorkerDeploymentConfig(
            version=WorkerDeploymentVersion("plain", options.build), use_worker_versioning=False
        ),
    )
    async with worker:
        log.info("polling", task_queue=options.task_queue)
        await stop.wait()
    return 0


if __name__ == "__main__":
    stack_exit.run("plain_worker", _main)
