"""What supervisord here says of each build's programs, for an observation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rollout.base.exit import Failure, Misuse
from rollout.core.observation import STARTABLE, STRATEGIES, Processes, Told
from rollout.supervision.fleet.names import process_number, program_name
from rollout.supervision.programs import Command, Program, commands, workers
from rollout.supervision.rpc import Process, Supervisor
from rollout.temporal.rpc import latest

__all__ = ["NO_PROGRAMS", "Programs", "programs_by_build"]


_UP = ("STARTING", "RUNNING", "BACKOFF")


@dataclass(frozen=True)
class Programs:
    """One build's programs in supervisord, taken together; see `Version` for the fields."""

    state: str | None = None
    partly_stopped: bool = False
    started_at: datetime | None = None
    pids: frozenset[int] = frozenset()
    told: Told = field(default_factory=Told)
    processes: Processes | None = None
    is_unread: bool = False
    """Whether only the name of a program, whose file may not be read, tells of them."""

    @property
    def is_up(self) -> bool:
        """Whether a process of it runs or will, by itself."""
        return self.state in _UP

    def may_run_workers(self) -> bool:
        """Whether a worker of it on this machine may be alive.

        A program may start its worker as a child, so that its own process id says nothing while one
        of the programs runs.
        """
        return bool(self.pids) or self.state in ("STARTING", "STOPPING", "UNKNOWN")


NO_PROGRAMS = Programs()


async def programs_by_build(
    supervisor: Supervisor | None,
    deployment: str,
    problems: list[str],
    unread: list[str] | None = None,
) -> dict[str, Programs]:
    """The programs of each build of ``deployment``; a failure is added to ``problems``.

    What may be a program of it, and cannot be read, is added to ``unread``.
    """
    if supervisor is None:
        return {}
    try:
        configured = await supervisor.config()
        programs = workers(configured)
        processes = await supervisor.processes()
    except Failure as failure:
        problems.append(str(failure))
        return {}
    found = {process.namespec: process for process in processes}
    by_build: dict[str, list[Process]] = {}
    told: dict[str, Told] = {}
    for program in programs:
        process = found.get(program.namespec)
        versioned = program.versioning == "deployment"
        if program.deployment == deployment and versioned and process:
            build_id = program.build_id or ""
            by_build.setdefault(build_id, []).append(process)
            told[build_id] = _told(program)
    hidden = [
        each.program
        for each in commands(configured)
        if each.kind == "other" and each.program.unread
    ]
    if unread is not None:
        unread += [
            f"cannot read {each.unread}: what {each.namespec} runs is unknown" for each in hidden
        ]
    return _by_name(hidden, deployment) | {
        build_id: _together(mine, told[build_id], _are_scalable(mine, build_id, deployment))
        for build_id, mine in by_build.items()
    }


def _by_name(hidden: Sequence[Program], deployment: str) -> dict[str, Programs]:
    """Programs that nobody here may read about, by the build that `rollout add` names them for."""
    try:
        prefix = program_name("x", deployment)[:-1]
    except Misuse:
        return {}
    return {
        each.group.removeprefix(prefix).partition("@")[0]: Programs("UNKNOWN", is_unread=True)
        for each in hidden
        if each.group.startswith(prefix)
    }


def _are_scalable(processes: Sequence[Process], build_id: str, deployment: str) -> bool:
    """Whether their names are those that `rollout add` and `rollout scale` give."""
    try:
        name = program_name(build_id, deployment)
    except Misuse:
        return False
    return all(process_number(each.namespec, name) is not None for each in processes)


def _told(program: Command) -> Told:
    """What the program says that its worker cannot; a strategy that is none says nothing."""
    if program.is_runner:
        return Told()
    strategy = program.strategy if program.strategy in STRATEGIES else None
    return Told(strategy, program.fingerprint)


def _together(processes: Sequence[Process], told: Told, scalable: bool) -> Programs:
    states = [process.state for process in processes]
    return Programs(
        "RUNNING" if "RUNNING" in states else states[-1],
        any(state in STARTABLE for state in states) and not all(s in STARTABLE for s in states),
        latest(*(process.started_at for process in processes)),
        frozenset(process.pid for process in processes if process.pid),
        told,
        Processes(
            total=len(states),
            running=states.count("RUNNING"),
            up=sum(state in _UP for state in states),
            changing=any(state != "RUNNING" and state not in STARTABLE for state in states),
            scalable=scalable,
        ),
    )
