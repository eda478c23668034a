"""A real Temporal dev server for tests: the shipped flags, a port and a data file of its own."""

from __future__ import annotations

import configparser
import secrets
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

from rollout.base.settings import ROOT, VENV_BIN
from rollout.supervision.launch import expand

__all__ = ["DevServer", "free_port"]

_PROGRAM_FILE = ROOT / "stack" / "programs" / "temporal.ini"
_TEMPORAL = VENV_BIN / "temporal"


def free_port() -> int:
    """A loopback port that nothing listens on.

    It lies below the range that the kernel hands out to outgoing connections,
    so that it stays free while a server restarts on it.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class DevServer:
    """``temporal server start-dev`` as ``stack/programs/temporal.ini`` starts it.

    ``folder`` holds its data file and log, and the data survives `restart`.
    ``flags`` are added to the shipped ones.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.ui_port = free_port()
        self.metrics_port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log_file = folder / "temporal.log"
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environ(self) -> dict[str, str]:
        """What points our commands and the `temporal` CLI at this server."""
        return {"TEMPORAL_ADDRESS": self.address}

    @property
    def pid(self) -> int:
        """The server's process id; it must be running."""
        assert self._process is not None, "the dev server is not running"
        return self._process.pid

    def start(self, *, seconds: float = 30) -> None:
        """Start it and return once the namespace `default` is served."""
        assert self._process is None, "the dev server is already running"
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        deadline = time.monotonic() + seconds
        while not self.is_serving():
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(
                    f"the dev server does not serve (exit code {code}): {self.log_file.read_text()}"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        """End it with SIGTERM, as supervisord would; nothing happens if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would; nothing happens if it is not running."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on the same port and data, stopping it first if it runs."""
        self.stop()
        self.start()

    def is_serving(self) -> bool:
        """Whether the namespace `default` is served right now."""
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False  # spares starting the CLI below while the port is closed
        return self.cli("operator", "namespace", "describe", "default").returncode == 0

    def cli(self, *words: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
        """Run the `temporal` CLI against this server."""
        return subprocess.run(
            [str(_TEMPORAL), *words, "--address", self.address],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def _command(self) -> list[str]:
        ini = configparser.RawConfigParser()
        ini.read(_PROGRAM_FILE)
        words = shlex.split(ini["program:temporal"]["command"])
        ports = {
            "TEMPORAL_PORT": str(self.port),
            "TEMPORAL_UI_PORT": str(self.ui_port),
            "TEMPORAL_METRICS_PORT": str(self.metrics_port),
        }
        command = [expand(word, ports) for word in words[words.index("temporal") :]]
        command[0] = str(_TEMPORAL)
        command[command.index("--db-filename") + 1] = str(self.folder / "temporal.db")
        return [*command, *self._flags]

    def _end(self, signal_number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal_number)  # a no-op once it has ended
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
