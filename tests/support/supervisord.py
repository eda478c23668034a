"""A real supervisord for tests: a folder, a socket and a configuration of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from rollout.base.settings import VENV_BIN
from rollout.supervision.programs import namespec
from rollout.supervision.rpc import Supervisor
from tests.support.waiting import eventually

__all__ = ["PrivateSupervisord", "pids_by_name", "states"]

_CONFIG = """\
[supervisord]
pidfile = %(here)s/supervisord.pid
logfile = %(here)s/supervisord.log
childlogdir = %(here)s
identifier = test

[unix_http_server]
file = %(here)s/s.sock
chmod = 0700

[supervisorctl]
serverurl = unix://%(here)s/s.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files = {included}
"""


class PrivateSupervisord:
    """``supervisord`` in a folder short enough for a socket's path (108 characters)."""

    included = "programs/*.ini"
    """The program files that it includes, in its folder."""

    def __init__(self, *, environ: dict[str, str] | None = None, programs: Path = VENV_BIN) -> None:
        """``programs``: where ``supervisord`` and ``supervisorctl`` are."""
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="sv-", dir="/tmp"))
        self.socket = self.folder / "s.sock"
        self.include = (self.folder / self.included).parent
        own = {"ROLLOUT_HOME": str(self.folder)}  # whatever its programs write is here
        self._environ = {**os.environ, **own, **(environ or {})}
        self._inside: tuple[str, ...] = ()  # what its processes are started with
        self._config = self.folder / "supervisord.conf"
        self._config.write_text(_CONFIG.replace("{included}", self.included))
        self.include.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    @cached_property
    def rpc(self) -> Supervisor:
        """What talks to it."""
        return Supervisor(self.socket)

    def configure(self, name: str, *lines: str, kind: str = "program") -> None:
        """Write the section of one program; a running supervisord takes it with ``update``."""
        self._file(name).write_text("\n".join([f"[{kind}:{name}]", *lines, ""]), "utf-8")

    def forget(self, name: str) -> None:
        """Delete the section of one program."""
        self._file(name).unlink()

    def start(self, *, seconds: float = 15) -> None:
        """Start it and return once it answers on its socket."""
        self._process = subprocess.Popen(
            [*self._inside, self._programs / "supervisord", "--nodaemon", "-c", self._config],
            env=self._environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: self.ctl("pid").returncode == 0, seconds=seconds)

    def stop(self) -> None:
        """End it and its programs, and delete the folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=30)
        shutil.rmtree(self.folder)

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the real ``supervisorctl`` against it."""
        return subprocess.run(
            [self._programs / "supervisorctl", "-c", self._config, *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def pid(self, name: str) -> int:
        """The process id of the running program ``name``."""
        return pids_by_name(self.socket)[name]

    def log(self, name: str = "supervisord") -> str:
        """What ``NAME.log`` in the folder says."""
        return (self.folder / f"{name}.log").read_text("utf-8")

    def _file(self, name: str) -> Path:
        return (self.folder / self.included).with_stem(name)


def states(socket: Path) -> dict[str, str]:
    """The state of each process, by what `supervisorctl status` calls it, without starting that.

    Raises `OSError` where no supervisord answers.
    """
    return {name: info["statename"] for name, info in _processes(socket).items()}


def pids_by_name(socket: Path) -> dict[str, int]:
    """The process id of each process, as `states`; 0 of one that does not run."""
    return {name: info["pid"] for name, info in _processes(socket).items()}


def _processes(socket: Path) -> dict[str, Any]:
    transport = SupervisorTransport(serverurl=f"unix://{socket}")
    with closing(transport), ServerProxy("http://127.0.0.1", transport) as proxy:
        infos: Any = proxy.supervisor.getAllProcessInfo()
    return {namespec(each["group"], each["name"]): each for each in infos}
