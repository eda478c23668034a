"""What supervisord's files give each of its programs as ``environment=``.

supervisord tells the environment of a program to nobody, so the files that it has read are read
again: only those whose text names a version, and only when one of them has changed. What cannot
be read just now stays as it was read last.
"""

from __future__ import annotations

import glob
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from rollout.base.files import edition
from rollout.base.settings import SUPERVISORD_CONF
from rollout.supervision import contract
from rollout.supervision.programs import Program

__all__ = ["Environments", "configuration_of"]

_INCLUDES = re.compile(
    r"^\[include\][^\[]*?^files\s*[=:]\s*((?:.+\n?)(?:[ \t]+.*\n?)*)", re.MULTILINE
)
_USUAL = (
    *("supervisord.conf", "etc/supervisord.conf"),
    *("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"),
)
"""Where supervisord looks without ``-c``, from its folder (http://supervisord.org)."""


class Environments:
    """Completes what supervisord says of its programs from the files of its configuration."""

    def __init__(self, conf: Path | None = None) -> None:
        self._told = conf
        self._editions: object = None
        self._known: dict[str, tuple[str, Mapping[str, str]]] = {}
        """The command and the environment of each program, by its namespec."""
        self._unread: Sequence[Path] = ()

    def complete(self, programs: Sequence[Program], pid: int | None) -> list[Program]:
        """``programs`` with their environments, of the supervisord with the process id ``pid``.

        A program whose command is another in the files keeps what is known of it: the files have
        been changed since supervisord read them.
        """
        conf = self._told or configuration_of(pid)
        if conf is not None:
            self._refresh(conf, pid)
        return [self._completed(program) for program in programs]

    def _completed(self, program: Program) -> Program:
        command, environment = self._known.get(program.namespec, (None, None))
        if command == program.command:
            return replace(program, environment=environment)
        if command is not None or not self._unread:
            return program
        by_name = (file for file in self._unread if file.stem == program.group)
        return replace(program, unread=next(by_name, self._unread[0]))

    def _refresh(self, conf: Path, pid: int | None) -> None:
        environ = _environ_of(pid)
        files = list(_files(conf, environ))
        self._unread = tuple(file for file in files if _is_forbidden(file))
        editions = (pid, self._unread, *((file, edition(file)) for file in files))
        if editions == self._editions:
            return
        self._editions = editions
        if not self._unread and not any(map(_names_a_version, files)):
            return
        # Importing supervisor takes 0.1 s: only where there is something to read.
        from rollout.supervision import conf as supervisor_conf  # noqa: PLC0415

        for program in supervisor_conf.described(conf, environ):
            self._known[program.namespec] = (program.command, program.environment or {})


def configuration_of(pid: int | None) -> Path | None:
    """The file that the supervisord with this process id was started with, where that shows."""
    try:
        process = psutil.Process(pid)
        words = process.cmdline()
    except (psutil.Error, ValueError):
        return None
    if not any(Path(word).name == "supervisord" for word in words[:3]):
        return None
    try:
        folder = Path(process.cwd())
    except (psutil.Error, OSError):  # another user's
        folder = SUPERVISORD_CONF.parent
    told = _configuration_in(words)
    sought: Iterable[str] = _USUAL if told is None else (told, Path(told).name)
    return next((folder / each for each in sought if (folder / each).is_file()), None)


def _configuration_in(words: Sequence[str]) -> str | None:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in ("-c", "--configuration"):
            return following
        if word.startswith("--configuration="):
            return word.partition("=")[2]
    return None


def _environ_of(pid: int | None) -> Mapping[str, str]:
    """The environment that its files are expanded in: supervisord's own, else this process's."""
    try:
        return psutil.Process(pid).environ() if pid else os.environ
    except (psutil.Error, OSError):
        return os.environ


def _files(conf: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """``conf`` and what it includes."""
    yield conf
    names = {f"ENV_{name}": value for name, value in environ.items()}
    names |= {"here": str(conf.parent), "host_node_name": platform.node()}
    for patterns in _INCLUDES.findall(_text(conf)):
        for line in patterns.splitlines():
            for pattern in re.split(r"\s[;#]", line)[0].split():
                try:
                    place = conf.parent / (pattern % names)
                except (KeyError, ValueError, TypeError):
                    continue
                yield from map(Path, sorted(glob.glob(str(place))))  # noqa: PTH207


def _names_a_version(file: Path) -> bool:
    return contract.BUILD_ID in _text(file)


def _is_forbidden(file: Path) -> bool:
    try:
        file.open("rb").close()
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
