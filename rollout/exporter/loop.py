"""Keeps what is served up to date: asks supervisord and Temporal, again and again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import structlog
from temporalio.service import RPCError

from rollout.base.connect import connect_patiently
from rollout.base.exit import Failure
from rollout.core.config import RolloutConfig
from rollout.core.config_file import load
from rollout.exporter.deployment import DeploymentMetrics
from rollout.exporter.processes import ProcessMetrics
from rollout.exporter.targets import stack_targets, worker_targets, write_if_changed
from rollout.supervision.programs import Program
from rollout.supervision.rpc import Supervisor
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
    intent = _Intent(rollout_file)
    unread = _Trouble("the deployment cannot be read")
    client = await connect_patiently(identity="exporter")
    pause = PERIOD
    while True:
        config = intent.read()
        if config is None:
            metrics.missed()
        else:
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


class _Intent:
    """The last rollout.toml that could be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._config: RolloutConfig | None = None
        self._read: tuple[int, int] | None = None
        self._broken = _Trouble("rollout.toml cannot be used; the last good one stays in force")

    def read(self) -> RolloutConfig | None:
        """The newest good version of the file, or None where there was none yet."""
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_size)
            if version != self._read:
                self._read = version
                self._config = load(self._path)
                self._broken.now(None)
        except (Failure, OSError) as error:
            self._broken.now(str(error))
        return self._config


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
