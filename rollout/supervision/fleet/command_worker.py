"""A worker of any command: what its program files are to say.

A program file holds the contract (`rollout.supervision.contract`) and what was told with
``--env``. It is readable by its owner alone where it holds any of the latter. The variables of an
``--env-file`` are never copied into it: the launcher reads that file, as the program's own user,
each time that it starts the worker. So a secret is in one place, whose mode and owner are its
owner's affair; it is on no command line, in no copy that supervisord, a backup of its files or a
reader of them could show; and a secret that was changed counts from the next start.
"""

from __future__ import annotations

import pwd
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rollout.base.exit import Misuse
from rollout.base.names import valid_build_id, valid_deployment
from rollout.supervision import contract
from rollout.supervision.fleet import ini
from rollout.supervision.fleet.names import process_name, program_name
from rollout.supervision.launch import PORT_MARK

__all__ = ["CommandWorker", "another_process", "metrics_port_in"]

_TEXT = """\
; Written by `rollout add`; `rollout retire` deletes it, `rollout scale` adds more like it.
[program:{name}]
command = {command}
environment = {environment}
directory = {directory}
startsecs = 5
autorestart = true
stopwaitsecs = {stop_seconds}
priority = 50
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 2
"""
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_PORT = re.compile(rf"^\s*{contract.METRICS_PORT}=\"(\d+)\"", re.MULTILINE)
_LAUNCHED_ON = re.compile(r" launch (?:--as-is )?--port (\S+)")
_MOST_PROCESSES = 500


@dataclass(frozen=True)
class CommandWorker:
    """The worker of one build, in one process or several. Raises `Misuse` for what is no worker."""

    build_id: str
    strategy: str
    deployment: str
    words: tuple[str, ...]
    """Its command, in which ``{metrics_port}`` stands for the port of the process."""
    directory: Path
    """Where it runs: a release folder, absolute and without links, so that it stays that code."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What ``--env`` told, with ``{metrics_port}`` likewise."""
    env_file: Path | None = None
    user: str | None = None
    processes: int = 1
    metrics_port: int | None = None
    """The port of its first process, the next ones have the next; None: none, or a free one."""
    needs_port: bool = False
    """Whether each process serves metrics in any case, on a free port where none is told."""
    task_queue: str | None = None
    fingerprint: str | None = None
    replay: str | None = None
    stop_seconds: int = 20
    """How long it may take to end before it is killed."""
    home: Path | None = None
    """The home whose rollout.ini its launcher reads for more variables; None: none has one."""

    def __post_init__(self) -> None:
        program_name(valid_build_id(self.build_id), valid_deployment(self.deployment))
        if self.user is not None and not _USER.fullmatch(self.user):
            raise Misuse(f"{self.user!r} is not the name of a user")
        if not 1 <= self.processes <= _MOST_PROCESSES:
            raise Misuse(f"{self.processes} processes: give a number from 1 to {_MOST_PROCESSES}")
        if taken := [name for name in self.variables if name in contract.NAMES]:
            raise Misuse(f"--env cannot set {taken[0]}: `rollout add` does, by its own options")
        self._refuse_ports([*self.words, *self.variables.values()])
        self.render(1, None, Path("/log"))  # refuses what cannot be written

    def _refuse_ports(self, told: Sequence[str]) -> None:
        if not self.has_port and any(PORT_MARK in text for text in told):
            raise Misuse(f"{PORT_MARK} stands for a port, and none is told: give --metrics-port")
        port = rf"(?<!\d){self.metrics_port}(?!\d)"
        if self.processes > 1 and any(re.search(port, text) for text in told):
            raise Misuse(
                f"{self.metrics_port} is the port of the first of {self.processes} processes: "
                f"write {PORT_MARK} for each one's own"
            )

    @property
    def name(self) -> str:
        """What supervisord calls its first process."""
        return program_name(self.build_id, self.deployment)

    @property
    def names(self) -> tuple[str, ...]:
        """What supervisord calls its processes."""
        return tuple(process_name(self.name, number) for number in range(1, self.processes + 1))

    @property
    def mode(self) -> int | None:
        """The mode of its program files; None: as any new file has it."""
        return 0o600 if self.variables else None

    @property
    def has_port(self) -> bool:
        """Whether each of its processes has a port for metrics."""
        return self.needs_port or self.metrics_port is not None

    def render(self, number: int, port: int | None, log: Path) -> str:
        """The text of the program file of its process ``number``, from 1."""
        own = {name: text for name, text in self.variables.items() if PORT_MARK not in text}
        text = _TEXT.format(
            name=process_name(self.name, number),
            command=ini.command(self._command(port)),
            environment=ini.environment({**self._whose(), **self._contract(port), **own}),
            directory=ini.plain(str(self.directory), "the folder"),
            log=ini.plain(str(log), "the log file"),
            stop_seconds=self.stop_seconds,
        )
        return text + (f"user = {self.user}\n" if self.user else "")

    def _command(self, port: int | None) -> list[str]:
        # -I: neither the folder that it runs in nor PYTHONPATH may hide the launcher's package.
        words = [sys.executable, "-I", "-m", "rollout", "launch", "--as-is"]
        if port is not None:
            words += ["--port", str(port)]
        if self.env_file is not None:
            words += ["--env-file", str(self.env_file)]
        for name, text in self.variables.items():
            if PORT_MARK in text:
                words += ["--env", f"{name}={text}"]
        return [*words, *self.words]

    def _whose(self) -> Mapping[str, str]:
        """Where its user is at home: supervisord leaves it at its own user's, which is root's.

        Source: "Subprocess Environment" in Supervisor's documentation. An SDK that looks for its
        configuration below a home that it cannot read fails.
        """
        try:
            found = pwd.getpwnam(self.user) if self.user else None
        except KeyError:
            found = None  # whoever adds it is told
        if found is None:
            return {}
        return {"HOME": found.pw_dir, "USER": found.pw_name, "LOGNAME": found.pw_name}

    def _contract(self, port: int | None) -> dict[str, str]:
        # The port is said also where there is none: one by that name that supervisord was started
        # with is the controller's.
        told = {
            contract.DEPLOYMENT: self.deployment,
            contract.BUILD_ID: self.build_id,
            contract.STRATEGY: self.strategy,
            contract.TASK_QUEUE: self.task_queue,
            contract.METRICS_PORT: "" if port is None else str(port),
            contract.FINGERPRINT: self.fingerprint,
            contract.REPLAY: self.replay,
            "ROLLOUT_HOME": None if self.home is None else str(self.home),
        }
        return {name: value for name, value in told.items() if value is not None}


def metrics_port_in(text: str) -> int | None:
    """The metrics port that a program file with ``text`` gives to its process."""
    match = _PORT.search(text)
    return int(match[1]) if match else None


def another_process(text: str, old: str, new: str, port: int | None) -> str:
    """A program file like ``text``, which is that of ``old``, for ``new`` with its own port.

    The name, the log and the port are all in which the files of one build differ.
    """
    found = text.replace(f"[program:{old}]", f"[program:{new}]", 1)
    found = re.sub(rf"/{re.escape(old)}\.log$", f"/{new}.log", found, flags=re.MULTILINE)
    before = _LAUNCHED_ON.search(text)
    if port is None or before is None:
        return found
    places = (
        rf'((?:--port|--metrics-port) |{contract.METRICS_PORT}="){re.escape(before[1])}(?=[\s"])'
    )
    return re.sub(places, lambda match: f"{match[1]}{port}", found)
