"""The preflight: everything that would keep the stack from coming up, found before it starts.

`rollout check` prints one line a problem and changes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import psutil

from rollout.base.exit import Misuse
from rollout.base.listeners import describe, holder, is_free
from rollout.base.settings import HOME, PORTS, SUPERVISORD_CONF, VENV_BIN, metrics_host, port
from rollout.base.sockets import can_listen
from rollout.core.config import Deployment
from rollout.core.config_file import load
from rollout.core.config_folder import files_of
from rollout.stack import self_checks
from rollout.stack.problem import Problem
from rollout.supervision import conf as supervisor_conf
from rollout.supervision import launch
from rollout.supervision.programs import Command, read
from rollout.supervision.supervisord import find_supervisord

__all__ = ["check", "problems"]

_SOCKET_LIMIT = 100  # bytes; supervisord adds its pid, and the kernel takes 107


def check(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout check``."""
    parser.description = (
        "Find what is wrong with rollout.toml, and where there is a supervisord.conf beside it "
        "what would keep its programs from coming up; nothing is started."
    )
    parser.epilog = (
        "Ends with 0 where all is well, 2 where a file is wrong, 1 for anything else.\n\n"
        "example:\n  rollout check"
    )
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    found = _of_supervisord()
    wanted = []
    for file in files_of(given.config):
        try:
            wanted.append(load(file).deployment)
        except Misuse as misuse:  # told among the others, once
            if not any(problem.text.endswith(str(misuse)) for problem in found):
                found.append(Problem(str(misuse), misuse.code))
    found += map(Problem, _shared_names(wanted))
    code = max((problem.code for problem in found), default=0)
    if given.json:
        several = [_named(each) for each in wanted]
        names = several[0] if len(several) == 1 else _named(None)
        told = [problem.text for problem in found]
        print(json.dumps({**names, "deployments": several, "problems": told}))
        return code
    for problem in found:
        print(f"check: {problem.text}", file=sys.stderr)
    if not code:
        print("check: nothing stands in the way")
    return code


def _of_supervisord() -> list[Problem]:
    """What is wrong around rollout.toml: in a home of one's own, with supervisord's files alone.

    Most programs there are somebody else's, whose ports and commands are none of our business.
    """
    if not SUPERVISORD_CONF.exists():
        return []
    if HOME.is_set_up:
        return [Problem(text) for text in supervisor_conf.read(SUPERVISORD_CONF).problems]
    return problems()


def _named(wanted: Deployment | None) -> dict[str, str | None]:
    if wanted is None:
        return dict.fromkeys(("deployment", "baseline", "target"))
    baseline = wanted.baseline or wanted.target
    return {"deployment": wanted.name, "baseline": baseline, "target": wanted.target}


def _shared_names(wanted: Sequence[Deployment]) -> Iterator[str]:
    """Deployments that several files are about: only one of them would be followed."""
    for name, count in Counter(each.name for each in wanted).items():
        if count > 1:
            yield f"{count} files are about deployment {name}: keep one of them"


def problems() -> list[Problem]:
    """Every problem; where none has a code but 0, `make up` may go ahead."""
    if wrong := [*_wrong_ports(), *_wrong_metrics_host()]:
        return wrong
    if not (VENV_BIN / "supervisord").exists():
        return [Problem("supervisord is not installed; run `make setup`", 1)]
    conf = supervisor_conf.read(SUPERVISORD_CONF)
    found = [Problem(text) for text in conf.problems]
    if conf.socket and len(os.fsencode(conf.socket)) > _SOCKET_LIMIT:
        found.append(
            Problem(f"{conf.socket} is too long a path for a socket: move the folder higher up")
        )
    commands = [read(program) for program in conf.programs]
    found += [
        problem
        for each in commands
        # What is told of the files is not told again.
        if each.complaint and (problem := Problem(f"{each.name}: {each.complaint}")) not in found
    ]
    started = [each for each in commands if each.needed and not each.complaint]
    found += [
        *_missing_commands(started),
        *_shared_ports(started),
        *_taken_ports(started),
        *self_checks.answers(started),
    ]
    # A warning may be no more than what follows from a mistake: that comes first.
    return [problem for problem in found if problem.code] or found


def _wrong_ports() -> Iterator[Problem]:
    for name in PORTS:
        try:
            port(name)
        except Misuse as misuse:
            yield Problem(str(misuse))


def _wrong_metrics_host() -> Iterator[Problem]:
    host = metrics_host()
    try:
        ipaddress.ip_address(host)
    except ValueError:
        yield Problem(f"METRICS_HOST={host!r} is not an IP address")
        return
    if not can_listen(host):
        yield Problem(f"METRICS_HOST={host} is not an address of this machine", 1)


def _missing_commands(started: Sequence[Command]) -> Iterator[Problem]:
    search = launch.search_path()
    for start in started:
        if shutil.which(start.executable, path=search) is None:
            hint = "" if start.as_is else "; run `make setup`"
            yield Problem(f"{start.name}: {start.executable} is not installed{hint}", 1)


def _shared_ports(started: Sequence[Command]) -> Iterator[Problem]:
    owner: dict[int, str] = {}
    for start in started:
        for number in start.ports:
            if number in owner:
                yield Problem(f"port {number} is given to both {owner[number]} and {start.name}")
            owner[number] = start.name


def _taken_ports(started: Sequence[Command]) -> Iterator[Problem]:
    variables = {port(name): name for name in PORTS}
    supervisord = asyncio.run(find_supervisord())
    for start in started:
        for number in start.ports:
            if is_free(number):
                continue
            owner = holder(number)
            if owner is not None and _is_child(owner, supervisord):
                continue
            move = f"; {variables[number]}=... moves it" if number in variables else ""
            yield Problem(f"port {number} ({start.name}) is taken by {describe(owner)}{move}", 1)


def _is_child(process: psutil.Process, supervisord: psutil.Process | None) -> bool:
    """Whether the stack runs already and ``process`` is a part of it."""
    with contextlib.suppress(psutil.Error):
        return supervisord is not None and supervisord in process.parents()
    return False
