"""Processes that a program has started, and that outlive the one which supervisord knows.

A worker may have processes of its own: a pool for its activities, a worker in each, a shell that
was told a command. SIGTERM goes to the first of them alone, so that it may finish what the others
do; those that are there once it has ended would go on polling, as a version that is said to be
stopped. supervisord gives each program a process group of its own, by which they are found.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Collection
from dataclasses import dataclass

import psutil

from rollout.base.exit import Failure
from rollout.base.logger import get_logger
from rollout.supervision.rpc import Process

__all__ = ["Families", "families"]

log = get_logger(__name__)

_SECONDS = 5.0
"""From SIGTERM until SIGKILL; who had something to finish has done so with the program."""


@dataclass(frozen=True)
class Families:
    """The process groups of programs that are about to be stopped."""

    groups: dict[int, str]
    """The program of each."""
    before: float
    """Seconds since the epoch: what is younger is of somebody else."""

    async def end_the_rest(self) -> None:
        """End what is left of them. Raises `Failure` where that is not allowed."""
        left = await asyncio.to_thread(self._left)
        if not left:
            return
        names = sorted({self.groups[group] for group in left.values()})
        for name in names:
            log.info("ending the processes that it has left behind", program=name)
        still = await asyncio.to_thread(_ended, list(left))
        if still:
            pids = ", ".join(str(each.pid) for each in still)
            raise Failure(
                f"{names[0]} has ended, and has left processes behind that go on, and that this "
                f"user cannot end: {pids}"
            )

    def _left(self) -> dict[psutil.Process, int]:
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                group = os.getpgid(process.pid)
                if group in self.groups and process.create_time() <= self.before:
                    found[process] = group
        return found


def families(processes: Collection[Process]) -> Families:
    """Those of the programs that run on this machine and can be told for certain."""
    running = ((each.pid, each) for each in processes if each.pid)
    groups = {pid: each.namespec for pid, each in running if _is_its(pid, each.name)}
    return Families(groups, time.time())


def _is_its(pid: int, name: str) -> bool:
    """Whether the process is that program's: supervisord tells each its name."""
    try:
        environ = psutil.Process(pid).environ()
        leads = os.getpgid(pid) == pid
    except (OSError, psutil.Error):
        return False
    return leads and environ.get("SUPERVISOR_PROCESS_NAME") == name


def _ended(processes: Collection[psutil.Process]) -> list[psutil.Process]:
    """Those that cannot be ended."""
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                end(process)
        processes = psutil.wait_procs(processes, timeout=_SECONDS)[1]
    return list(processes)
