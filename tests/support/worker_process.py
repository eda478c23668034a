"""Real worker processes for tests, each on a deployment and a task queue of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rollout.base.settings import ROOT
from tests.support.forking import Forked, run_forked
from tests.support.temporal_server import DevServer

__all__ = ["Command", "python", "run", "worker"]


class Command:
    """A command of ours under way; its stderr is JSON, one record a line."""

    def __init__(
        self, words: list[str], environ: dict[str, str], folder: Path, cwd: Path = ROOT
    ) -> None:
        self.log_file = folder / f"{os.urandom(4).hex()}.log"
        self._process: Forked | subprocess.Popen[bytes]
        with self.log_file.open("wb") as log:
            if words[:2] == [sys.executable, "-m"]:
                self._process = Forked(words[2:], cwd=cwd, env=environ, out=log, err=log)
            else:
                self._process = subprocess.Popen(
                    words, cwd=cwd, env=environ, stdout=log, stderr=subprocess.STDOUT
                )

    @property
    def returncode(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def records(self, event: str) -> list[dict[str, Any]]:
        """What it has logged under ``event`` so far."""
        found = []
        for line in self.log_file.read_text().splitlines():
            if line.startswith("{"):
                record = json.loads(line)
                if record["event"] == event:
                    found.append(record)
        return found

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Send a signal and wait; returns the exit code."""
        self._process.send_signal(number)
        return self._process.wait(timeout=seconds)

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)


def python(*words: str) -> list[str]:
    """The command line that runs one of our modules."""
    return [sys.executable, "-m", *words]


def environ(server: DevServer, **more: str) -> dict[str, str]:
    """An environment that points at ``server``, logs JSON and holds nothing of the caller's."""
    return {"PATH": os.environ["PATH"], "LOG_FORMAT": "json", **server.environ, **more}


def run(server: DevServer, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one of our modules to its end; what it says is text, as for a person."""
    env = environ(server, **{"LOG_FORMAT": "console", **more})
    return run_forked(words, cwd=ROOT, env=env, timeout=60)


@contextmanager
def worker(
    server: DevServer, folder: Path, name: str, build_id: str, strategy: str, *flags: str
) -> Iterator[Command]:
    """A worker of ``build_id`` whose deployment and task queue are both called ``name``."""
    words = python(
        "workers", "--build-id", build_id, "--strategy", strategy,
        "--deployment", name, "--task-queue", name, *flags,
    )  # fmt: skip
    command = Command(words, environ(server), folder)
    try:
        yield command
    finally:
        command.end()
