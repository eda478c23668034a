"""Keeps what is served up to date: asks supervisord and Temporal, again and again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from rollout.base.connect import Refused, connect
from rollout.base.exit import Failure, Misuse
from rollout.base.logger import get_logger
from rollout.base.server import asked_server
from rollout.controller.intent import Intent
from rollout.controller.snapshot import Unanswered, read
from rollout.core.observation import Observation
from rollout.exporter.deployment import DeploymentMetrics
from rollout.exporter.processes import ProcessMetrics
from rollout.exporter.targets import (
    alertmanagers,
    stack_targets,
    temporal_targets,
    worker_targets,
    write_if_changed,
)
from rollout.supervision.programs import Program
from rollout.supervision.rpc import Supervisor
from rollout.temporal.observer import Observer

__all__ = ["watch_deployment", "watch_supervisor"]

log = get_logger(__name__)

PERIOD = 2.0
"""Seconds between two looks at the same thing."""

_LONGEST_PAUSE = 10.0
_LEAST_PAUSE = 0.2  # however many events come, supervisord has children to start


async def watch_supervisor(
    supervisor: Supervisor, metrics: ProcessMetrics, targets: Path, told: asyncio.Event
) -> None:
    """Read supervisord's processes into ``metrics`` and the folder ``targets``, for ever.

    It looks every `PERIOD`, and sooner when ``told`` is set. While supervisord is
    away the files stay as they are.
    """
    away = _Trouble("supervisord cannot be read")
    unwritten = _Trouble("the targets cannot be written")
    while True:
        told.clear()
        try:
            metrics.saw(await supervisor.processes())
            unwritten.now(_write_targets(targets, await supervisor.config()))
            away.now(None)
        except Failure as failure:
            metrics.saw(None)
            away.now(str(failure))
        await asyncio.sleep(_LEAST_PAUSE)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(told.wait(), PERIOD - _LEAST_PAUSE)


async def watch_deployment(
    supervisor: Supervisor, metrics: DeploymentMetrics, rollout_file: Path
) -> None:
    """Read the deployment that ``rollout_file`` names into ``metrics``, for ever.

    It looks every `PERIOD`, and less often while Temporal is away. Where a controller runs here
    it is that one's look that is served, and the server is not asked again.
    """
    broken = _Trouble("rollout.toml cannot be used; the last good one stays in force")
    unread = _Trouble("the deployment cannot be read")
    intent = await _first_intent(rollout_file, metrics, broken)
    looks = _Looks(supervisor)
    pause = PERIOD
    while True:
        config = intent.refresh()
        broken.now(intent.problem)
        try:
            seen = await looks.at(config.deployment.name)
        except (Misuse, Refused):  # a person has to see it
            raise
        except (Failure, RPCError) as error:
            metrics.missed()
            unread.now(str(error))
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            metrics.saw(seen, config.deployment.target)
            unread.now("; ".join(seen.problems) or None)
            pause = looks.pause
        await asyncio.sleep(pause)


class _Looks:
    """One look after another: the controller's where one runs here, else our own."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._client: Client | None = None
        self._observer: tuple[str, Observer] | None = None
        self._source = ""
        self.pause = PERIOD
        """Seconds until another look is worth its questions."""

    async def at(self, deployment: str) -> Observation:
        """What is seen of ``deployment``. Raises `Failure` or `RPCError` where nobody can say."""
        try:
            _, seen = await asyncio.to_thread(read, deployment, asked_server())
        except Unanswered as none:
            self._told(f"the server: {none}")
            return await self._own(deployment)
        self._told("the controller")
        self._observer, self.pause = None, PERIOD
        return seen

    async def _own(self, deployment: str) -> Observation:
        if self._client is None:
            self._client = await connect(identity="exporter")
        if self._observer is None or self._observer[0] != deployment:
            own = Observer(self._client, deployment, self._supervisor, at_once=False)
            self._observer = (deployment, own)
        observer = self._observer[1]
        seen = await observer.observe()
        self.pause = max(PERIOD, observer.pace.routing)
        return seen

    def _told(self, source: str) -> None:
        """Log whom the looks come from, when that changes."""
        if source.partition(":")[0] != self._source.partition(":")[0]:
            log.info("versions are read", source=source)
        self._source = source


async def _first_intent(path: Path, metrics: DeploymentMetrics, broken: _Trouble) -> Intent:
    """Wait until there is a rollout.toml that can be used."""
    while True:
        try:
            return Intent(path)
        except Misuse as error:
            metrics.missed()
            broken.now(str(error))
        await asyncio.sleep(PERIOD)


def _write_targets(folder: Path, programs: list[Program]) -> str | None:
    """Write the files that changed; what hindered it, if anything did."""
    try:
        for name, groups in (
            ("workers.json", worker_targets(programs)),
            ("stack.json", stack_targets(programs)),
            ("temporal.json", temporal_targets(programs)),
            ("alertmanagers.json", alertmanagers(programs)),
        ):
            if write_if_changed(folder / name, groups):
                log.info("targets changed", file=str(folder / name), targets=len(groups))
    except OSError as error:  # a full disk: the old files stay, and the next look tries again
        return str(error)
    return None


class _Trouble:
    """Logs a trouble when it begins, changes and ends, instead of every two seconds."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._reason: str | None = None

    def now(self, reason: str | None) -> None:
        """Say that the trouble is ``reason``, or None: there is none."""
        if reason == self._reason:
            return
        if reason is not None:
            log.warning(self._event, error=reason)
        else:
            log.info("a trouble is over", trouble=self._event, error=self._reason)
        self._reason = reason
