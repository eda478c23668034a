"""Keeps what is served up to date: asks supervisord and Temporal, again and again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import structlog
from temporalio.service import RPCError

from rollout.base.connect import connect_patiently
from rollout.base.exit import Failure, Misuse
from rollout.controller.intent import Intent
from rollout.exporter.deployment import DeploymentMetrics
from rollout.exporter.processes import ProcessMetrics
from rollout.exporter.targets import stack_targets, worker_targets, write_if_changed
from rollout.supervision.rpc import Program, Supervisor
from rollout.temporal.observer import Observer

__all__ = ["watch_deployment", "watch_supervisor"]

log = structlog.get_logger(__name__)

PERIOD = 2.0
"""Seconds between two looks at the same thing."""

_LONGEST_PAUSE = 10.0
_LEAST_PAUSE = 0.2  # however many events come, supervisord has children to start
_OBSERVE_TIMEOUT = 10.0


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

    It looks every `PERIOD`, and less often while Temporal is away.
    """
    broken = _Trouble("rollout.toml cannot be used; the last good one stays in force")
    unread = _Trouble("the deployment cannot be read")
    client = await connect_patiently(identity="exporter")
    intent = await _first_intent(rollout_file, metrics, broken)
    pause = PERIOD
    observer: Observer | None = None
    while True:
        config = intent.refresh()
        broken.now(intent.problem)
        if observer is None or observer.deployment != config.deployment.name:
            observer = Observer(client, config.deployment.name, supervisor)
        try:
            seen = await asyncio.wait_for(observer.observe(), _OBSERVE_TIMEOUT)
        except (RPCError, asyncio.TimeoutError) as error:
            metrics.missed()
            unread.now(str(error) or f"no answer within {_OBSERVE_TIMEOUT:g} s")
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            metrics.saw(seen, config.deployment.target)
            unread.now("; ".join(seen.problems) or None)
            pause = PERIOD
        await asyncio.sleep(pause)


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
    """Write both files where they changed; what hindered it, if anything did."""
    try:
        for name, groups in (
            ("workers.json", worker_targets(programs)),
            ("stack.json", stack_targets(programs)),
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
