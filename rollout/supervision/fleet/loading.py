"""Having supervisord take up or drop program files: one change at a time, others untouched."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from rollout.base.exit import Failure
from rollout.base.home import home_of
from rollout.base.locks import alone_patiently
from rollout.base.logger import get_logger
from rollout.base.waiting import until
from rollout.supervision import conf as supervisor_conf
from rollout.supervision.fleet import program_files
from rollout.supervision.rpc import NotRunning, Process, Supervisor

__all__ = ["BUSY", "Loader"]

log = get_logger(__name__)

BUSY = ("STARTING", "RUNNING", "BACKOFF", "STOPPING")
"""The states in which a process exists or will again, by itself."""

_RETRY_SECONDS = 0.1
_LOCK_SECONDS = 30.0


class Loader:
    """Loads and unloads the program files of the stack at ``root``."""

    def __init__(self, supervisor: Supervisor, root: Path) -> None:
        self._supervisor = supervisor
        home = home_of(root)
        self._suffix = home.program_suffix
        self._lock_file = home.state / "run" / "programs.lock"
        self.conf = home.supervisord_conf
        self.folder = home.programs

    def file(self, program: str) -> Path:
        """Where the file of ``program`` is, or would be."""
        return self.folder / f"{program}{self._suffix}"

    @contextlib.asynccontextmanager
    async def alone(self, seconds: float = _LOCK_SECONDS) -> AsyncIterator[None]:
        """Hold the lock of all who change program files here: of two updates at once one fails.

        The kernel lets go of it when its holder dies. Raises `Failure` where it is
        not to be had within ``seconds``.
        """
        refusal = (
            f"programs are being added or removed by somebody else for {seconds:g} s now, "
            f"who holds {self._lock_file}; try again once they have ended"
        )
        async with alone_patiently(
            self._lock_file,
            refusal,
            seconds=seconds,
            waiting=lambda: log.info("waiting until another change of the programs is done"),
        ):
            program_files.sweep(self.folder, self.conf.parent)
            yield

    async def members(self, groups: Collection[str]) -> list[Process]:
        """The loaded processes of ``groups``."""
        return [each for each in await self._supervisor.processes() if each.group in groups]

    async def reread(self) -> None:
        """Have supervisord read its files again; nothing is started or stopped."""
        try:
            await self._supervisor.reread()
        except NotRunning:
            raise
        except Failure as failure:
            raise self._explained(failure) from failure

    async def update(self, group: str) -> None:
        """Make ``group`` as the files describe it; again where another update came between."""
        for tries_left in (2, 1, 0):
            try:
                await self._supervisor.update(group)
            except NotRunning:
                raise
            except Failure as failure:
                if not tries_left or _unreadable(failure):
                    raise self._explained(failure) from failure
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def until_none(
        self, names: Collection[str], states: Collection[str], seconds: float
    ) -> None:
        """Return once none of the programs ``names`` is in one of ``states``."""
        left: list[str] = []

        async def none_left() -> bool:
            processes = await self._supervisor.processes()
            left[:] = [p.namespec for p in processes if p.namespec in names and p.state in states]
            return not left

        if not await until(none_left, seconds):
            raise Failure(
                f"{left[0]} did not end within {seconds:g} s; "
                f"`supervisorctl signal KILL {left[0]}` ends it at once"
            )

    def _explained(self, failure: Failure) -> Failure:
        if not _unreadable(failure):
            return failure
        problems = supervisor_conf.read(self.conf).problems or (str(failure),)
        return Failure(
            "supervisord cannot read its configuration, so no program can be added or removed "
            f"until this is mended: {problems[0]}"
        )


def _unreadable(failure: Failure) -> bool:
    return "CANT_REREAD" in str(failure)
