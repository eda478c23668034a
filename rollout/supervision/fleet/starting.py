"""Loading one program's file, and waiting until what it describes is up."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from rollout.base.exit import Failure
from rollout.base.files import replace
from rollout.base.last_words import last_words
from rollout.base.waiting import until
from rollout.supervision.fleet.admission import refuse_mistakes
from rollout.supervision.fleet.loading import Loader
from rollout.supervision.fleet.program_files import shown

__all__ = ["AddedProgram", "Starting", "last_words_in"]

_LOG_TAIL = 16_384
_LONGEST_LINE = 300
_STARTS = 2
"""A program that ran, and has been started anew more often than this, does not stay up."""


@dataclass(frozen=True)
class AddedProgram:
    """A worker program that has just been added."""

    name: str
    """As `supervisorctl` calls it."""
    file: Path
    metrics_port: int | None
    log_file: Path
    existed: bool = False
    """Whether it was there already, as it is to be."""


class Starting:
    """Starts programs that have just been described."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    async def load(self, name: str, text: str, mode: int | None = None) -> None:
        """Write the file and have supervisord take it; where it does not, all is as before."""
        file = self._loader.file(name)
        refuse_mistakes(self._loader.conf, file, text)
        replace(file, text, mode=mode)
        try:
            await self._loader.update(name)
            if not await self._loader.members({name}):
                raise Failure(  # noqa: TRY301 - undone as any other failure is
                    f"supervisord has not taken {shown(file)}: its configuration needs "
                    f"`files = {shown(file.parent)}/*{file.suffix}` in [include], and to be this "
                    "folder's"
                )
        except BaseException:
            file.unlink(missing_ok=True)
            with contextlib.suppress(Failure):
                await self._loader.update(name)
            raise

    async def until_up(
        self,
        added: AddedProgram,
        build_id: str,
        registered: Callable[[], Awaitable[bool]] | None,
        seconds: float,
    ) -> None:
        """Return once the program runs and is ``registered``; `Failure` where it does not."""
        told = f"see {shown(added.log_file)}"
        undo = f"`rollout retire {build_id}` removes it again"

        ran: dict[str, set[int]] = {}

        async def is_up() -> bool:
            found = await self._loader.members({added.name})
            states = {each.state for each in found}
            for each in found:
                if each.state == "RUNNING" and each.pid:
                    ran.setdefault(each.namespec, set()).add(each.pid)
            # One that is slow to start outlives its startsecs, and never becomes FATAL.
            falls = "FATAL" in states or any(len(pids) > _STARTS for pids in ran.values())
            if falls or states <= {"STOPPED"}:
                state = "does not stay up" if falls else "has been stopped or removed"
                last = last_words_in(added.log_file, has_ended=True)
                raise Failure(f"{added.name} {state}{last}; {told}; {undo}")
            if not states <= {"STARTING", "RUNNING"}:
                return False
            return registered is None or await registered()

        if not await until(is_up, seconds):
            last = last_words_in(added.log_file)
            raise Failure(
                f"{added.name} runs, but the server has not had {build_id} polling within "
                f"{seconds:g} s{last}; {told}; {undo}"
            )


def last_words_in(log_file: Path, *, has_ended: bool = False) -> str:
    """``, saying: ...`` with the last failure that the program told; empty where it told none.

    Of one that ``has_ended`` the last line is taken for it, whatever language that is in.
    """
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - _LOG_TAIL))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    written = [line.strip() for line in lines if line.strip()]
    told = last_words(written) or (written[-1][:_LONGEST_LINE] if written and has_ended else "")
    return f", saying: {told}" if told else ""
