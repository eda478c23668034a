"""`rollout exporter`: supervisord's processes and the deployment's versions, for Prometheus."""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import signal
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from rollout.base import logs, settings
from rollout.base.command_line import Parser, port
from rollout.base.exit import Failure
from rollout.base.logger import get_logger
from rollout.base.settings import ROLLOUT_FILE, TARGETS_DIR, metrics_host
from rollout.controller.each_file import for_each_file
from rollout.controller.nudge import nudge
from rollout.exporter.all_deployments import AllDeployments
from rollout.exporter.deployment import DeploymentMetrics
from rollout.exporter.folders import FolderMetrics
from rollout.exporter.listener import Event, claim_stdout, listen, stdin_reader
from rollout.exporter.loop import watch_deployment, watch_supervisor
from rollout.exporter.own_starts import count_start
from rollout.exporter.processes import ProcessMetrics
from rollout.supervision.rpc import Supervisor, own_url

log = get_logger("metrics")


def exporter(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout exporter``."""
    parser.description = (
        "Serve supervisord's processes and the worker deployment's versions as metrics on "
        "loopback, and write what Prometheus is to scrape into var/targets. supervisord runs it "
        "as an event listener; by hand it serves all but the events."
    )
    parser.epilog = (
        "examples:\n"
        "  rollout exporter\n"
        "  rollout exporter --port 9292 --targets /tmp/targets\n"
        "  curl -s http://127.0.0.1:9192/metrics"
    )
    parser.add_argument(
        "--port", type=port, default=settings.port("EXPORTER_PORT"), help="default: %(default)s"
    )
    parser.add_argument(
        "--config", type=Path, default=ROLLOUT_FILE, metavar="FILE", help="default: rollout.toml"
    )
    parser.add_argument(
        "--targets", type=Path, default=TARGETS_DIR, metavar="FOLDER", help="default: var/targets"
    )
    parser.set_defaults(run=_run)


def _serve(registry: CollectorRegistry, number: int) -> None:
    try:
        start_http_server(number, addr=metrics_host(), registry=registry)
    except (OSError, OverflowError) as error:
        raise Failure(
            f"could not serve metrics on port {number}: {error}; give another --port"
        ) from error
    log.info("serving", url=f"http://{metrics_host()}:{number}/metrics")


async def main(prog: str) -> int:
    """`rollout exporter`, under another name."""
    parser = Parser(prog=prog)
    exporter(parser)
    return await _run(parser.parse_args())


async def _count_this_start(supervisor: Supervisor, processes: ProcessMetrics) -> None:
    """Tell ``processes`` how often supervisord has started this exporter."""
    group = os.environ.get("SUPERVISOR_GROUP_NAME", "")
    name = os.environ.get("SUPERVISOR_PROCESS_NAME", "")
    try:
        starts = count_start(settings.VAR / "run" / "exporter.starts", await supervisor.pid())
    except (Failure, OSError) as error:
        log.warning("this start could not be counted", error=str(error))
        return
    processes.is_itself(group, name, starts)


async def _watch(
    supervisor: Supervisor, deployments: AllDeployments, file: Path, name: str
) -> None:
    """Serve the deployment that ``file`` names, for ever."""
    metrics = DeploymentMetrics(name)
    remove = deployments.add(metrics)
    try:
        await watch_deployment(supervisor, metrics, file)
    finally:
        remove()


async def _run(options: argparse.Namespace) -> int:
    """Serve until told to end, or until supervisord is gone."""
    supervised = "SUPERVISOR_SERVER_URL" in os.environ
    stdout = claim_stdout() if supervised else None
    logs.configure("exporter")
    processes, deployments = ProcessMetrics(), AllDeployments()
    registry = CollectorRegistry()
    registry.register(processes)
    registry.register(deployments)
    registry.register(FolderMetrics(settings.VAR))
    ProcessCollector(registry=registry)
    _serve(registry, options.port)

    told, stop = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def handle(event: Event) -> None:
        processes.count(event)
        told.set()
        for name in deployments.names:
            nudge(name)

    supervisor = Supervisor(own_url())
    if supervised:
        await _count_this_start(supervisor, processes)
    forever = [
        stop.wait(),
        watch_supervisor(supervisor, processes, options.targets, told),
        for_each_file(options.config, functools.partial(_watch, supervisor, deployments)),
    ]
    if stdout is not None:
        forever.append(listen(await stdin_reader(), functools.partial(os.write, stdout), handle))
    done, _ = await asyncio.wait(
        [asyncio.ensure_future(task) for task in forever], return_when=asyncio.FIRST_COMPLETED
    )
    for task in done:
        task.result()  # raises what ended it
    log.info("ending")
    return 0
