"""Adding, stopping, starting and removing the worker programs of a deployment on this machine.

Each change touches the programs of one build and no other process. Whoever dies in
the middle of one can begin again: a second call finishes what the first began.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollout.base.exit import Failure
from rollout.base.files import replace
from rollout.base.home import home_of
from rollout.base.last_words import last_words
from rollout.base.settings import DEFAULT_DEPLOYMENT, ROOT
from rollout.base.waiting import until
from rollout.supervision.fleet import program_files
from rollout.supervision.fleet.admission import Admission, refuse_mistakes
from rollout.supervision.fleet.loading import BUSY, Loader
from rollout.supervision.fleet.program_files import NewWorker, shown
from rollout.supervision.programs import Command, Program, read, workers
from rollout.supervision.rpc import Supervisor

__all__ = ["AddedProgram", "Fleet"]

_STOP_SECONDS = 120.0
_LOG_TAIL = 16_384


@dataclass(frozen=True)
class AddedProgram:
    """A worker program that has just been added."""

    name: str
    """As `supervisorctl` calls it."""
    file: Path
    metrics_port: int
    log_file: Path
    existed: bool = False
    """Whether it was there already, as it is to be."""


class Fleet:
    """The worker programs of ``deployment`` in the stack at ``root``.

    Every method raises `rollout.supervision.rpc.NotRunning`, and changes nothing,
    where ``supervisor`` does not answer.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        root: Path = ROOT,
        *,
        deployment: str = DEFAULT_DEPLOYMENT,
    ) -> None:
        self._supervisor = supervisor
        self._loader = Loader(supervisor, root)
        self._root = root
        self._deployment = deployment
        self._logs = home_of(root).logs

    async def add(  # noqa: PLR0913 - each is one flag of a command
        self,
        build_id: str,
        strategy: str,
        *,
        app: str | None = None,
        task_queue: str | None = None,
        metrics_port: int | None = None,
        flags: Sequence[str] = (),
        registered: Callable[[], Awaitable[bool]] | None = None,
        seconds: float = 60.0,
    ) -> AddedProgram:
        """Write the program file of a new build, load it, and wait until its worker polls.

        ``registered`` answers whether the server knows the worker and it polls; it
        is asked again and again for ``seconds``. ``flags`` are further words for
        the worker. A program that is there as it is to be is success. Raises `Misuse`
        or `Failure` with nothing changed; or `Failure` that names the log, with the
        program left as it is, where the worker does not come up.
        """
        worker = NewWorker(
            build_id, strategy, self._deployment, app=app, task_queue=task_queue, flags=tuple(flags)
        )
        admission = Admission(self._supervisor, self._loader, worker)
        if await admission.port_already(metrics_port) is None:
            await admission.refuse_existing()
            await admission.refuse_code(self._root)
        async with self._loader.alone():
            port = await admission.port_already(metrics_port)
            existed = port is not None
            if port is None:
                await admission.refuse_existing()
                port = await admission.port(metrics_port)
                await self._load(worker, port)
            else:
                await self._supervisor.start(worker.name)
        file = self._loader.file(worker.name)
        log_file = self._logs / f"{worker.name}.log"
        added = AddedProgram(worker.name, file, port, log_file, existed)
        await self._until_up(added, build_id, registered, seconds)
        return added

    async def stop(
        self, build_id: str, *, wait: bool = True, seconds: float = _STOP_SECONDS
    ) -> tuple[str, ...]:
        """Stop every program of the build, all at once; their names. Stopped already is fine.

        With ``wait`` it returns once all have ended, or raises `Failure` after ``seconds``.
        """
        names = await self._loaded(build_id)
        await self._stop(names, seconds if wait else 0.0)
        return names

    async def start(self, build_id: str, *, seconds: float = _STOP_SECONDS) -> tuple[str, ...]:
        """Start every program of the build, and wait until they are up; their names.

        One that is stopping is waited for. Raises `Failure` where one does not stay up.
        """
        names = await self._loaded(build_id)
        # supervisord takes a start of what is still stopping, and does nothing.
        await self._loader.until_none(names, ("STOPPING",), seconds)
        await asyncio.gather(*map(self._supervisor.start, names))
        await self._loader.until_none(names, ("STARTING",), seconds)
        for process in await self._supervisor.processes():
            if process.namespec in names and process.state != "RUNNING":
                last = _last_words(self._logs / f"{process.name}.log")
                raise Failure(f"{process.namespec} does not stay up ({process.state}){last}")
        return names

    async def remove(self, build_id: str, *, seconds: float = _STOP_SECONDS) -> tuple[str, ...]:
        """Stop the build's programs, delete their files and unload them; their names.

        Nothing to remove is fine. The log stays for reading, for a week at least;
        what had been rotated away goes at once. Raises `Failure`, and changes
        nothing, where a program's section does not stand in a file of its own in
        workers/programs.
        """
        files, groups = await self._remains(build_id)
        names = tuple(each.namespec for each in await self._loader.members(groups))
        await self._stop(names, seconds)
        async with self._loader.alone():
            # Deleted first: a program that is only unloaded comes back with supervisord.
            for file in files:
                file.unlink(missing_ok=True)
            for group in sorted(groups):
                await self._loader.update(group)
            await self._drop_logs(groups)
        return names

    async def _remains(self, build_id: str) -> tuple[list[Path], set[str]]:
        """The build's program files, and its groups, whether loaded or only described."""
        before = [read(each) for each in await self._supervisor.config()]
        await self._loader.reread()
        after = [read(each) for each in await self._supervisor.config()]
        mine = [each for each in after if self._runs(each, build_id)]
        # A first try that died after it had deleted a file leaves its program loaded;
        # once supervisord has read its files again, only the name tells what it runs.
        gone = {each.program.group for each in before if self._runs(each, build_id)}
        gone.add(program_files.program_name(build_id))
        gone -= {each.program.group for each in after if each.kind == "worker"}
        files = [file for each in mine for file in self._files_of(each.program)]
        return files, {each.program.group for each in mine} | gone

    def _runs(self, command: Command, build_id: str) -> bool:
        mine = (self._deployment, build_id)
        return command.kind == "worker" and (command.deployment, command.build_id) == mine

    async def _loaded(self, build_id: str) -> tuple[str, ...]:
        """The names of the build's loaded programs, at least one."""
        loaded = workers(await self._supervisor.config())
        names = tuple(each.namespec for each in loaded if self._runs(each, build_id))
        if not names:
            raise Failure(
                f"supervisord has no program that runs {build_id} of {self._deployment}; "
                f"`rollout add {build_id}` adds one"
            )
        return names

    async def _stop(self, names: Sequence[str], seconds: float) -> None:
        await asyncio.gather(*map(self._supervisor.stop, names))
        if seconds:
            await self._loader.until_none(names, BUSY, seconds)

    def _files_of(self, program: Program) -> list[Path]:
        section = f"program:{program.group}"
        if files := program_files.own_sections(self._loader.folder, section):
            return files
        raise Failure(
            f"{program.namespec} has no file of its own in {shown(self._loader.folder)}: "
            "remove it by hand where it is described, then run "
            f"`supervisorctl update {program.group}`"
        )

    async def _load(self, worker: NewWorker, port: int) -> None:
        """Write the file and have supervisord take it; where it does not, all is as before."""
        file, text = self._loader.file(worker.name), worker.render(port)
        refuse_mistakes(self._loader.conf, file, text)
        replace(file, text)
        try:
            await self._loader.update(worker.name)
            if not await self._loader.members({worker.name}):
                raise Failure(  # noqa: TRY301 - undone as any other failure is
                    f"supervisord has not taken {shown(file)}: its configuration needs "
                    "`files = workers/programs/*.ini` in [include], and to be this folder's"
                )
        except BaseException:
            file.unlink(missing_ok=True)
            with contextlib.suppress(Failure):
                await self._loader.update(worker.name)
            raise

    async def _until_up(
        self,
        added: AddedProgram,
        build_id: str,
        registered: Callable[[], Awaitable[bool]] | None,
        seconds: float,
    ) -> None:
        told = f"see {shown(added.log_file)}"
        undo = f"`rollout retire {build_id}` removes it again"

        async def is_up() -> bool:
            states = {each.state for each in await self._loader.members({added.name})}
            if states <= {"FATAL", "STOPPED"}:
                state = "does not stay up" if "FATAL" in states else "has been stopped or removed"
                last = _last_words(added.log_file)
                raise Failure(f"{added.name} {state}{last}; {told}; {undo}")
            if not states <= {"STARTING", "RUNNING"}:
                return False
            return registered is None or await registered()

        if not await until(is_up, seconds):
            last = _last_words(added.log_file)
            raise Failure(
                f"{added.name} runs, but the server has not had {build_id} polling within "
                f"{seconds:g} s{last}; {told}; {undo}"
            )

    async def _drop_logs(self, groups: Iterable[str]) -> None:
        described = [each.log_file for each in await self._supervisor.config() if each.log_file]
        loaded = [self._logs / f"{each.name}.log" for each in await self._supervisor.processes()]
        program_files.drop_logs(self._logs, groups, {*described, *loaded})


def _last_words(log_file: Path) -> str:
    """``, saying: ...`` with the last failure that the program told; empty where it told none."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - _LOG_TAIL))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    told = last_words(lines)
    return f", saying: {told}" if told else ""
