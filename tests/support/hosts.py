"""Worker hosts for tests: a home and a supervisord each, with the demo's workers and the agent."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rollout.base.settings import ROOT
from tests.support.supervisord import PrivateSupervisord, states
from tests.support.temporal_server import free_port
from tests.support.worker_process import python

__all__ = ["WorkerHost", "home_environ", "rollout_ini"]

_INI = """\
[rollout]
supervisor = unix://{folder}/s.sock
supervisord_conf = {folder}/supervisord.conf
programs = {folder}/programs/*.ini
[environment]
TEMPORAL_ADDRESS = {address}
"""


def rollout_ini(folder: Path, address: str) -> None:
    """Make ``folder`` a home that asks ``address``; its supervisord is, or would be, in it."""
    text = _INI.format(folder=folder, address=address)
    folder.joinpath("rollout.ini").write_text(text, "utf-8")


def home_environ(folder: Path, address: str) -> dict[str, str]:
    """The environment of commands in the home ``folder``, asking the server at ``address``."""
    return {
        "PATH": os.environ["PATH"],
        "ROLLOUT_HOME": str(folder),
        "TEMPORAL_ADDRESS": address,
    }


class WorkerHost(PrivateSupervisord):
    """A host called ``name``. ``inside`` is what its processes are started with, as in a netns."""

    def __init__(
        self, name: str, deployment: str, address: str, inside: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.name = name
        self.port = free_port()
        self._deployment = deployment
        self._environ = home_environ(self.folder, address)
        self._inside = tuple(inside)
        rollout_ini(self.folder, address)
        toml = f'[deployment]\nname = "{deployment}"\ntarget = "whatever"\n'
        self.folder.joinpath("rollout.toml").write_text(toml, "utf-8")

    def add_agent(self, ahead: float = 0.0) -> None:
        """Describe `rollout host`, with a clock that is so many seconds ``ahead``."""
        module = ("tests.support.skewed", str(ahead)) if ahead else ("rollout",)
        words = python(*module, "host", "--name", self.name, "--port", str(self.port))
        self.configure("host", *self._program("host", words))

    def add_worker(self, build_id: str, *flags: str) -> None:
        """Describe a worker of the demo."""
        words = python(
            "workers", "--build-id", build_id, "--strategy", "incompatible", "--managed",
            "--deployment", self._deployment, "--task-queue", self._deployment, *flags,
        )  # fmt: skip
        self.configure(f"worker-{build_id}", *self._program(f"worker-{build_id}", words, ROOT))

    def update(self) -> None:
        """Have supervisord take what was described."""
        self.ctl("update")

    def states(self) -> Mapping[str, str]:
        """The state of each program."""
        return states(self.socket)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``rollout WORDS`` on this host."""
        return subprocess.run(
            [*self._inside, *python("rollout", *words)],
            cwd=ROOT, env=self._environ, capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip

    def records(self, name: str = "host") -> list[dict[str, Any]]:
        """What a program has logged."""
        lines = (line for line in self.log(name).splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]

    def _program(self, name: str, words: Sequence[str], home: Path | None = None) -> list[str]:
        # The demo's workflows are found in the checkout's home alone.
        home_is = {"ROLLOUT_HOME": str(home or self.folder), "LOG_FORMAT": "json"}
        told = [f'{key}="{value}"' for key, value in {**self._environ, **home_is}.items()]
        return [
            f"command = {' '.join(words)}",
            f"directory = {ROOT}",
            f"environment = {','.join(told)}",
            "startsecs = 1",
            "stopwaitsecs = 20",
            "redirect_stderr = true",
            f"stdout_logfile = {self.folder / name}.log",
        ]
