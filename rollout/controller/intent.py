"""rollout.toml, read again and again: the last good one stays in force."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rollout.base.exit import Misuse
from rollout.base.files import Edition, edition
from rollout.controller.last_good import copy_of, follow, keep, settle
from rollout.core.config import RolloutConfig
from rollout.core.config_file import parse, read_text

__all__ = ["Intent"]


class Intent:
    """What rollout.toml asks for, and what is wrong with the file where it cannot be followed.

    It tells nobody: each user says in its own way what `problem` is, and when `config` changes.
    """

    def __init__(self, path: Path, *, renamed: str | None = None, keeps: bool = False) -> None:
        """Read the file at ``path``, or its last good edition where it is broken.

        Raises `Misuse` where neither can be followed. ``renamed`` is what to do where the
        deployment's name changes, which is then not followed; None: it may change. Who ``keeps``
        is the controller: it writes down each edition that it follows.
        """
        self._path = path
        self._renamed = renamed
        self._keeps = keeps
        self._read = edition(path)
        if keeps:
            self._settle()
        followed = follow(path)
        self.config: RolloutConfig = followed.config
        """The last good one."""
        self.text = followed.text
        """It, as written."""
        self.problem: str | None = followed.problem
        """Why the file as it is now is not followed, as a sentence; None where it is."""
        self._copied: Edition | None = None
        self._note()

    def has_changed(self) -> bool:
        """Whether the file is another than at the last `refresh`."""
        return edition(self._path) != self._read

    def refresh(self) -> RolloutConfig:
        """Read the file where it has changed; what is in force from now on."""
        found = edition(self._path)
        if found is None or found != self._read:
            self._read = found
            self._take()
        elif self.problem and edition(copy_of(self._path)) != self._copied:
            self._take_copy()
        return self.config

    def _take(self) -> None:
        if self._keeps:
            self._settle()
        try:
            self._follow(self._path)
        except Misuse as error:
            self.problem = str(error)
            self._take_copy()
        else:
            self.problem = None
            self._note()

    def _take_copy(self) -> None:
        """Follow what commands have made of the last good edition meanwhile."""
        copy = copy_of(self._path)
        if edition(copy) != self._copied:
            with contextlib.suppress(Misuse):
                self._follow(copy)
            self._copied = edition(copy)

    def _follow(self, path: Path) -> None:
        text = read_text(path)
        config = parse(text, path.name)
        if self._renamed and config.deployment.name != self.config.deployment.name:
            raise Misuse(f"deployment.name has changed: {self._renamed}")
        self.config, self.text = config, text

    def _settle(self) -> None:
        with contextlib.suppress(Misuse):  # it is still broken, and then that is told
            settle(self._path)

    def _note(self) -> None:
        if self._keeps and self.problem is None:
            keep(self._path, self.text)
        self._copied = edition(copy_of(self._path))
