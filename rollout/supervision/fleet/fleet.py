"""Adding, stopping, starting and removing the worker programs of a deployment on this machine.

Each change touches the programs of one build and no other process. Whoever dies in
the middle of one can begin again: a second call finishes what the first began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollout.base.exit import Failure
from rollout.base.home import home_of
from rollout.base.settings import DEFAULT_DEPLOYMENT, ROOT
from rollout.supervision.fleet import program_files
from rollout.supervision.fleet.admission import Admission
from rollout.supervision.fleet.command_addition import CommandAddition
from rollout.supervision.fleet.command_worker import CommandWorker
from rollout.supervision.fleet.leftovers import families
from rollout.supervision.fleet.loading import BUSY, Loader
from rollout.supervision.fleet.names import process_number, program_name
from rollout.supervision.fleet.program_files import NewWorker, shown
from rollout.supervision.fleet.scaling import Scaling
from rollout.supervision.fleet.starting import AddedProgram, Starting, last_words_in
from rollout.supervision.programs import Command, Program, read, workers
from rollout.supervision.rpc import Supervisor

__all__ = ["AddedProgram", "Fleet", "ScaledBuild"]

_STOP_SECONDS = 120.0
_START_SECONDS = 60.0


@dataclass(frozen=True)
class ScaledBuild:
    """The programs of a build, by what became of them."""

    stayed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


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
        self._starting = Starting(self._loader)
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
                await self._starting.load(worker.name, worker.render(port))
            else:
                await self._supervisor.start(worker.name)
        file = self._loader.file(worker.name)
        log_file = self._logs / f"{worker.name}.log"
        added = AddedProgram(worker.name, file, port, log_file, existed)
        await self._starting.until_up(added, build_id, registered, seconds)
        return added

    async def add_command(
        self,
        worker: CommandWorker,
        *,
        registered: Callable[[bool], Awaitable[bool]] | None = None,
        seconds: float = 60.0,
    ) -> tuple[AddedProgram, ...]:
        """Write and load what is missing of the worker's programs, and wait until they poll.

        ``registered`` answers whether the build is polled for; it is told whether a process was
        started, so that one who polled before says nothing. Programs that are there as they are to
        be are success. Raises as `add` does; and `Failure` where one of the build is there
        otherwise.
        """
        adding = CommandAddition(self._supervisor, self._loader, worker, self._logs)
        async with self._loader.alone():
            programs = await adding.programs()
            running = {each.namespec for each in await self._supervisor.processes() if each.pid}
            for program in programs:
                if program.existed:
                    await self._loader.update(program.name)
                else:
                    await self._starting.load(program.name, program.text, worker.mode)
                await self._supervisor.start(program.name)
        added = tuple(
            AddedProgram(
                program.name,
                self._loader.file(program.name),
                program.port,
                self._logs / f"{program.name}.log",
                existed=program.existed,
            )
            for program in programs
        )
        started = not running.issuperset(worker.names)

        async def polled_for() -> bool:
            return registered is None or await registered(started)

        for each in added:
            await self._starting.until_up(each, worker.build_id, polled_for, seconds)
        return added

    async def scale(self, build_id: str, processes: int) -> ScaledBuild:
        """Have ``processes`` of the build's worker run, and touch none of those that stay.

        The last are stopped and removed first, each drained as by any stop. Raises `Failure`
        where its programs were not written by `add`.
        """
        scaling = Scaling(self._supervisor, self._loader, self._deployment, build_id)
        async with self._loader.alone():
            plan = await scaling.plan(processes)
            for program in plan.more:
                await self._starting.load(program.name, program.text, program.mode)
        await self._stop(plan.fewer, _STOP_SECONDS)
        async with self._loader.alone():
            for name in plan.fewer:
                self._loader.file(name).unlink(missing_ok=True)
                await self._loader.update(name)
        more = tuple(each.name for each in plan.more)
        await self._until_they_stay(more, _START_SECONDS)
        return ScaledBuild(plan.stay, more, plan.fewer)

    async def stop(
        self, build_id: str, *, wait: bool = True, seconds: float = _STOP_SECONDS
    ) -> tuple[str, ...]:
        """Stop every program of the build, all at once; their names. Stopped already is fine.

        With ``wait`` it returns once all have ended, and what they leave behind, or raises
        `Failure` after ``seconds``.
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
        await self._until_they_stay(names, seconds)
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
        gone = {_group(each) for each in before if self._runs(each, build_id)}
        name = program_name(build_id, self._deployment)
        gone |= {name, *(g for g in map(_group, before) if process_number(g, name))}
        gone -= {_group(each) for each in after if each.kind == "worker"}
        files = [file for each in mine for file in self._files_of(each.program)]
        return files, {*map(_group, mine)} | gone

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

    async def _until_they_stay(self, names: Sequence[str], seconds: float) -> None:
        await self._loader.until_none(names, ("STARTING",), seconds)
        for process in await self._supervisor.processes():
            if process.namespec in names and process.state != "RUNNING":
                last = last_words_in(self._logs / f"{process.name}.log")
                raise Failure(f"{process.namespec} does not stay up ({process.state}){last}")

    async def _stop(self, names: Sequence[str], seconds: float) -> None:
        running = [each for each in await self._supervisor.processes() if each.namespec in names]
        left = families(running)
        await asyncio.gather(*map(self._supervisor.stop, names))
        if seconds:
            await self._loader.until_none(names, BUSY, seconds)
            await left.end_the_rest()

    def _files_of(self, program: Program) -> list[Path]:
        section = f"program:{program.group}"
        if files := program_files.own_sections(self._loader.folder, section):
            return files
        raise Failure(
            f"{program.namespec} has no file of its own in {shown(self._loader.folder)}: "
            "remove it by hand where it is described, then run "
            f"`supervisorctl update {program.group}`"
        )

    async def _drop_logs(self, groups: Iterable[str]) -> None:
        described = [each.log_file for each in await self._supervisor.config() if each.log_file]
        loaded = [self._logs / f"{each.name}.log" for each in await self._supervisor.processes()]
        program_files.drop_logs(self._logs, groups, {*described, *loaded})


def _group(command: Command) -> str:
    return command.program.group
