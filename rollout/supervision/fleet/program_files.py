"""A worker's program file: its text, and the port on which it serves metrics.

Nothing here talks to supervisord; `rollout.supervision.fleet.fleet` does.
"""

from __future__ import annotations

import configparser
import os
import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.options import UnhosedConfigParser

from rollout.base.exit import Failure, Misuse
from rollout.base.listeners import is_free
from rollout.base.names import valid_build_id, valid_deployment
from rollout.base.settings import PORTS
from rollout.base.settings import port as port_of
from rollout.supervision.fleet.names import fitting, program_name
from rollout.supervision.programs import Program, possible_ports

__all__ = [
    "NewWorker",
    "drop_logs",
    "free_port",
    "own_sections",
    "shown",
    "sweep",
    "taken_ports",
    "unseen",
]

# The shipped worker-v1.ini and worker-v2.ini have this text too, with a variable
# for their port. startsecs: a worker that dies later than that is started again for
# ever, without backoff. stopwaitsecs: more than the worker's own --drain, 10 s.
_TEXT = """\
[program:{name}]
command = %(here)s/../../.venv/bin/python -m rollout launch --port {port}
          python -m {module} {words}
          --metrics-port {port}
directory = %(here)s/../..
startsecs = 5
autorestart = true
stopwaitsecs = 20
priority = 50
redirect_stderr = true
stdout_logfile = %(here)s/../../var/log/{name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 2
"""
_PORTS = range(9103, 10_000)  # 9101 and 9102 are the shipped builds' own
_NEW = ".new"
_ENDINGS = (".ini", ".conf")  # as a supervisord.conf's include pattern has it
_LOG_KEPT_SECONDS = 7 * 24 * 3600.0
# No blank, quote, ; # % or $: in a program file supervisord or the launcher would
# take each of them for something else than itself.
_WORD = re.compile(r"[\w.+:/@=,-]+")
_TOLD = (
    *("--build-id", "--strategy", "--deployment", "--task-queue", "--app", "--metrics-port"),
    *("--managed", "--check", "--help", "-h"),
)


@dataclass(frozen=True)
class NewWorker:
    """What the worker of a program file to come is told. It is managed: the controller routes.

    Raises `Misuse` for a word that cannot stand in a program file as it is, and for
    a further flag that is told otherwise.
    """

    build_id: str
    strategy: str
    deployment: str
    app: str | None = None
    """The module of its workflows; None: those that the folder's own ``python -m workers`` has."""
    task_queue: str | None = None
    flags: tuple[str, ...] = ()
    """Further words for the worker, as in ``("--drain", "30s")``."""

    def __post_init__(self) -> None:
        fitting(valid_build_id(self.build_id), "build id")
        fitting(valid_deployment(self.deployment), "deployment name")
        for word in self.words:
            if not _WORD.fullmatch(word):
                raise Misuse(
                    f"{word!r} cannot stand in a program file as it is: use letters, digits and "
                    "_ . + : / @ = , - or write the file in workers/programs by hand"
                )
        for flag in self.flags:
            # A worker of an older build may take a flag's beginning for the whole of it.
            name = flag.partition("=")[0]
            if name.startswith("-") and any(each.startswith(name) for each in _TOLD):
                raise Misuse(f"{name} cannot be among a new worker's further flags: leave it out")

    @property
    def name(self) -> str:
        """What supervisord calls it."""
        return program_name(self.build_id, self.deployment)

    @property
    def module(self) -> str:
        """What runs it after ``python -m``: the folder's own door, or the package's."""
        return "workers" if self.app is None else "rollout worker"

    @property
    def words(self) -> list[str]:
        """What follows `module`, without the metrics port."""
        return [*self._identity(), *self._details()]

    def render(self, port: int | str) -> str:
        """The text of its program file, with ``port`` for its metrics."""
        lines = filter(None, (self._identity(), self._details()))
        words = f"\n{' ' * 10}".join(map(" ".join, lines))
        return _TEXT.format(name=self.name, module=self.module, words=words, port=port)

    def port_in(self, file: Path) -> int | None:
        """The metrics port in ``file``, where it is what `render` makes of the rest; else None."""
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None
        match = re.search(r"^\s+--metrics-port (\d+)$", text, re.MULTILINE)
        return int(match[1]) if match and text == self.render(match[1]) else None

    def _identity(self) -> list[str]:
        return ["--build-id", self.build_id, "--strategy", self.strategy, "--managed"]

    def _details(self) -> list[str]:
        # In full, although they may be defaults: supervisord's environment could hold others.
        words = ["--deployment", self.deployment]
        for name, value in (("--task-queue", self.task_queue), ("--app", self.app)):
            if value is not None:
                words += [name, value]
        return [*words, *self.flags]


def taken_ports(programs: Iterable[Program], environ: Mapping[str, str] = os.environ) -> set[int]:
    """Every number in the commands of ``programs`` that may be a port, and the stack's own ports.

    Too many of them do no harm, one too few makes two programs wait for each other.
    """
    taken = {port_of(name, environ) for name in PORTS} | set(PORTS.values())
    return taken.union(*(possible_ports(program, environ) for program in programs))


def free_port(taken: set[int]) -> int:
    """The first port from 9103 up that is not ``taken`` and on which nothing listens now."""
    for port in _PORTS:
        if port not in taken and is_free(port):
            return port
    raise Failure("no port from 9103 to 9999 is free for the worker's metrics; give one")


def own_sections(folder: Path, section: str) -> list[Path]:
    """The program files in ``folder`` that hold ``section``, as ``program:worker-v3``.

    Raises `Failure` naming a file that holds others as well: it is not ours to
    delete, nor to rewrite.
    """
    found = []
    for file in sorted(each for each in folder.glob("*") if each.suffix in _ENDINGS):
        sections = _sections(file)
        if section not in sections:
            continue
        others = [f"[{each}]" for each in sections if each != section]
        if others:
            raise Failure(
                f"{shown(file)} holds {', '.join(others)} as well as [{section}]: remove the "
                f"latter by hand, then run `supervisorctl update {section.partition(':')[2]}`"
            )
        found.append(file)
    return found


def sweep(*folders: Path) -> None:
    """Delete what somebody who was killed while writing has left behind."""
    for folder in folders:
        for file in folder.glob(f".*{_NEW}"):
            file.unlink(missing_ok=True)


def drop_logs(folder: Path, removed: Iterable[str], in_use: Collection[Path]) -> None:
    """Delete what the programs ``removed`` have rotated away, and old logs of workers long gone.

    The last log of a removed program stays for a week after its last line; one
    that is ``in_use`` is never touched.
    """
    for name in removed:
        for file in folder.glob(f"{name}.log.*"):
            file.unlink(missing_ok=True)
    for file in folder.glob("worker-*.log"):
        if file not in in_use and time.time() - file.stat().st_mtime > _LOG_KEPT_SECONDS:
            file.unlink(missing_ok=True)


def shown(file: Path) -> str:
    """How a message calls ``file``: from where the reader is."""
    return os.path.relpath(file)


def unseen(file: Path) -> Path:
    """A name beside ``file`` that no include pattern takes, for its dot and for its ending."""
    return file.with_name(f".{file.name}{_NEW}")


def _sections(file: Path) -> list[str]:
    """The names of the sections in ``file``; none where it cannot be read as supervisord would."""
    parser = UnhosedConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return []
    return list(parser.sections())
