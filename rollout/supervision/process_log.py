"""What has happened to the processes of a deployment's builds, as supervisord here tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.supervision.process_events import ProcessEvent, process_events, restarts
from rollout.supervision.programs import workers
from rollout.supervision.rpc import Supervisor

__all__ = ["ProcessLog", "read_process_log"]

_MOST = 256 * 1024
"""Bytes from the end of supervisord's log; a line of it is about 100."""


@dataclass(frozen=True)
class ProcessLog:
    """The end of supervisord's log, and whose processes there are now."""

    events: tuple[ProcessEvent, ...]
    """Of every process, oldest first."""
    builds: Mapping[str, str]
    """The build of each process that is a worker of the deployment."""
    others: frozenset[str]
    """The processes that are workers of other deployments."""

    def restarts(self) -> Mapping[str, int]:
        """How often the processes of each build were started again by themselves."""
        found: dict[str, int] = {}
        for process, number in restarts(self.events).items():
            if build_id := self.builds.get(process):
                found[build_id] = found.get(build_id, 0) + number
        return found


async def read_process_log(supervisor: Supervisor, deployment: str) -> ProcessLog:
    """Ask supervisord. Raises `Failure` where it does not answer, or keeps no log to read."""
    log = await supervisor.main_log(_MOST)
    builds, others = {}, set()
    for program in workers(await supervisor.config()):
        if program.deployment == deployment and program.build_id:
            builds[program.name] = program.build_id
        else:
            others.add(program.name)
    return ProcessLog(tuple(process_events(log)), builds, frozenset(others))
