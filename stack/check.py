"""The preflight: everything that would keep the stack from coming up, found before it starts.

``python -m stack check`` prints one line a problem and changes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from stack import launch, supervisor_conf
from stack.down import find_supervisord
from stack.exit import Misuse
from stack.settings import PORTS, ROOT, SUPERVISORD_CONF, VENV_BIN, port
from stack.supervisor_conf import Program

__all__ = ["Launch", "Problem", "launches", "main", "problems"]

_PORT_FLAGS = ("--port", "--ui-port", "--metrics-port")
_SOCKET_LIMIT = 100  # bytes; supervisord adds its pid, and the kernel takes 107
_CHECK_SECONDS = 30


@dataclass(frozen=True)
class Problem:
    """One reason why the stack would not come up."""

    text: str
    code: int = 2
    """The exit code it calls for: 2 a wrong configuration, 1 a wrong state of the machine."""


@dataclass(frozen=True)
class Launch:
    """What one program of the stack really runs, its launcher seen through."""

    program: Program
    command: tuple[str, ...]
    ports: tuple[int, ...]

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    def module(self) -> str | None:
        """``workers`` where the command is ``python -m workers ...``."""
        python = self.command[:2]
        runs_module = len(self.command) > 2 and python[1] == "-m" and "python" in python[0]
        return self.command[2] if runs_module else None

    def flag(self, name: str) -> str | None:
        """The value of the flag ``name`` in the command."""
        words = self.command
        return next((words[i + 1] for i in range(len(words) - 1) if words[i] == name), None)


def main(argv: Sequence[str]) -> int:
    """``python -m stack check``."""
    argparse.ArgumentParser(
        prog="python -m stack check",
        description="Find what would keep the stack from coming up; nothing is started.",
        epilog="Ends with 0 where all is well, 2 where a file is wrong, 1 for anything else.\n\n"
        "example:\n  python -m stack check",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    found = problems()
    for problem in found:
        print(f"check: {problem.text}", file=sys.stderr)
    if not found:
        print("check: nothing stands in the way")
    return max((problem.code for problem in found), default=0)


def problems() -> list[Problem]:
    """Every problem; an empty list says that `make up` may go ahead."""
    moved = [*_wrong_ports()]
    if moved:
        return moved
    if not (VENV_BIN / "supervisord").exists():
        return [Problem("supervisord is not installed; run `make setup`", 1)]
    conf = supervisor_conf.read(SUPERVISORD_CONF)
    found = [Problem(text) for text in conf.problems]
    if conf.socket and len(os.fsencode(conf.socket)) > _SOCKET_LIMIT:
        found.append(
            Problem(f"{conf.socket} is too long a path for a socket: move the folder higher up")
        )
    started: list[Launch] = []
    for program in conf.programs:
        try:
            started.append(_see_through(program))
        except Misuse as misuse:
            found.append(Problem(f"{program.name}: {misuse}", misuse.code))
    return [
        *found,
        *_missing_commands(started),
        *_shared_ports(started),
        *_taken_ports(started),
        *_refused_by_commands(started),
    ]


def launches() -> list[Launch]:
    """What every program of the (valid) configuration runs."""
    return [_see_through(program) for program in supervisor_conf.read(SUPERVISORD_CONF).programs]


def _wrong_ports() -> Iterator[Problem]:
    for name in PORTS:
        try:
            port(name)
        except Misuse as misuse:
            yield Problem(str(misuse))


def _see_through(program: Program) -> Launch:
    """The command behind the launcher, with the environment expanded as the launcher would."""
    words = list(program.command)
    ports: list[str] = []
    environ = {**os.environ, **program.environment}
    if words[1:3] == ["-m", "stack.launch"]:
        complaint = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaint):
                given = launch.options(words[3:])
        except SystemExit:
            raise Misuse(complaint.getvalue().strip().rpartition("error: ")[2]) from None
        ports = [given.port] if given.port else []
        words = given.command
    ports += [words[i + 1] for i in range(len(words) - 1) if words[i] in _PORT_FLAGS]
    try:
        command = tuple(launch.expand(word, environ) for word in words)
        numbers = dict.fromkeys(int(launch.expand(text, environ)) for text in ports)
    except KeyError as missing:
        raise Misuse(f"the environment variable {missing.args[0]} is not set") from None
    except ValueError:
        raise Misuse(f"{' or '.join(ports)} is not a port") from None
    return Launch(program, command, tuple(numbers))


def _missing_commands(started: Sequence[Launch]) -> Iterator[Problem]:
    search = launch.search_path()
    for start in started:
        if shutil.which(start.command[0], path=search) is None:
            yield Problem(f"{start.name}: {start.command[0]} is not installed; run `make setup`", 1)


def _shared_ports(started: Sequence[Launch]) -> Iterator[Problem]:
    owner: dict[int, str] = {}
    for start in started:
        for number in start.ports:
            if number in owner:
                yield Problem(f"port {number} is given to both {owner[number]} and {start.name}")
            owner[number] = start.name


def _taken_ports(started: Sequence[Launch]) -> Iterator[Problem]:
    variables = {port(name): name for name in PORTS}
    supervisord = asyncio.run(find_supervisord())
    for start in started:
        for number in start.ports:
            if _is_free(number):
                continue
            holder = _holder(number)
            if holder is not None and _is_child(holder, supervisord):
                continue
            move = f"; {variables[number]}=... moves it" if number in variables else ""
            yield Problem(f"port {number} ({start.name}) is taken by {_describe(holder)}{move}", 1)


def _is_free(number: int) -> bool:
    with socket.socket() as probe:
        # Without it a port reads as taken for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True


def _holder(number: int) -> psutil.Process | None:
    """The process that listens on a port; None where this user may not know."""
    with contextlib.suppress(psutil.AccessDenied):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.pid and _listens_on(connection, number):
                return psutil.Process(connection.pid)
        return None
    for process in psutil.process_iter():  # macOS shows a user nothing but their own
        with contextlib.suppress(psutil.Error):
            if any(_listens_on(each, number) for each in process.net_connections(kind="tcp")):
                return process
    return None


def _listens_on(connection: Any, number: int) -> bool:  # noqa: ANN401 - psutil has two types
    listens = connection.status == psutil.CONN_LISTEN
    return listens and bool(connection.laddr) and connection.laddr.port == number


def _describe(process: psutil.Process | None) -> str:
    if process is None:
        return "a process of another user"
    try:
        words = process.cmdline() or [process.name()]
        text = shlex.join(words)
    except psutil.Error:
        return f"the process with pid {process.pid}"
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return f"{process.name()} (pid {process.pid}: {short})"


def _is_child(process: psutil.Process, supervisord: psutil.Process | None) -> bool:
    """Whether the stack runs already and ``process`` is a part of it."""
    with contextlib.suppress(psutil.Error):
        return supervisord is not None and supervisord in process.parents()
    return False


def _refused_by_commands(started: Sequence[Launch]) -> list[Problem]:
    """What our own commands say of rollout.toml and of each worker's command line."""
    asked = []
    for start in started:
        if start.module() == "rollout":
            asked.append((start, _ask(start, "rollout", "check")))
        elif start.module() == "workers":
            asked.append((start, _ask(start, *start.command[2:], "--check")))
    return [problem for start, process in asked for problem in _answer(start, process)]


def _ask(start: Launch, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, **start.program.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _answer(start: Launch, process: subprocess.Popen[str]) -> Iterator[Problem]:
    try:
        _, complaint = process.communicate(timeout=_CHECK_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        yield Problem(f"{start.name}: its check did not end within {_CHECK_SECONDS} s", 1)
        return
    if process.returncode:
        lines = complaint.strip().splitlines() or [f"exit code {process.returncode}"]
        said = lines[-1].removeprefix(f"{start.module()}: ")
        yield Problem(f"{start.name}: {said}", 2 if process.returncode == 2 else 1)
