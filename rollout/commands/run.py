"""`rollout run`: the controller's own process, of one deployment or of all in a folder."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from urllib.parse import urlencode

from prometheus_client import CollectorRegistry
from temporalio.client import Client

from rollout.base import logs, settings
from rollout.base.command_line import port
from rollout.base.connect import connect_patiently
from rollout.base.exit import Failure
from rollout.base.logger import get_logger
from rollout.base.server import asked_server
from rollout.base.signals import stop_on_signals, unless_stopped
from rollout.controller.api import serve
from rollout.controller.each_file import for_each_file
from rollout.controller.identity import own_identity
from rollout.controller.last_good import follow
from rollout.controller.lock import only_one, only_one_of_all
from rollout.controller.loop import control
from rollout.controller.metrics import ControllerMetrics, Families
from rollout.controller.notified import Notified
from rollout.controller.notifying import Notifier
from rollout.controller.published import Published
from rollout.controller.publishing import Publisher
from rollout.page.site import Site

__all__ = ["run"]

log = get_logger("rollout")


def run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout run``."""
    parser.add_argument(
        "--metrics-port",
        type=port,
        help="serve the live page there, metrics, and what is seen as JSON: /, /metrics, "
        "/api/v1/status",
    )
    parser.set_defaults(run=_run)


async def _run(arguments: argparse.Namespace) -> int:
    path = arguments.config
    if path.is_dir():
        logs.configure("rollout")
        with only_one_of_all():
            # Others go on meanwhile, in the same loop.
            at_once = functools.partial(only_one, seconds=0)
            await _Controllers(arguments.metrics_port, at_once, several=True).run(path)
    else:
        name = follow(path).config.deployment.name
        logs.configure("rollout", deployment_name=name)
        with only_one(name):
            await _Controllers(arguments.metrics_port, lambda _name: nullcontext()).run(path)
    log.info("stopped")
    return 0


class _Controllers:
    """The controllers of one process: a client, a port, and a round of its own for each."""

    def __init__(
        self,
        number: int | None,
        lock: Callable[[str], AbstractContextManager[None]],
        *,
        several: bool = False,
    ) -> None:
        """``lock`` keeps others from a deployment while it is followed."""
        self._number = number
        self._lock = lock
        self._registry = CollectorRegistry()
        self._families = Families(self._registry, asked_server().namespace)
        self._published = Published()
        self._several = several
        self._notified = Notified(self._registry, asked_server().namespace)

    async def run(self, path: Path) -> None:
        """Follow the file at ``path``, or each of that folder, until told to stop."""
        if self._number:
            try:
                site = Site(self._published.told)
                serve(settings.metrics_host(), self._number, self._registry, self._published, site)
            except Failure as error:
                raise Failure(f"port {self._number} for metrics is taken: {error}") from error
        await unless_stopped(stop_on_signals(), self._control(path))

    async def _control(self, path: Path) -> None:
        client = await connect_patiently(identity=own_identity())

        async def control_one(file: Path, _deployment: str) -> None:
            await self._control_one(client, file)

        await for_each_file(path, control_one)

    async def _control_one(self, client: Client, file: Path) -> None:
        name = follow(file).config.deployment.name
        publisher = Publisher(asked_server(), file)
        with self._lock(name), ExitStack() as after:
            metrics = ControllerMetrics(self._families, name)
            after.callback(metrics.forget)
            metrics.ages(lambda: publisher.observed_at)
            metrics.program_files(lambda: publisher.machine_problems)
            after.callback(self._published.add(name, publisher))
            if self._number:
                after.callback(_announce(publisher, name, self._number, self._several))
            after.callback(self._notified.forget, name)
            notifier = Notifier(name, self._notified.of(name))
            await control(client, file, metrics, publisher, notifier)


def _announce(publisher: Publisher, name: str, number: int, several: bool) -> Callable[[], None]:
    """Leave word where this controller is found; how to take that back."""
    url = f"http://{settings.metrics_address(number)}"
    page = f"{url}/?{urlencode({'deployment': name})}" if several else f"{url}/"
    try:
        return publisher.announce(name, url, page)
    except OSError as error:  # a full disk: whoever wants to know looks for himself
        log.warning("nobody is told where this controller is found", error=str(error))
        return lambda: None
