"""A deployment with a controller of its own and real workers, for tests on a real server."""

from __future__ import annotations

import json
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.temporal_server import DevServer, free_port
from tests.support.told import told
from tests.support.waiting import eventually
from tests.support.worker_process import Command, environ, python, run, worker

__all__ = ["WHOLE", "Rollout", "done"]

ROLLOUT = """
[deployment]
name = "{name}"
task_queue = "{name}"
baseline = "v1"   # first
target = "v2"
paused = false

[progressive]
settle = "2s"
steps = [{{ percentage = 20, pause = "2s" }}, {{ percentage = 60, pause = "2s" }}]
"""


class Rollout:
    """A deployment with v1 and v2 polling, and the commands upon it."""

    def __init__(self, server: DevServer, folder: Path) -> None:
        self.server = server
        self.name = f"c{secrets.token_hex(4)}"
        self.file = folder / "rollout.toml"
        self.file.write_text(ROLLOUT.format(name=self.name))
        self._folder = folder
        self._stack = ExitStack()

    def start_worker(self, build_id: str, strategy: str = "incompatible", *flags: str) -> Command:
        """Start a managed worker and wait until it has declared itself."""
        command = self._stack.enter_context(
            worker(self.server, self._folder, self.name, build_id, strategy, "--managed", *flags)
        )
        eventually(lambda: command.records("declared"), seconds=30)
        return command

    def start_controller(self, *flags: str, **settings: str) -> Command:
        """Start a controller, with ``settings`` in its environment; `told` is what it tells."""
        port = () if "--metrics-port" in flags else ("--metrics-port", str(free_port()))
        words = python("rollout", "--config", str(self.file), "run", *port, *flags)
        command = Command(words, environ(self.server, **settings), self._folder)
        self._stack.callback(command.end)
        return command

    def command(self, *words: str, **settings: str) -> tuple[int, str, str]:
        """Run a rollout command with ``settings`` in its environment: exit code, stdout, stderr."""
        result = run(self.server, "rollout", "--config", str(self.file), *words, **settings)
        return result.returncode, result.stdout, result.stderr

    def status(self) -> dict[str, Any]:
        """``rollout status --json``."""
        code, stdout, stderr = self.command("status", "--json")
        assert code == 0, stderr
        parsed: dict[str, Any] = json.loads(stdout)
        return parsed

    def told(self) -> dict[str, Any]:
        """The same of the controller's last look, to wait for what it will see."""
        return told(self.name)

    def close(self) -> None:
        """End every process."""
        self._stack.close()


def done(controller: Command) -> list[str]:
    """What a controller has done so far, without its claim and the sets."""
    actions = [record["action"] for record in controller.records("done")]
    return [action for action in actions if action.startswith(("make", "ramp", "end", "move"))]


WHOLE = ["make v1 current", "ramp v2 to 20 %", "ramp v2 to 60 %", "make v2 current"]
