"""Changing how many processes a build's worker has, each of them a program of its own.

supervisord restarts every process of a program whose ``numprocs`` changes. So a build has a program
file for each process, ``worker-3f9c2ab``, ``worker-3f9c2ab@2`` and so on, which come and go alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rollout.base.exit import Failure
from rollout.base.listeners import is_free
from rollout.supervision.fleet.command_addition import ProgramText
from rollout.supervision.fleet.command_worker import metrics_port_in, process_of
from rollout.supervision.fleet.loading import Loader
from rollout.supervision.fleet.program_files import free_port, program_name, shown, taken_ports
from rollout.supervision.programs import Command, workers
from rollout.supervision.rpc import Supervisor

__all__ = ["ScalePlan", "Scaling", "another_process"]

_FLAG_PORT = re.compile(r"(--metrics-port )(\d+)")


@dataclass(frozen=True)
class ScalePlan:
    """Which programs stay, which come, and which go, the last one first."""

    stay: tuple[str, ...]
    more: tuple[ProgramText, ...]
    fewer: tuple[str, ...]


class Scaling:
    """The programs of ``build_id`` that `rollout add` has written, as more or fewer of them."""

    def __init__(
        self, supervisor: Supervisor, loader: Loader, deployment: str, build_id: str, logs: Path
    ) -> None:
        self._supervisor = supervisor
        self._loader = loader
        self._mine = (deployment, build_id)
        self._name = program_name(build_id)
        self._logs = logs

    async def plan(self, processes: int) -> ScalePlan:
        """What ``processes`` of them come to. Raises `Failure` where that cannot be done here."""
        programs = await self._supervisor.config()
        mine = [each for each in workers(programs) if self._is_mine(each)]
        if not mine:
            raise Failure(
                f"supervisord has no program that runs {self._mine[1]} of {self._mine[0]}; "
                f"`rollout add {self._mine[1]}` adds one"
            )
        numbers = {self._number(each): each.namespec for each in mine}
        if len(mine) == processes:
            return ScalePlan(tuple(numbers[each] for each in sorted(numbers)), (), ())
        stay = sorted(numbers)[:processes]
        gone = sorted(numbers)[processes:][::-1]
        missing = [each for each in range(1, processes + 1) if each not in numbers]
        more = missing[: max(0, processes - len(stay))]
        pattern = self._loader.file(numbers[stay[0]])
        text = pattern.read_text(encoding="utf-8")
        mode = pattern.stat().st_mode & 0o777
        base = metrics_port_of(text)
        taken = taken_ports(programs)
        added = []
        for number in more:
            port = None if base is None else self._port(base + number - stay[0], taken)
            name = process_of(self._name, number)
            added.append(
                ProgramText(
                    name, another_process(text, numbers[stay[0]], name, port), port, mode=mode
                )
            )
            taken |= {port} - {None}
        return ScalePlan(
            tuple(numbers[each] for each in stay),
            tuple(added),
            tuple(numbers[each] for each in gone),
        )

    def _is_mine(self, command: Command) -> bool:
        return (command.deployment, command.build_id) == self._mine

    def _number(self, command: Command) -> int:
        """Which of the build's processes it is. Raises `Failure` for one of another hand."""
        name = command.namespec
        base, _, number = name.partition("@")
        if base != self._name or not (number or "1").isdecimal():
            raise Failure(f"{name} was not written by `rollout add`: change its numprocs by hand")
        if not self._loader.file(name).exists():
            raise Failure(f"{name} has no file {shown(self._loader.file(name))}: scale it by hand")
        return int(number or "1")

    @staticmethod
    def _port(wanted: int, taken: set[int]) -> int:
        return wanted if wanted not in taken and is_free(wanted) else free_port(taken)


def metrics_port_of(text: str) -> int | None:
    """The metrics port in a program file that `rollout add` wrote, for whichever worker."""
    flag = _FLAG_PORT.search(text)
    return metrics_port_in(text) or (int(flag[2]) if flag else None)


def another_process(text: str, old: str, new: str, port: int | None) -> str:
    """A program file like ``text``, which is that of ``old``, for ``new`` with its own port."""
    found = text.replace(f"[program:{old}]", f"[program:{new}]")
    found = re.sub(rf"/{re.escape(old)}\.log$", f"/{new}.log", found, flags=re.MULTILINE)
    if port is None:
        return found
    before = metrics_port_of(text)
    places = rf"((?:launch (?:\S+ )*?--port |--metrics-port |ROLLOUT_METRICS_PORT=\"))"
    return re.sub(rf"{places}{before}\b", lambda match: f"{match[1]}{port}", found)


