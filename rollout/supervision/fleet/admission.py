"""Whether a new worker's program may be added: every reason against it, before anything changes."""

from __future__ import annotations

import re
from pathlib import Path

from rollout.base.exit import Failure, Misuse
from rollout.base.listeners import is_free
from rollout.supervision import conf as supervisor_conf
from rollout.supervision.fleet.code_check import refuse_code
from rollout.supervision.fleet.loading import Loader
from rollout.supervision.fleet.program_files import NewWorker, free_port, shown, taken_ports, unseen
from rollout.supervision.programs import Command, read
from rollout.supervision.rpc import Supervisor

__all__ = ["Admission", "refuse_mistakes"]

_FILES = re.compile(r"^\[include\][^\[]*?^files\s*[=:]\s*", re.MULTILINE)


class Admission:
    """Judges ``worker``. Each `Failure` says why it cannot be added, and what to do."""

    def __init__(self, supervisor: Supervisor, loader: Loader, worker: NewWorker) -> None:
        self._supervisor = supervisor
        self._loader = loader
        self._worker = worker

    async def port_already(self, wanted: int | None) -> int | None:
        """The port of the program where the same was added before; None where it was not."""
        port = self._worker.port_in(self._loader.file(self._worker.name))
        if port is None or wanted not in (None, port):
            return None
        return port if await self._loader.members({self._worker.name}) else None

    async def refuse_existing(self) -> None:
        """Raise `Failure` where the build has a program, or the program's name is in use."""
        build_id, name = self._worker.build_id, self._worker.name
        states = {each.namespec: each.state for each in await self._supervisor.processes()}
        for each in map(read, await self._supervisor.config()):
            if each.program.loaded and self._is_same_build(each):
                raise Failure(
                    f"{build_id} has the program {each.namespec} already, in state "
                    f"{states.get(each.namespec, 'UNKNOWN')}: "
                    f"`supervisorctl start {each.namespec}` starts it, "
                    f"`rollout retire {build_id}` removes it"
                )
        if await self._loader.members({name}):
            raise Failure(
                f"supervisord has another program called {name}: remove that one, or write this "
                "one's file in workers/programs by hand, under another name"
            )
        # What the files describe now, whatever supervisord has read of them.
        for each in map(read, supervisor_conf.read(self._loader.conf).programs):
            if self._is_same_build(each) and each.namespec != name:
                raise Failure(
                    f"{build_id} has the program {each.namespec} already, which is not loaded: "
                    f"`supervisorctl update {each.program.group}` loads it"
                )

    async def refuse_code(self, root: Path) -> None:
        """Raise `Misuse` or `Failure` where the build's own command refuses its options or code."""
        if self._worker.app is None and not (root / "workers" / "__main__.py").exists():
            raise Misuse("which workflows? give --app MODULE")
        python, worker = root / ".venv" / "bin" / "python", self._worker
        await refuse_code([str(python), "-m", *worker.module.split(), *worker.words], root)

    async def port(self, wanted: int | None) -> int:
        """The port for its metrics: ``wanted``, or the first free one.

        Raises `Failure` where that port is another's, and where a file that says
        something else stands in the place of the new one.
        """
        file, name = self._loader.file(self._worker.name), self._worker.name
        old = self._worker.port_in(file)
        if old is None and file.exists():
            raise Failure(
                f"{shown(file)} exists already, says something else, and is not loaded: "
                f"`supervisorctl update {name}` loads it as it is; delete it to start over"
            )
        if old is not None and wanted in (None, old):
            return old  # somebody died between writing it and loading it
        written = supervisor_conf.read(self._loader.conf).programs
        taken = taken_ports([*await self._supervisor.config(), *written])
        if wanted is None:
            return free_port(taken)
        if wanted in taken or not is_free(wanted):
            raise Failure(f"port {wanted} is another program's; {free_port(taken)} is free")
        return wanted

    def _is_same_build(self, other: Command) -> bool:
        mine = (self._worker.deployment, self._worker.build_id)
        return other.kind == "worker" and (other.deployment, other.build_id) == mine


def refuse_mistakes(conf: Path, file: Path, text: str) -> None:
    """Raise `Failure` where ``file`` with ``text`` would be a mistake among the files of ``conf``.

    What was wrong before is not held against it, unless nothing can be read for it.
    """
    before = supervisor_conf.read(conf)
    if before.problems and not before.programs:
        raise Failure(f"nothing can be added until this is mended: {before.problems[0]}")
    if file.exists():
        return  # it has been read just now
    for problem in _problems_with(conf, file, text):
        if problem not in before.problems:
            raise Failure(f"{shown(file)} would be a mistake: {problem}")


def _problems_with(conf: Path, file: Path, text: str) -> list[str]:
    """What supervisord's own reader says of ``conf`` with the new ``file`` among the others.

    Both stand on trial under names that no include pattern takes.
    """
    candidate, trial = unseen(file), unseen(conf)
    try:
        candidate.write_text(text, encoding="utf-8")
        trial.write_text(_including(conf, candidate), encoding="utf-8")
        problems = supervisor_conf.read(trial).problems
    finally:
        candidate.unlink(missing_ok=True)
        trial.unlink(missing_ok=True)
    return [
        problem.replace(candidate.name, file.name).replace(trial.name, conf.name)
        for problem in problems
    ]


def _including(conf: Path, candidate: Path) -> str:
    """The text of ``conf``, which includes ``candidate`` as well."""
    text, found = _FILES.subn(
        lambda match: f"{match[0]}{candidate.absolute()} ",
        conf.read_text(encoding="utf-8"),
        count=1,
    )
    if not found:
        raise Failure(f"{shown(conf)} needs `files = workers/programs/*.ini` in [include]")
    return text
