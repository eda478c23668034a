"""A whole stack of its own for tests: a copy of the checkout, on ports that are free."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from rollout.base.settings import PORTS, ROOT, TOOLS_DIR
from rollout.install.setup import _FOLDERS
from tests.support.supervisord import states
from tests.support.temporal_server import free_port

__all__ = ["StackClone", "stack_clone"]

# What would point a test at somebody else's server, or move a port.
_FOREIGN = ("TEMPORAL_", "PROMETHEUS_", "SUPERVISOR_", "GRAFANA_")


@contextmanager
def stack_clone(**environ: str) -> Iterator[StackClone]:
    """A clone that is taken down, and removed, at the end of the block."""
    clone = StackClone(**environ)
    try:
        yield clone
    finally:
        clone.destroy()


class StackClone:
    """A copy of the checkout's files with the same `.venv` and tools, and a `var` of its own.

    Every process that it starts carries STACK_CLONE in its environment, by which
    `processes` finds it, whoever its parent is.
    """

    def __init__(self, **environ: str) -> None:
        # Short: a unix socket's path has a limit.
        self.root = Path(tempfile.mkdtemp(prefix="stk-", dir="/tmp"))
        self.ports = _free_ports()
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_FOREIGN) and name not in PORTS
        }
        self.environ = {
            **inherited,
            **{name: str(port) for name, port in self.ports.items()},
            "STACK_CLONE": str(self.root),
            "LOAD_RATE": "2",  # a second: most tests have no use for more, and others wait for it
            **environ,
        }
        self.socket = self.root / "var" / "run" / "supervisor.sock"
        self._copy()

    def only(self, **commands: str) -> None:
        """Make the clone's stack of these programs alone, each a command behind the launcher."""
        text = (self.root / "supervisord.conf").read_text(encoding="utf-8")
        general = text.partition("[include]")[0]
        programs = [
            f"[program:{name}]\n"
            f"command = %(here)s/.venv/bin/python -m rollout launch {command}\n"
            "startsecs = 0\nredirect_stderr = true\n"
            f"stdout_logfile = %(here)s/var/log/{name}.log\n"
            for name, command in commands.items()
        ]
        self.write("supervisord.conf", "\n".join([general, *programs]))

    def write(self, path: str, text: str) -> Path:
        """Make ``path`` in the clone hold ``text``."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace ``old``, which must be there, in one of the clone's files."""
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {path}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """``python WORDS`` in the clone, in a session of its own, output in one pipe."""
        return subprocess.Popen(
            [str(self.root / ".venv/bin/python"), *words],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def python(self, *words: str, seconds: float = 90) -> subprocess.CompletedProcess[str]:
        """``python WORDS`` in the clone, run to its end; stdout holds stderr as well."""
        process = self.start(*words)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise AssertionError(f"{words} did not end in {seconds} s; it said: {output}") from None
        return subprocess.CompletedProcess(words, process.returncode, output)

    def up(self, *flags: str, seconds: float = 90) -> subprocess.CompletedProcess[str]:
        """``rollout stack up``."""
        return self.python("-m", "rollout", "stack", "up", *flags, seconds=seconds)

    def down(self) -> subprocess.CompletedProcess[str]:
        """``rollout stack down``."""
        return self.python("-m", "rollout", "stack", "down", seconds=40)

    def supervisorctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """``supervisorctl WORDS``."""
        return self.python("-m", "supervisor.supervisorctl", "-c", "supervisord.conf", *words)

    def states(self) -> dict[str, str]:
        """Each program's state in supervisord, by name."""
        return states(self.socket)

    def rollout_status(self) -> dict[str, Any]:
        """What ``python -m rollout status --json`` says."""
        done = subprocess.run(
            [str(self.root / ".venv/bin/python"), "-m", "rollout", "status", "--json"],
            cwd=self.root,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def api_status(self) -> dict[str, Any]:
        """The same as its controller serves it, for those who ask again and again.

        Raises `OSError` while nobody answers, and `LookupError` while nothing has been seen.
        """
        url = f"http://127.0.0.1:{self.ports['ROLLOUT_METRICS_PORT']}/api/v1/status"
        with urllib.request.urlopen(url, timeout=10) as answer:
            status: dict[str, Any] = json.load(answer)["deployments"][0]
        return status

    def processes(self) -> list[psutil.Process]:
        """Every live process that this clone has started, and theirs."""
        return [each for each in psutil.process_iter() if self._started(each)]

    def taken_ports(self) -> list[str]:
        """The names of those of its ports that something listens on."""
        listening = {
            connection.laddr.port
            for connection in psutil.net_connections(kind="tcp")
            if connection.laddr and connection.status == psutil.CONN_LISTEN
        }
        return [name for name, port in self.ports.items() if port in listening]

    def log(self, program: str) -> str:
        """All of a program's log; empty where there is none."""
        file = self.root / "var" / "log" / f"{program}.log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def destroy(self) -> None:
        """Take the stack down, end what is left all the same, and remove the files."""
        if self.processes():  # else it was never up, or is down already
            self.down()
        deadline = time.monotonic() + 5
        while (left := self.processes()) and time.monotonic() < deadline:
            for process in left:
                process.kill()
            psutil.wait_procs(left, timeout=1)
        shutil.rmtree(self.root, ignore_errors=True)

    def _started(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("STACK_CLONE") == str(self.root)
        except psutil.Error:
            return False

    def _copy(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            source, target = ROOT / name, self.root / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        # The folder that runs these tests, wherever that is.
        (self.root / ".venv").symlink_to(Path(sys.prefix))
        (self.root / "var").mkdir()
        if TOOLS_DIR.exists():
            (self.root / "var" / "tools").symlink_to(TOOLS_DIR)
        for folder in _FOLDERS:
            (self.root / "var" / folder).mkdir(exist_ok=True)
        if (TOOLS_DIR / "grafana").exists():  # all that there is to link, by the clone's own paths
            code = "from rollout.install.setup import link_programs; link_programs()"
            done = self.python("-c", code)
            assert done.returncode == 0, done.stdout


def _free_ports() -> dict[str, int]:
    ports: dict[str, int] = {}
    for name in PORTS:
        while (number := free_port()) in ports.values():
            pass
        ports[name] = number
    return ports
