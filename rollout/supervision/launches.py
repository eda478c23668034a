"""What each program of the stack really runs: its launcher seen through, its words expanded."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from rollout.base.exit import Misuse
from rollout.base.settings import SUPERVISORD_CONF
from rollout.supervision import conf as supervisor_conf
from rollout.supervision import launch
from rollout.supervision.conf import Program
from rollout.supervision.rpc import Supervisor

__all__ = ["Launch", "configured", "running", "see_through"]

_PORT_FLAGS = ("--port", "--ui-port", "--metrics-port")


@dataclass(frozen=True)
class Launch:
    """What one program of the stack really runs."""

    program: Program
    command: tuple[str, ...]
    ports: tuple[int, ...]
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What it finds in its environment."""
    needed: bool = True
    """Whether its launcher starts it in that environment (``--unless-env``)."""

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    def module(self) -> str | None:
        """``workers`` where the command is ``python -m workers ...``."""
        python = self.command[:2]
        runs_module = len(self.command) > 2 and python[1] == "-m" and "python" in python[0]
        if not runs_module:
            return None
        # `rollout worker` is `python -m workers`, and `rollout exporter` `python -m metrics`.
        doors = {"worker": "workers", "exporter": "metrics"}
        module = self.command[2]
        return doors.get(self.command[3], module) if module == "rollout" else module

    def flag(self, name: str) -> str | None:
        """The value of the flag ``name`` in the command."""
        for index, word in enumerate(self.command):
            if word == name:
                return next(iter(self.command[index + 1 :]), None)
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
        return None


def configured() -> list[Launch]:
    """What supervisord would run, by the (valid) configuration and this process's environment."""
    return [see_through(program) for program in supervisor_conf.read(SUPERVISORD_CONF).programs]


async def running(supervisor: Supervisor, environ: Mapping[str, str]) -> list[Launch]:
    """What a ``supervisor`` has loaded that was itself started in ``environ``.

    The files may say something else by now, and so may this process's environment.
    """
    found = []
    for each in await supervisor.config():
        if not each.loaded:
            continue
        with contextlib.suppress(Misuse, ValueError):  # its program then fails, and its log says so
            words = tuple(shlex.split(each.command))
            program = Program(each.name, words, None, {}, autostart=each.autostart)
            found.append(see_through(program, environ))
    return found


def see_through(program: Program, environ: Mapping[str, str] = os.environ) -> Launch:
    """The command behind the launcher, with ``environ`` expanded as the launcher would.

    Raises `Misuse` where the launcher would refuse.
    """
    words = list(program.command)
    ports: list[str] = []
    environ = {**environ, **program.environment}
    needed = True
    if (own := launch.behind(words)) is not None:
        complaint = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaint):
                given = launch.options(own)
        except SystemExit:
            raise Misuse(complaint.getvalue().strip().rpartition("error: ")[2]) from None
        ports = [given.port] if given.port else []
        words = given.command
        needed = launch.unneeded(given, environ) is None
    ports += [words[i + 1] for i in range(len(words) - 1) if words[i] in _PORT_FLAGS]
    try:
        command = tuple(launch.expand(word, environ) for word in words)
        numbers = dict.fromkeys(int(launch.expand(text, environ)) for text in ports)
    except KeyError as missing:
        raise Misuse(f"the environment variable {missing.args[0]} is not set") from None
    except ValueError:
        raise Misuse(f"{' or '.join(ports)} is not a port") from None
    return Launch(program, command, tuple(numbers), environ, needed)
