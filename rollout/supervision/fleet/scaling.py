"""Changing how many processes a build's worker has, each of them a program of its own.

supervisord restarts every process of a program whose ``numprocs`` changes. So a build has a program
file for each process, ``worker-3f9c2ab``, ``worker-3f9c2ab@2`` and so on, which come and go alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollout.base.exit import Failure
from rollout.base.listeners import is_free
from rollout.supervision.fleet.command_addition import ProgramText
from rollout.supervision.fleet.command_worker import another_process
from rollout.supervision.fleet.loading import Loader
from rollout.supervision.fleet.names import process_name, process_number, program_name
from rollout.supervision.fleet.program_files import (
    free_port,
    shown,
    taken_ports,
)
from rollout.supervision.programs import Command, Program, workers
from rollout.supervision.rpc import Supervisor

__all__ = ["ScalePlan", "Scaling"]


@dataclass(frozen=True)
class ScalePlan:
    """Which programs stay, which come, and which go, the last one first."""

    stay: tuple[str, ...]
    more: tuple[ProgramText, ...]
    fewer: tuple[str, ...]


class Scaling:
    """The programs of ``build_id`` that `rollout add` has written, as more or fewer of them."""

    def __init__(
        self, supervisor: Supervisor, loader: Loader, deployment: str, build_id: str
    ) -> None:
        self._supervisor = supervisor
        self._loader = loader
        self._mine = (deployment, build_id)
        self._name = program_name(build_id, deployment)

    async def plan(self, processes: int) -> ScalePlan:
        """What ``processes`` of them come to. Raises `Failure` where that cannot be done here."""
        programs = await self._supervisor.config()
        mine = {self._number(each): each for each in workers(programs) if self._is_mine(each)}
        if not mine:
            deployment, build_id = self._mine
            raise Failure(
                f"supervisord has no program that runs {build_id} of {deployment}; "
                f"`rollout add {build_id}` adds one"
            )
        up = {p.namespec for p in await self._supervisor.processes() if p.pid}
        # What is down goes first: so one is left that works, where one of them does.
        numbers = sorted(mine, key=lambda number: (mine[number].namespec not in up, number))
        free = (number for number in range(1, processes + 1) if number not in mine)
        more = [number for number, _ in zip(free, range(processes - len(mine)), strict=False)]
        return ScalePlan(
            tuple(mine[number].namespec for number in numbers[:processes]),
            self._more(programs, mine[numbers[0]], numbers[0], more),
            tuple(mine[number].namespec for number in numbers[processes:][::-1]),
        )

    def _more(
        self, programs: Sequence[Program], first: Command, number: int, more: Sequence[int]
    ) -> tuple[ProgramText, ...]:
        """The programs ``more``, each like ``first``, which is the process ``number``."""
        file = self._loader.file(first.namespec)
        try:
            text, mode = file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777
        except OSError as error:
            raise Failure(f"{shown(file)} cannot be read: {error.strerror}") from error
        taken = taken_ports(programs)
        found = []
        for each in more:
            port = first.metrics_port
            if port is not None:
                wanted = port + each - number
                port = wanted if wanted not in taken and is_free(wanted) else free_port(taken)
                taken.add(port)
            name = process_name(self._name, each)
            written = another_process(text, first.namespec, name, port)
            found.append(ProgramText(name, written, port, mode=mode))
        return tuple(found)

    def _is_mine(self, command: Command) -> bool:
        return (command.deployment, command.build_id) == self._mine

    def _number(self, command: Command) -> int:
        """Which of the build's processes it is. Raises `Failure` for one of another hand."""
        name = command.namespec
        number, file = process_number(name, self._name), self._loader.file(name)
        if number is None or not file.exists():
            raise Failure(
                f"{name} has no file {shown(file)} that `rollout add` wrote: scale it by hand"
            )
        return number
