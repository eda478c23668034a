"""Whether the running supervisord could load its files again: if not, a reload ends everything."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from rollout.base.files import edition
from rollout.base.settings import HOME, SOCKET, SUPERVISORD_CONF

__all__ = ["Surveyor"]

_FILES = ("stack/programs/*.ini", "workers/programs/*.ini", "var/programs/*.ini")


class Surveyor:
    """Reads supervisord's files as it would, and only where one of them has changed."""

    def __init__(self, conf: Path = SUPERVISORD_CONF, socket: Path = SOCKET) -> None:
        self._conf = conf
        self._socket = socket
        self._editions: object = None
        self._found: tuple[str, ...] = ()

    def look(self) -> Sequence[str]:
        """A sentence where a reload would fail; none where no supervisord runs here."""
        if not self._socket.exists() or not self._conf.exists():
            return ()
        editions = [(file, edition(file)) for file in self._files()]
        if editions != self._editions:
            self._found, self._editions = tuple(self._problems()), editions
        return self._found

    def _files(self) -> list[Path]:
        found = [self._conf]
        own = f"{HOME.programs}/*{HOME.program_suffix}" if HOME.is_set_up else ""
        for pattern in filter(None, (*_FILES, own)):
            found += map(Path, sorted(glob.glob(str(self._conf.parent / pattern))))  # noqa: PTH207
        return found

    def _problems(self) -> Sequence[str]:
        # Importing supervisor takes 0.1 s: only where there is something to read.
        from rollout.supervision import conf  # noqa: PLC0415

        try:
            read = conf.read(self._conf)
        except Exception as error:  # noqa: BLE001 - a warning must not end a controller's round
            return (f"{self._conf.name} could not be looked at: {error}",)
        if read.programs or not read.problems:
            return ()
        what = "; ".join(read.problems)
        said = f"supervisord could not load its files again ({what})"
        return (f"{said}: `supervisorctl reload` would take everything down",)
