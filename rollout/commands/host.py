"""`rollout host`: the agent of a worker host, which routes nothing."""

from __future__ import annotations

import argparse
import re
import socket
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

from rollout.agent.lock import only_agent
from rollout.agent.loop import Telling, follow
from rollout.agent.targets import host_targets, reached_at
from rollout.base import logs
from rollout.base.command_line import port
from rollout.base.connect import connect_patiently
from rollout.base.exit import Failure, Misuse
from rollout.base.logger import get_logger
from rollout.base.settings import host_port
from rollout.base.signals import stop_on_signals, unless_stopped
from rollout.controller.api import serve
from rollout.controller.last_good import follow as follow_intent
from rollout.core.config_folder import choose
from rollout.supervision.programs import Program

__all__ = ["host", "host_name"]

log = get_logger("rollout.host")

_PORT = 9194
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def host_name(text: str) -> str:
    """``text`` where it may be a host's name, as an argument's type."""
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a host's name: letters, digits and . _ - , 63 at most"
        )
    return text


def host(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout host``."""
    parser.description = (
        "Tell the controller what runs on this host, start and retire its programs by the "
        "controller's rules, and serve its workers as targets for Prometheus (/targets, http_sd) "
        "beside its own /metrics. It routes nothing. One runs under each host's supervisord."
    )
    parser.add_argument(
        "--name",
        type=host_name,
        help="what this host is called; default: the machine's name",
    )
    parser.add_argument("--deployment", help="default: that of rollout.toml")
    parser.add_argument(
        "--bind",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="serve on it; anybody who reaches it can read the names and ports of the workers "
        "here, and cannot change anything; default: %(default)s",
    )
    parser.add_argument("--port", type=port, default=_PORT, help="default: %(default)s")
    parser.add_argument(
        "--address",
        help="how Prometheus reaches the workers' metrics; default: METRICS_HOST, else loopback",
    )
    parser.set_defaults(run=_run)


async def _run(arguments: argparse.Namespace) -> int:
    arguments.name = arguments.name or _own_name()
    deployment = arguments.deployment or _only_one(arguments.config)
    logs.configure("rollout-host", deployment_name=deployment)
    with only_agent(deployment):
        telling = _serve(arguments, deployment)
        stop = stop_on_signals()
        await unless_stopped(stop, _follow(deployment, arguments.name, telling))
    log.info("stopped")
    return 0


def _only_one(config: Path) -> str:
    """The deployment of the only file of this home. Raises `Misuse` where there are several."""
    return follow_intent(choose(config, None)).config.deployment.name


def _own_name() -> str:
    name = socket.gethostname()
    if not _NAME.fullmatch(name):
        raise Misuse(f"this machine is called {name!r}: give the host another --name")
    return name


async def _follow(deployment: str, name: str, telling: Telling) -> None:
    client = await connect_patiently(identity=f"rollout-host@{name}")
    await follow(client, deployment, name, telling)


def _serve(arguments: argparse.Namespace, deployment: str) -> Telling:
    """Serve what is told; whom to tell it."""
    registry = CollectorRegistry()
    beats = Counter("rollout_host_beats", "Beats that were left on the server.", registry=registry)
    last = Gauge(
        "rollout_host_last_beat_time_seconds", "Unix time of the last beat.", registry=registry
    )
    address = arguments.address or reached_at(arguments.bind, socket.gethostname())
    known: list[Program] = []

    def beat() -> None:
        beats.inc()
        last.set(time.time())

    def programs(found: list[Program]) -> None:
        known[:] = found

    def targets() -> object:
        return host_targets(tuple(known), deployment, arguments.name, address)

    where = host_port(arguments.bind, arguments.port)
    try:
        serve(arguments.bind, arguments.port, registry, {"/targets": targets})
    except Failure as error:
        raise Failure(f"{error}; give another --port or --bind") from error
    log.info("serving", url=f"http://{where}/targets", host=arguments.name)
    return Telling(programs, beat)
