"""A worker of any command: what its program files are to say.

A program file holds the contract (`rollout.supervision.contract`) and what was told with
``--env``. It is readable by its owner alone where it holds any of the latter. The variables of an
``--env-file`` are never copied into it: the launcher reads that file, as the program's own user,
each time that it starts the worker. So a secret is in one place, whose mode and owner are its
owner's affair; it is on no command line, in no copy that supervisord, a backup of its files or a
reader of them could show; and a secret that was changed counts from the next start.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rollout.base.exit import Misuse
from rollout.base.names import valid_build_id, valid_deployment
from rollout.supervision import contract
from rollout.supervision.fleet import ini
from rollout.supervision.fleet.program_files import program_name

__all__ = ["CommandWorker", "metrics_port_in", "process_of"]

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
_MANY = 500


@dataclass(frozen=True)
class CommandWorker:
    """The worker of one build, in one process or several. Raises `Misuse` for what is no worker."""

    build_id: str
    strategy: str
    deployment: str
    words: tuple[str, ...]
    """Its command; what it is given besides comes from `metrics_flag`."""
    directory: Path
    """Where it runs: a release folder, absolute and without links, so that it stays that code."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What ``--env`` told."""
    env_file: Path | None = None
    user: str | None = None
    processes: int = 1
    metrics_port: int | None = None
    """The port of its first process, the next ones have the next; None: none, or `metrics_flag`."""
    metrics_flag: str | None = None
    """The flag by which its command takes its port. It then has one in any case."""
    task_queue: str | None = None
    fingerprint: str | None = None
    replay: str | None = None
    stop_seconds: int = 20
    """How long it may take to end before it is killed."""

    def __post_init__(self) -> None:
        program_name(valid_build_id(self.build_id))
        valid_deployment(self.deployment)
        if self.user is not None and not _USER.fullmatch(self.user):
            raise Misuse(f"{self.user!r} is not the name of a user")
        if not 1 <= self.processes <= _MANY:
            raise Misuse(f"{self.processes} processes: give a number from 1 to {_MANY}")
        if taken := [name for name in self.variables if name in contract.NAMES]:
            raise Misuse(f"--env cannot set {taken[0]}: `rollout add` does, by its own options")
        self.render(1, None, Path("/log"))  # refuses what cannot be written

    @property
    def name(self) -> str:
        """What supervisord calls its first process."""
        return program_name(self.build_id)

    @property
    def names(self) -> tuple[str, ...]:
        """What supervisord calls its processes. No build id has an ``@`` in a program's name."""
        return tuple(process_of(self.name, number) for number in range(1, self.processes + 1))

    @property
    def mode(self) -> int | None:
        """The mode of its program files; None: as any new file has it."""
        return 0o600 if self.variables else None

    def render(self, number: int, port: int | None, log: Path) -> str:
        """The text of the program file of its process ``number``, from 1."""
        text = _TEXT.format(
            name=process_of(self.name, number),
            command=ini.command(self._command(port)),
            environment=ini.environment({**self._contract(port), **self.variables}),
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
        words += self.words
        return [*words, self.metrics_flag, str(port)] if self.metrics_flag and port else words

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
        }
        return {name: value for name, value in told.items() if value is not None}


def process_of(program: str, number: int) -> str:
    """What supervisord calls the process ``number``, from 1, of the worker called ``program``."""
    return program if number == 1 else f"{program}@{number}"


def metrics_port_in(text: str) -> int | None:
    """The metrics port that a program file with ``text`` gives to its process."""
    match = _PORT.search(text)
    return int(match[1]) if match else None
