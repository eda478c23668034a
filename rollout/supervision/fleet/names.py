"""What supervisord calls the workers of a build.

Nothing here reads supervisord's files: a worker's own environment has no supervisor in it.
"""

from __future__ import annotations

import re

from rollout.base.exit import Misuse
from rollout.base.home import Home
from rollout.base.names import valid_build_id
from rollout.base.settings import HOME

__all__ = ["fitting", "process_name", "process_number", "program_name"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+:-]{0,127}")


def program_name(build_id: str, deployment: str | None = None, home: Home = HOME) -> str:
    """What supervisord calls the worker of ``build_id``: ``worker-`` and the build id.

    In a home that was set up the name of ``deployment`` stands between the two: one git sha may
    be the build of several services. A colon becomes a minus sign, for in supervisord's names it
    parts group and program; nothing else that a build id may hold needs changing. Raises `Misuse`
    for what is no build id.
    """
    build = fitting(valid_build_id(build_id), "build id").replace(":", "-")
    scope = f"{fitting(deployment, 'deployment name')}-" if deployment and home.is_set_up else ""
    return f"worker-{scope}{build}"


def process_name(program: str, number: int) -> str:
    """What supervisord calls the process ``number``, from 1, of the worker called ``program``.

    No build id has an ``@`` in a program's name.
    """
    return program if number == 1 else f"{program}@{number}"


def process_number(name: str, program: str) -> int | None:
    """Which process of the worker called ``program`` is called ``name``; None: none of its."""
    base, mark, number = name.partition("@")
    if base != program or (mark and not re.fullmatch(r"[1-9][0-9]*", number)):
        return None
    return int(number or "1")


def fitting(name: str, what: str) -> str:
    """``name``, or `Misuse` where it is none for a program, its file and its log.

    The server allows more than supervisord and the names of files do.
    """
    if not _NAME.fullmatch(name):
        raise Misuse(
            f"{what} {name!r} cannot stand in a program file: use letters, digits and "
            "_ . + : -, beginning with one of the first three, 128 at most, or start its worker by "
            "other means: Temporal allows it"
        )
    return name
