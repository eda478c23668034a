"""`rollout run`: the controller's own process."""

from __future__ import annotations

import argparse
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from rollout.base import logs, settings
from rollout.base.command_line import port
from rollout.base.connect import connect_patiently
from rollout.base.exit import Failure
from rollout.base.signals import stop_on_signals, unless_stopped
from rollout.controller.identity import only_one, own_identity
from rollout.controller.loop import control
from rollout.controller.metrics import ControllerMetrics
from rollout.core.config_file import load

__all__ = ["run"]

log = structlog.get_logger("rollout")


def run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout run``."""
    parser.add_argument("--metrics-port", type=port, help="serve Prometheus metrics there")
    parser.set_defaults(run=_run)


async def _run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    name = config.deployment.name
    logs.configure("rollout", deployment_name=name)
    with only_one(name):
        await _run_alone(arguments)
    log.info("stopped")
    return 0


async def _run_alone(arguments: argparse.Namespace) -> None:
    registry = CollectorRegistry()
    metrics = ControllerMetrics(registry)
    if arguments.metrics_port:
        try:
            start_http_server(
                arguments.metrics_port, addr=settings.metrics_host(), registry=registry
            )
        except OSError as error:
            raise Failure(f"port {arguments.metrics_port} for metrics is taken") from error
    stop = stop_on_signals()
    await unless_stopped(stop, _control(arguments.config, metrics))


async def _control(path: Path, metrics: ControllerMetrics) -> None:
    client = await connect_patiently(identity=own_identity())
    await control(client, path, metrics)
