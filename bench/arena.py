"""Where one way of upgrading is measured: a Temporal server of its own, and a load on it.

Each way gets a new server, so that none pays for what another left behind, and
the same seed, so that all get the same workflows at the same times.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from client.schedule import schedule
from rollout.base.exit import Failure
from tests.support.temporal_server import DevServer
from tests.support.worker_process import Command, environ

__all__ = ["Arena", "LoadUnderWay", "Settings", "arena"]

log = structlog.get_logger("bench.arena")

_SEED = 1
_STARTING = 30.0
"""Seconds that a process may take to be up."""


@dataclass(frozen=True)
class Settings:
    """What the ways are measured with; times are in seconds."""

    rate: float
    """Starts a second."""
    duration: float
    """How long the load starts workflows."""
    orders: float
    """The share of orders among them."""
    order_seconds: tuple[float, float]
    """How long an order takes: from, to."""
    drain: float
    """How long open runs are waited for, once nothing more is started."""

    @property
    def upgrade_at(self) -> float:
        """When the upgrade begins, after the load does."""
        return self.duration / 3

    @property
    def scheduled_gap(self) -> float | None:
        """The longest time between two greetings that the load itself leaves."""
        starts = schedule(
            self.rate,
            orders=self.orders,
            order_seconds=self.order_seconds,
            duration=self.duration,
            seed=_SEED,
        )
        due = [start.due for start in starts if start.workflow_type == "Greeting"]
        return round(max((b - a for a, b in pairwise(due)), default=0.0), 3) or None


class Arena:
    """A running server, and the processes that are measured on it."""

    def __init__(self, server: DevServer, folder: Path, settings: Settings) -> None:
        self.address = server.address
        self.settings = settings
        self._server = server
        self._folder = folder

    @contextmanager
    def worker(self, build_id: str, strategy: str) -> Iterator[Command]:
        """A worker of this project, which takes its place by itself."""
        with self._python("workers", "--build-id", build_id, "--strategy", strategy) as worker:
            yield worker

    @contextmanager
    def plain_worker(self, build_id: str) -> Iterator[Command]:
        """The peer's worker, polling."""
        with self._python("bench.plain_worker", build_id) as worker:
            _until_logged(worker, "polling")
            yield worker

    @contextmanager
    def load(self) -> Iterator[LoadUnderWay]:
        """The load, begun: on workers that have answered one greeting before."""
        s = self.settings
        with self._python("client", "--timeout", f"{_STARTING}s") as greeting:
            wait_until(lambda: greeting.returncode is not None, _STARTING + 10, "a greeting")
            if greeting.returncode:
                raise Failure(f"no worker answers: {_last_line(greeting)}")
        with self._python(
            "client", "load", "--json",
            "--rate", str(s.rate), "--duration", f"{s.duration}s",
            "--orders", str(s.orders), "--order-seconds", "{}-{}".format(*s.order_seconds),
            "--drain", f"{s.drain}s", "--seed", str(_SEED),
        ) as command:  # fmt: skip
            _until_logged(command, "load begins")
            yield LoadUnderWay(command, s, time.monotonic(), datetime.now(timezone.utc))

    @contextmanager
    def _python(self, *words: str) -> Iterator[Command]:
        """One of our modules, which ends when this process does, however it does."""
        launched = [sys.executable, "-m", "rollout", "launch", "python", "-m", *words]
        command = Command(launched, environ(self._server), self._folder)
        try:
            yield command
        finally:
            command.end()


@dataclass(frozen=True)
class LoadUnderWay:
    """A load that has begun."""

    command: Command
    settings: Settings
    began: float
    began_at: datetime

    def wait_for_upgrade(self) -> None:
        """Return when the upgrade is due."""
        time.sleep(max(0.0, self.began + self.settings.upgrade_at - time.monotonic()))
        log.info("upgrade begins")

    def summary(self) -> dict[str, Any]:
        """What ``python -m client load --json`` says at its end."""
        left = self.settings.duration + self.settings.drain + self.began - time.monotonic()
        wait_until(lambda: self.command.returncode is not None, left + 30, "the load's end")
        try:
            found: dict[str, Any] = json.loads(_last_line(self.command))
            found["latency_seconds"]["max"]
        except (KeyError, ValueError) as error:
            raise Failure(f"the load failed: {_last_line(self.command)}") from error
        return found


@contextmanager
def arena(settings: Settings) -> Iterator[Arena]:
    """An arena, of which nothing is left at the end of the block."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        server = _Server(folder)
        try:
            server.start()
            yield Arena(server, folder, settings)
        finally:
            server.stop()


class _Server(DevServer):
    """The dev server with the shipped flags, which ends when this process does."""

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "rollout", "launch", *super()._command()]


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once ``condition`` holds; `Failure` where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds:.0f} s for {what} in vain")
        time.sleep(0.05)


def _until_logged(command: Command, event: str) -> None:
    """Wait for a line of its log; `Failure` where it ends before."""

    def is_there() -> bool:
        if command.returncode is not None:
            raise Failure(f"a process ended too early: {_last_line(command)}")
        return bool(command.records(event))

    wait_until(is_there, _STARTING, f"the log line {event!r}")


def _last_line(command: Command) -> str:
    lines = command.log_file.read_text().splitlines()
    return lines[-1] if lines else "it said nothing"
