"""Which program files a worker of any command still needs, and what speaks against them."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from rollout.base.env_file import read_env_file
from rollout.base.exit import Failure, Misuse
from rollout.base.listeners import is_free
from rollout.supervision import conf as supervisor_conf
from rollout.supervision import contract
from rollout.supervision.fleet.command_worker import CommandWorker, metrics_port_in
from rollout.supervision.fleet.loading import Loader
from rollout.supervision.fleet.program_files import free_port, shown, taken_ports
from rollout.supervision.programs import Command, read
from rollout.supervision.rpc import Supervisor

__all__ = ["CommandAddition", "ProgramText", "refuse_command", "warnings_about"]

_OPTION = re.compile(r"^\s*([A-Za-z_]+)\s*=", re.MULTILINE)


@dataclass(frozen=True)
class ProgramText:
    """One program file to be."""

    name: str
    text: str
    port: int | None
    existed: bool = False
    mode: int | None = None


class CommandAddition:
    """What adding ``worker`` comes to. Each `Failure` says why it cannot be, and what to do."""

    def __init__(
        self, supervisor: Supervisor, loader: Loader, worker: CommandWorker, logs: Path
    ) -> None:
        self._supervisor = supervisor
        self._loader = loader
        self._worker = worker
        self._logs = logs.resolve()

    async def programs(self) -> list[ProgramText]:
        """Its program files, those that are there already included."""
        await self._refuse_foreign_user()
        for folder in (self._loader.folder, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
        loaded = await self._supervisor.config()
        written = supervisor_conf.read(self._loader.conf).programs
        taken = taken_ports([*loaded, *written])
        self._refuse_others([*map(read, loaded), *map(read, written)])
        found = []
        for number, name in enumerate(self._worker.names, start=1):
            there = self._there(number, name)
            port = there.port if there else self._port(number, taken)
            taken |= set() if port is None else {port}
            found.append(there or ProgramText(name, self._render(number, name, port), port))
        return found

    def _render(self, number: int, name: str, port: int | None) -> str:
        return self._worker.render(number, port, self._logs / f"{name}.log")

    def _there(self, number: int, name: str) -> ProgramText | None:
        """The program as it is already; None where no file stands in its place."""
        file = self._loader.file(name)
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Failure(f"{shown(file)} cannot be read: {error.strerror}") from error
        worker = self._worker
        # `rollout scale` passes over a port that is taken, for a process that is not the first.
        port = worker.metrics_port
        if worker.has_port and (port is None or number > 1):
            port = metrics_port_in(text)
        wanted = self._render(number, name, port)
        if text != wanted:
            raise Failure(self._difference(name, text, wanted))
        return ProgramText(name, text, port, existed=True)

    def _difference(self, name: str, text: str, wanted: str) -> str:
        build_id = self._worker.build_id
        if _told(text, contract.BUILD_ID) != build_id:
            file = shown(self._loader.file(name))
            return f"{file} exists already and says something else: remove that one"
        had = f"{build_id} has the program {name} already"
        old, new = (_told(each, contract.FINGERPRINT) for each in (text, wanted))
        if old != new:
            folder = re.search(r"^directory = (.*)$", text, re.MULTILINE)
            return (
                f"{had}, with code {old or 'of no fingerprint'} of {folder[1] if folder else '?'}, "
                f"and this is code {new} of {self._worker.directory}: give changed code a build "
                "id of its own"
            )
        pairs = zip(text.splitlines(), wanted.splitlines(), strict=False)
        line = next((new for old, new in pairs if old != new), "user =")
        option = _OPTION.match(line)
        return (
            f"{had}, and it was told otherwise ({option[1] if option else 'another file'}): "
            f"`rollout retire {build_id}` removes it, or give a new build id"
        )

    def _port(self, number: int, taken: set[int]) -> int | None:
        worker = self._worker
        if worker.metrics_port is None:
            return free_port(taken) if worker.needs_port else None
        wanted = worker.metrics_port + number - 1
        if wanted in taken or not is_free(wanted):
            which = f" (for process {number})" if number > 1 else ""
            raise Failure(f"port {wanted}{which} is another program's; {free_port(taken)} is free")
        return wanted

    def _refuse_others(self, commands: list[Command]) -> None:
        """Raise `Failure` where the build has a program of another hand, or a name is in use."""
        worker = self._worker
        mine = (worker.deployment, worker.build_id)
        for each in commands:
            group = each.program.group
            same = each.kind == "worker" and (each.deployment, each.build_id) == mine
            ours = group.partition("@")[0] == worker.name
            if same and not ours:
                raise Failure(
                    f"{worker.build_id} has the program {each.namespec} already: "
                    f"`rollout retire {worker.build_id}` removes it"
                )
            if not same and group in worker.names and not self._loader.file(group).exists():
                raise Failure(f"supervisord has another program called {group}: remove that one")

    async def _refuse_foreign_user(self) -> None:
        """Supervisord gives up its own user for another only as root."""
        if (user := self._worker.user) is None:
            return
        try:
            uid = psutil.Process(await self._supervisor.pid()).uids().effective
        except psutil.Error:  # it is not to be seen from here; it will say so itself
            return
        if uid not in (0, pwd.getpwnam(user).pw_uid):
            raise Failure(
                f"supervisord runs as {pwd.getpwuid(uid).pw_name}, and only root's can run a "
                f"program as {user}: leave --user out"
            )


def refuse_command(worker: CommandWorker) -> None:
    """Raise `Misuse` or `Failure` where the worker could not be started as it is told."""
    if not worker.directory.is_dir():
        raise Misuse(f"{worker.directory} is not a folder")
    if worker.user is not None:
        try:
            pwd.getpwnam(worker.user)
        except KeyError as error:
            raise Misuse(f"this machine has no user {worker.user}") from error
    program = worker.words[0]
    place = str(worker.directory / program) if os.sep in program else program
    if shutil.which(place) is None:
        where = f"from {worker.directory}" if os.sep in program else "in PATH"
        raise Misuse(f"{program} is no program that can be run, seen {where}")
    _refuse_user(worker)
    if worker.env_file is not None:
        told = read_env_file(worker.env_file)
        if twice := next((name for name in worker.variables if name in told), None):
            raise Misuse(f"{twice} is told by --env and by {worker.env_file}: tell it once")
        if taken := next((name for name in told if name in contract.NAMES), None):
            raise Misuse(f"{worker.env_file} cannot set {taken}, which the program file does")


def _refuse_user(worker: CommandWorker) -> None:
    """Raise `Failure` where the worker's user cannot run what starts it; only root can find out."""
    if worker.user is None or os.geteuid() != 0:
        return
    launcher = [sys.executable, "-I", "-c", "import rollout.supervision.launch"]
    try:
        tried = subprocess.run(
            launcher, cwd=worker.directory, user=worker.user, capture_output=True, check=False
        )
    except OSError as error:
        why = error.strerror
    else:
        if tried.returncode == 0:
            return
        why = tried.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    raise Failure(
        f"{worker.user} cannot run {sys.executable} in {worker.directory}, which starts its worker "
        f"({why}): install rollout where every user may read it"
    )


def warnings_about(worker: CommandWorker) -> list[str]:
    """What a person should mend, although it works."""
    file = worker.env_file
    if file is not None and file.stat().st_mode & stat.S_IROTH:
        return [f"everybody on this machine may read {file}: `chmod 600 {file}`"]
    return []


def _told(text: str, name: str) -> str | None:
    match = re.search(rf"^.*\b{name}=\"([^\"]*)\"", text, re.MULTILINE)
    return match[1] if match else None
