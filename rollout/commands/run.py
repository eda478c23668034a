"""`rollout run`: the controller's own process."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from rollout.base import logs, settings
from rollout.base.command_line import port
from rollout.base.connect import connect_patiently
from rollout.base.exit import Failure
from rollout.base.server import asked_server
from rollout.base.signals import stop_on_signals, unless_stopped
from rollout.controller.api import serve
from rollout.controller.identity import only_one, own_identity
from rollout.controller.last_good import follow
from rollout.controller.loop import control
from rollout.controller.metrics import ControllerMetrics
from rollout.controller.publishing import Publisher

__all__ = ["run"]

log = structlog.get_logger("rollout")


def run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout run``."""
    parser.add_argument(
        "--metrics-port",
        type=port,
        help="serve metrics there, and what is seen as JSON: /metrics, /api/v1/status",
    )
    parser.set_defaults(run=_run)


async def _run(arguments: argparse.Namespace) -> int:
    name = follow(arguments.config).config.deployment.name
    logs.configure("rollout", deployment_name=name)
    with only_one(name):
        await _run_alone(arguments, name)
    log.info("stopped")
    return 0


async def _run_alone(arguments: argparse.Namespace, name: str) -> None:
    registry = CollectorRegistry()
    metrics = ControllerMetrics(registry)
    publisher = Publisher(asked_server(), arguments.config)
    metrics.ages(lambda: publisher.observed_at)
    with ExitStack() as stack:
        if arguments.metrics_port:
            stack.callback(_serve(arguments.metrics_port, name, registry, publisher))
        stop = stop_on_signals()
        await unless_stopped(stop, _control(arguments.config, metrics, publisher))


def _serve(
    number: int, name: str, registry: CollectorRegistry, publisher: Publisher
) -> Callable[[], None]:
    """Serve on the port ``number`` and leave word of it; how to take that back."""
    try:
        serve(settings.metrics_host(), number, registry, publisher.served())
    except Failure as error:
        raise Failure(f"port {number} for metrics is taken: {error}") from error
    try:
        return publisher.announce(name, f"http://{settings.metrics_address(number)}")
    except OSError as error:  # a full disk: whoever wants to know looks for himself
        log.warning("nobody is told where this controller is found", error=str(error))
        return lambda: None


async def _control(path: Path, metrics: ControllerMetrics, publisher: Publisher) -> None:
    client = await connect_patiently(identity=own_identity())
    await control(client, path, metrics, publisher)
