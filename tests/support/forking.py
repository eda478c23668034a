"""Processes of ours without a second of imports each: forks of one that has the libraries already.

Such a process is as real as any: it has a pid, an environment, files and a working directory of its
own, and runs a module as ``python -m`` does, all of our own code imported afresh. Only what others
wrote is there before it begins. Its ``/proc/PID/cmdline`` and ``environ`` are its parent's, though.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["Forked", "run_forked"]

_LIBRARIES = (
    *("asyncio", "httpx", "msgspec", "prometheus_client", "psutil", "rich.console", "rich.table"),
    *("structlog", "supervisor.xmlrpc", "supervisor.options", "temporalio.client", "tenacity"),
    *(
        "temporalio.envconfig",
        "temporalio.worker",
        "temporalio.testing",
        "tomlkit",
        "xmlrpc.client",
    ),
)


class Forked:
    """``python -m WORDS``, under way; with the part of `subprocess.Popen` that tests use."""

    def __init__(
        self, words: Sequence[str], *, cwd: Path, env: Mapping[str, str], out: IO[Any], err: IO[Any]
    ) -> None:
        self.args = list(words)
        self._line, theirs = socket.socketpair()
        with theirs:
            asked = json.dumps({"words": self.args, "cwd": str(cwd), "env": dict(env)}).encode()
            files = [theirs.fileno(), out.fileno(), err.fileno()]
            with _asking:
                socket.send_fds(_server(), [len(asked).to_bytes(4, "big")], files)
                _server().sendall(asked)
        self.returncode: int | None = None
        self.pid = int(self._read(20.0) or 0)
        assert self.pid, "nobody forks"

    def poll(self) -> int | None:
        """The exit code, a signal as a negative number; None while it runs."""
        return self._ended(0.0)

    def wait(self, timeout: float) -> int:
        """The exit code, once it has ended. Raises `subprocess.TimeoutExpired`."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, where it has not ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float) -> int | None:
        if self.returncode is None and (said := self._read(seconds)) is not None:
            self.returncode = int(said)
            self._line.close()
        return self.returncode

    def _read(self, seconds: float) -> str | None:
        """The next line; None where none comes in time. A parent that is gone has killed it."""
        if not select.select([self._line], [], [], seconds)[0]:
            return None
        said = b""
        while not said.endswith(b"\n"):
            more = self._line.recv(1)
            if not more:
                return str(-signal.SIGKILL)
            said += more
        return said.decode().strip()


def run_forked(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """``python -m WORDS``, run to its end. Raises `subprocess.TimeoutExpired` after killing it."""
    with _text_file() as out, _text_file() as err:
        process = Forked(words, cwd=cwd, env=env, out=out, err=err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


def _text_file() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8")


_parent: dict[str, socket.socket] = {}
_asking = threading.Lock()


def _server() -> socket.socket:
    """The connection to the process that forks; it is started with the first."""
    if not _parent:
        ours, theirs = socket.socketpair()
        with theirs:
            subprocess.Popen(
                [sys.executable, "-c", "from tests.support.forking import serve; serve()"],
                stdin=theirs.fileno(),
                cwd=Path(__file__).parents[2],
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            )
        _parent["line"] = ours
        atexit.register(ours.close)
    return _parent["line"]


def serve() -> None:
    """Fork when asked on stdin, and tell how each child ended; until nobody can ask any more."""
    for name in _LIBRARIES:
        __import__(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: it is the test's to end us
    line = socket.socket(fileno=os.dup(0))
    ended, wake = socket.socketpair()
    for end in (ended, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    children: dict[int, socket.socket] = {}
    while True:
        ready = select.select([line, ended, *children.values()], [], [])[0]
        if ended in ready:
            ended.recv(4096)
        for pid, theirs in list(children.items()):
            if theirs in ready and not theirs.recv(1):  # its test is gone
                os.kill(pid, signal.SIGKILL)
            pid_of_ended, status = os.waitpid(pid, os.WNOHANG)
            if pid_of_ended:
                with contextlib.suppress(OSError):
                    theirs.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
                children.pop(pid).close()
        if line in ready and not _fork(line, children):
            break
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _fork(line: socket.socket, children: dict[int, socket.socket]) -> bool:
    """Start what is asked for; False: nobody is there to ask."""
    head, files, _, _ = socket.recv_fds(line, 4, 3)
    if not head:
        return False
    asked = b""
    while len(asked) < int.from_bytes(head, "big"):
        asked += line.recv(int.from_bytes(head, "big") - len(asked))
    theirs = socket.socket(fileno=files[0])
    if pid := os.fork():
        children[pid] = theirs
        theirs.sendall(f"{pid}\n".encode())
        for file in files[1:]:
            os.close(file)
        return True
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for other in (line, theirs, *children.values()):
        other.close()
    _become(json.loads(asked), *files[1:])
    return True


def _become(asked: Mapping[str, Any], out: int, err: int) -> None:
    """Be the process that was asked for, to its end."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.environ.clear()
        os.environ.update(asked["env"])
        time.tzset()
        os.chdir(asked["cwd"])
        for name in [each for each in sys.modules if each.partition(".")[0] == "tests"]:
            del sys.modules[name]
        sys.path[:] = [asked["cwd"], *_python_path(asked["env"]), *sys.path[1:]]
        sys.argv = list(asked["words"])
        runpy.run_module(asked["words"][0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 - as an interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _python_path(environ: Mapping[str, str]) -> list[str]:
    return [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path]
