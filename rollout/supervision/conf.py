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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor import options as supervisor_options

__all__ = ["Program", "SupervisorConf", "read"]

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
class Program:
    """One process that supervisord is to run."""

    name: str
    command: tuple[str, ...]
    directory: str | None
    environment: Mapping[str, str]
    """What its section and [supervisord] add to supervisord's own environment."""
    autostart: bool = True


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

    def usage(self, msg: object) -> None:
        raise ValueError(str(msg))


def read(path: Path) -> SupervisorConf:
    """Parse ``path`` and the files that it includes; nothing is opened or started."""
    parser = _Parser()
    options = _Options()
    genuine = supervisor_options.UnhosedConfigParser
    supervisor_options.UnhosedConfigParser = lambda: parser
    try:
        options.realize(["-c", str(path)], doc="", progname="supervisord")
    except (ValueError, LookupError, ImportError, AttributeError, configparser.Error) as error:
        unreadable = tuple(_unreadable([path, *_included(path, parser)]))
        return SupervisorConf((), None, unreadable or (_place(parser, error),))
    finally:
        supervisor_options.UnhosedConfigParser = genuine
    files = [path, *_included(path, parser)]
    if unreadable := tuple(_unreadable(files)):  # supervisord passes over a file that is not ours
        return SupervisorConf((), None, unreadable)
    problems = [*_unknown_sections(parser), *_unknown_options(parser), *_duplicates(files)]
    programs = []
    for group in options.process_group_configs:
        for process in group.process_configs:
            try:
                words = tuple(shlex.split(process.command))
            except ValueError as error:  # supervisord would find out when it starts it
                problems.append(f"{process.name}: its command cannot be read: {error}")
                continue
            own = process.environment or {}
            programs.append(Program(process.name, words, process.directory, own, process.autostart))
    sockets = [config["file"] for config in options.server_configs if "file" in config]
    return SupervisorConf(tuple(programs), next(iter(sockets), None), tuple(problems))


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
        yield f"{_origin(parser, section)}: [{section}] is no section of supervisord{hint}"


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
                    f"{_origin(parser, section)}: [{section}] "
                    f"{option} is no option of supervisord{hint}"
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
