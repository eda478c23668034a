"""What supervisord is configured to run, and what each of its programs really is.

A program's command is read here and nowhere else: its launcher (`rollout.supervision.launch`)
is seen through and its ``${NAME:-default}`` expanded. Any command is a worker where its
``environment=`` says which version it runs (`rollout.supervision.contract`).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rollout.base.settings import DEFAULT_DEPLOYMENT
from rollout.supervision import contract, launch
from rollout.supervision.command_words import OURS, Kind, find_start, last_value

__all__ = ["Command", "Program", "commands", "namespec", "possible_ports", "read", "workers"]

_PORT_FLAGS = ("--port", "--ui-port", "--metrics-port")
_METRICS_FLAG: Mapping[Kind, str] = {
    "worker": "--metrics-port",
    "exporter": "--port",
    "controller": "--metrics-port",
    "load": "--metrics-port",
    "prometheus": "--web.listen-address",
    "alertmanager": "--web.listen-address",
    "temporal": "--metrics-port",
}
_NUMBER = re.compile(r"(?<!\d)\d{4,5}(?!\d)")
_UNSET = "${"


@dataclass(frozen=True)
class Program:
    """One process as supervisord, or the files that it reads, describe it."""

    name: str
    group: str
    command: str
    loaded: bool = True
    """Whether it is part of the running set, and not merely in the files."""
    autostart: bool = True
    log_file: Path | None = None
    directory: Path | None = None
    """Where its command runs; None: where supervisord does."""
    environment: Mapping[str, str] | None = None
    """What its section and [supervisord] add to supervisord's own environment.

    None where it is not known: supervisord tells it to nobody, so that it is in the files alone.
    """
    unread: Path | None = None
    """A file of supervisord's that this user may not read, and that says what it is, perhaps."""
    from_files: bool = True
    """Whether the files alone were read, as a supervisord would that is yet to start.

    One that runs may have been started in another environment than this process's.
    """

    @property
    def namespec(self) -> str:
        """What `supervisorctl` calls it: ``name``, or ``group:name``."""
        return namespec(self.group, self.name)


def namespec(group: str, name: str) -> str:
    """The name that `supervisorctl` takes."""
    return name if group == name else f"{group}:{name}"


@dataclass(frozen=True)
class Command:
    """What one program really runs."""

    program: Program
    kind: Kind
    words: tuple[str, ...]
    """The command behind the launcher, expanded."""
    options: tuple[str, ...]
    """Those of ``words`` that follow what is started."""
    launcher: str | None = None
    """The word that executes the launcher, where there is one."""
    launcher_port: str | None = None
    as_is: bool = False
    """Whether its launcher leaves ``words`` and PATH as they are."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What it finds in its environment, as far as that is known."""
    known: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What surely is in its environment: all where the files were read, else the launcher's."""
    contract: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The variables of `rollout.supervision.contract` that are set for it, and for it alone."""
    is_runner: bool = False
    """Whether it is a worker that takes the flags of ``rollout worker``."""
    needed: bool = True
    """Whether its launcher starts it in that environment (``--unless-env``)."""
    complaint: str | None = None
    """Why it cannot be started as it is written."""

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def namespec(self) -> str:
        """What `supervisorctl` calls the program."""
        return self.program.namespec

    @property
    def is_ours(self) -> bool:
        """Whether it is one of this project's own."""
        return self.kind in OURS

    def flag(self, name: str) -> str | None:
        """The value of the flag ``name``: the last one where it is given twice."""
        return last_value(self.options, name)

    @property
    def build_id(self) -> str | None:
        """The build that a worker runs; None where nobody here can know."""
        told = self._told("--build-id", "BUILD_ID") or self.contract.get(contract.BUILD_ID)
        return told if told and _UNSET not in told else None

    @property
    def deployment(self) -> str:
        """The deployment that a worker is of."""
        told = self._told("--deployment", "DEPLOYMENT")
        return told or self.contract.get(contract.DEPLOYMENT) or DEFAULT_DEPLOYMENT

    @property
    def versioning(self) -> str:
        """A worker's ``--versioning``: only those of a ``deployment`` are versions of it."""
        return self._told("--versioning", "VERSIONING") or "deployment"

    @property
    def app(self) -> str | None:
        """The module of a worker's workflows; None: the demo's own."""
        return self._told("--app", "APP")

    @property
    def managed(self) -> bool:
        """Whether a worker leaves the routing to the controller."""
        if self.kind == "worker" and not self.is_runner:
            return True  # it knows nothing of routing
        told = self.known.get("MANAGED", "") not in {"", "0", "false"}
        return told or "--managed" in self.options

    @property
    def task_queue(self) -> str | None:
        """The task queue that a worker is said to poll; None: nobody says."""
        return self._told("--task-queue", "TASK_QUEUE") or self.contract.get(contract.TASK_QUEUE)

    @property
    def strategy(self) -> str | None:
        """The strategy that is declared for a worker's build; None: nobody says."""
        return self._told("--strategy", "STRATEGY") or self.contract.get(contract.STRATEGY)

    @property
    def fingerprint(self) -> str | None:
        """Of the code of a build that does not fingerprint itself, as it was told."""
        return self.contract.get(contract.FINGERPRINT) or None

    @property
    def metrics_port(self) -> int | None:
        """Where it serves metrics, if it does."""
        flag = _METRICS_FLAG.get(self.kind)
        if flag is None:
            return None
        if self.kind != "worker":
            return _port(self.flag(flag))
        told = self._told(flag, "METRICS_PORT")
        return _port(told or self.contract.get(contract.METRICS_PORT))

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port that it is to listen on, the one that its launcher waits for first."""
        numbers = [*map(_port, self._port_words()), self.metrics_port]
        return tuple(dict.fromkeys(number for number in numbers if number is not None))

    @property
    def executable(self) -> str:
        """Its first word; where that is a path, from the folder that it runs in."""
        word, folder = self.words[0], self.program.directory
        return str(folder / word) if folder and os.sep in word else word

    def invocation(self, *more: str) -> tuple[str, ...]:
        """Its words and ``more``, to be run from here: looked up where its launcher does."""
        if self.as_is:
            return (*self.words, *more)
        folders = [launch.search_path()]
        if self.launcher and os.sep in self.launcher:
            folders.insert(0, str(Path(self.launcher).parent))
        path = os.pathsep.join(folders)
        sought = {self.words[0], find_start(self.words).program}  # nice, and the python behind it

        def place(word: str) -> str:
            named = word in sought and os.sep not in word
            return (shutil.which(word, path=path) if named else None) or word

        return (*map(place, self.words), *more)

    def _told(self, flag: str, variable: str) -> str | None:
        """What a worker of ours is told; no other worker has these flags, nor these variables."""
        if not self.is_runner:
            return None
        told = self.flag(flag)
        return told if told is not None else (self.known.get(variable) or None)

    def _port_words(self) -> list[str]:
        # Somebody else's worker may mean anything by a flag of ours.
        flags = () if self.kind == "worker" and not self.is_runner else _PORT_FLAGS
        told = self.contract.get(contract.METRICS_PORT) or None
        found = [self.launcher_port, *map(self.flag, flags), told]
        return [word for word in found if word is not None]


def read(program: Program, environ: Mapping[str, str] = os.environ) -> Command:
    """What ``program`` runs under a supervisord that was started in ``environ``.

    It never fails: what keeps the program from being started is the `complaint`.
    """
    whole = {**environ, **(program.environment or {})}
    command = Command(program, "other", (), (), environ=whole)
    if program.environment is not None:
        known = whole if program.from_files else dict(program.environment)
        command = replace(command, known=known, contract=contract.found_in(program.environment))
    try:
        words = tuple(shlex.split(program.command))
    except ValueError as error:
        return replace(command, complaint=f"its command cannot be read: {error}")
    start = find_start(words)
    if start.kind == "launcher":
        command = replace(_launched(command, start.options), launcher=start.program)
        words = command.words
    words, unset = (words, None) if command.as_is else _expanded(words, command.environ)
    start = find_start(words)
    kind: Kind = "other" if start.kind == "launcher" else start.kind
    runner = kind == "worker"
    if kind == "other" and contract.names_a_version(command.contract):
        kind = "worker"
    command = replace(command, kind=kind, is_runner=runner, words=words, options=start.options)
    return replace(command, complaint=command.complaint or unset or _wrong_port(command))


def commands(
    programs: Iterable[Program], environ: Mapping[str, str] = os.environ
) -> tuple[Command, ...]:
    """What each of the loaded ``programs`` runs, running or not, ordered by name."""
    found = (read(program, environ) for program in programs if program.loaded)
    return tuple(sorted(found, key=lambda command: command.namespec))


def workers(
    programs: Iterable[Program], environ: Mapping[str, str] = os.environ
) -> tuple[Command, ...]:
    """The workers among the loaded ``programs`` whose build is known, ordered by name."""
    return tuple(
        command
        for command in commands(programs, environ)
        if command.kind == "worker" and command.build_id
    )


def possible_ports(program: Program, environ: Mapping[str, str] = os.environ) -> set[int]:
    """Every number in the command that may be a port, before and after it is expanded."""
    command = read(program, environ)
    text = " ".join([program.command, *command.words, command.launcher_port or ""])
    return {*map(int, _NUMBER.findall(text)), *command.ports}


def _launched(command: Command, own: Sequence[str]) -> Command:
    """``command`` as the launcher with its ``own`` words starts it."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            given = launch.options(own)
    except SystemExit:
        return replace(command, complaint=said.getvalue().strip().rpartition("error: ")[2])
    environ = dict(command.environ)
    unset = None

    def fill(word: str, environ: Mapping[str, str]) -> str:
        return launch.filled(word, given, environ)

    for name, _, value in (assignment.partition("=") for assignment in given.env):
        (environ[name],), missing = _expanded((value,), environ, fill)
        unset = unset or missing
    assigned = {each.partition("=")[0] for each in given.env}
    own_variables = {name: environ[name] for name in assigned}
    (port,), missing = _expanded((given.port or "",), environ)
    return replace(
        command,
        words=_expanded(given.command, environ, fill)[0] if given.as_is else tuple(given.command),
        launcher_port=port or None,
        as_is=given.as_is,
        environ=environ,
        known={**command.known, **own_variables},
        contract={**command.contract, **contract.found_in(own_variables)},
        needed=launch.unneeded(given, command.environ) is None,
        complaint=unset or missing,
    )


def _expanded(
    words: Sequence[str],
    environ: Mapping[str, str],
    fill: Callable[[str, Mapping[str, str]], str] = launch.expand,
) -> tuple[tuple[str, ...], str | None]:
    """``words`` as the launcher expands them, and a complaint where a variable is not set."""
    found: list[str] = []
    complaint = None
    for word in words:
        try:
            found.append(fill(word, environ))
        except KeyError as missing:
            found.append(word)
            complaint = f"the environment variable {missing.args[0]} is not set"
    return tuple(found), complaint


def _wrong_port(command: Command) -> str | None:
    words = command._port_words()  # noqa: SLF001 - of this file
    return next((f"{word} is not a port" for word in words if _port(word) is None), None)


def _port(address: str | None) -> int | None:
    """The port in ``9101``, ``:9101`` or ``127.0.0.1:9101``."""
    text = (address or "").rpartition(":")[2]
    return int(text) if text.isdecimal() else None
