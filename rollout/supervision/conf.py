"""Reads supervisord.conf as supervisord does, and names what supervisord would pass over.

supervisord ignores an option that it does not know, and merges two sections of
one name, both in silence; here they are problems.
"""

from __future__ import annotations

import configparser
import difflib
import glob
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

from supervisor import options as supervisor_options

from rollout.supervision.programs import Program

__all__ = ["SupervisorConf", "described", "read"]

_SECTION = re.compile(r"^\[([^\]]+)\]")
_PLACE = re.compile(r" in section '[^']*' \(file: '[^']*'\)$")  # supervisord's, without the option
_PLUGINS = ("rpcinterface:", "ctlplugin:")  # their options belong to the plugin
_KINDS = (
    *("supervisord", "supervisorctl", "include", "unix_http_server", "inet_http_server"),
    *("program:", "eventlistener:", "fcgi-program:", "group:"),
    *_PLUGINS,
)
# Two sections that supervisord itself does not read through its option getter.
_READ_BY_OTHERS = {
    "include": {"files"},
    "supervisorctl": {"serverurl", "username", "password", "prompt", "history_file"},
}


@dataclass(frozen=True)
class SupervisorConf:
    """A configuration, its include files read."""

    programs: tuple[Program, ...]
    socket: str | None
    """The path of the unix socket."""
    problems: tuple[str, ...]
    """A sentence each; ``programs`` is empty where the files cannot be parsed at all."""


class _Parser(supervisor_options.UnhosedConfigParser):  # type: ignore[misc]
    """supervisord's parser, which also remembers every option that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, set[str]] = defaultdict(set)
        self.last: tuple[str, str] | None = None
        self.section_to_file: dict[str, str]

    def saneget(self, section: str, option: str, *args: object, **kwargs: object) -> object:
        self.asked[section].add(option)
        self.last = (section, option)
        return super().saneget(section, option, *args, **kwargs)


class _Options(supervisor_options.ServerOptions):  # type: ignore[misc]
    """supervisord's options, which raise where supervisord would print and exit."""

    def __init__(self) -> None:
        super().__init__()
        self.parser = _Parser()

    def usage(self, msg: object) -> None:
        raise ValueError(str(msg))

    def read_config(self, fp: object) -> object:
        """Supervisord's own, with our parser for the one that it would make.

        It takes the parser's class from its globals. Ours are a copy, for whoever else reads
        a configuration in this process needs the class that is there.
        """
        own = supervisor_options.ServerOptions.read_config
        names = {**own.__globals__, "UnhosedConfigParser": lambda: self.parser}
        return FunctionType(own.__code__, names, own.__name__, own.__defaults__)(self, fp)


def read(path: Path) -> SupervisorConf:
    """Parse ``path`` and the files that it includes; nothing is opened or started."""
    options = _Options()
    error = _realize(options, path)
    files = [path, *_included(path, options.parser)]
    if unreadable := tuple(_unreadable(files)):  # supervisord passes over a file that is not ours
        return SupervisorConf((), None, unreadable)
    if error is not None:
        return SupervisorConf((), None, (_place(options.parser, error),))
    programs = tuple(_programs(options))
    problems = (
        *_unknown_sections(options.parser),
        *_unknown_options(options.parser),
        *_duplicates(files),
        *_unreadable_commands(programs),
    )
    sockets = [config["file"] for config in options.server_configs if "file" in config]
    return SupervisorConf(programs, next(iter(sockets), None), problems)


def described(path: Path, environ: Mapping[str, str]) -> tuple[Program, ...]:
    """The programs as a supervisord that was started in ``environ`` has read them.

    None where the files cannot be parsed just now. One that this user may not read is passed over,
    as supervisord passes over it.
    """
    options = _Options()
    options.environ_expansions = {f"ENV_{name}": value for name, value in environ.items()}
    return () if _realize(options, path) else tuple(_programs(options))


def _realize(options: _Options, path: Path) -> Exception | None:
    """Have supervisord's reader read ``path``; what keeps it from doing so."""
    try:
        options.realize(["-c", str(path)], doc="", progname="supervisord")
    except (ValueError, LookupError, ImportError, AttributeError, configparser.Error) as error:
        return error
    return None


def _programs(options: _Options) -> Iterator[Program]:
    for group in options.process_group_configs:
        for process in group.process_configs:
            yield Program(
                name=process.name,
                group=group.name,
                command=process.command,
                autostart=process.autostart,
                log_file=_log_file(process),
                directory=Path(process.directory) if process.directory else None,
                environment=process.environment or {},
            )


def _log_file(process: supervisor_options.ProcessConfig) -> Path | None:
    logs = (process.stdout_logfile, process.stderr_logfile)
    # One that supervisord is to choose, or none, is no text that begins with a slash.
    return next((Path(log) for log in logs if str(log).startswith("/")), None)


def _unreadable_commands(programs: Iterable[Program]) -> Iterator[str]:
    for program in programs:
        try:
            shlex.split(program.command)
        except ValueError as error:  # supervisord would find out when it starts it
            yield f"{program.name}: its command cannot be read: {error}"


def _place(parser: _Parser, error: Exception) -> str:
    """``error`` on one line, after the section and option that were being read."""
    text = " ".join(str(error).split()) or type(error).__name__
    if parser.last is None:  # the files cannot even be split into sections; it says where
        return text
    section, option = parser.last
    text = _PLACE.sub("", text)
    where = "" if f"[{section}]" in text else f"[{section}] {option}: "
    return f"{_origin(parser, section)}: {where}{text}"


def _included(path: Path, parser: _Parser) -> Iterator[Path]:
    if parser.has_section("include"):
        for pattern in parser.get("include", "files").split():
            yield from map(Path, sorted(glob.glob(str(path.parent / pattern))))  # noqa: PTH207


def _unreadable(files: list[Path]) -> Iterator[str]:
    """A problem for each file that is no text, or not ours to read; nothing else names it."""
    for file in files:
        try:
            file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            yield f"{os.path.relpath(file)} cannot be read: {reason}"


def _unknown_sections(parser: _Parser) -> Iterator[str]:
    for section in parser.sections():
        kind, colon, name = section.partition(":")
        if kind + colon in _KINDS:
            continue
        likely = difflib.get_close_matches(kind + colon, _KINDS, n=1)
        hint = f"; did you mean [{likely[0]}{name}]?" if likely else ""
        yield f"{_origin(parser, section)}: [{section}] is not a section of supervisord.conf{hint}"


def _unknown_options(parser: _Parser) -> Iterator[str]:
    for section in parser.sections():
        known = _READ_BY_OTHERS.get(section) or parser.asked.get(section)
        if known is None or section.startswith(_PLUGINS):
            continue
        for option in parser.options(section):
            if option not in known:
                likely = difflib.get_close_matches(option, known, n=1)
                hint = f"; did you mean {likely[0]}?" if likely else ""
                yield (
                    f"{_origin(parser, section)}: {option} is not an option of [{section}]{hint}"
                )


def _duplicates(files: list[Path]) -> Iterator[str]:
    first: dict[str, Path] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            match = _SECTION.match(line)
            if not match:
                continue
            section = match.group(1)
            if section in first:
                yield (
                    f"[{section}] is in {os.path.relpath(first[section])} and again "
                    f"in {os.path.relpath(file)}: supervisord would merge the two"
                )
            first.setdefault(section, file)


def _origin(parser: _Parser, section: str) -> str:
    # It keeps no file for the sections of the main one.
    return os.path.relpath(parser.section_to_file.get(section, "supervisord.conf"))
