"""rollout.toml, read again and again: the last good one stays in force."""

from __future__ import annotations

from pathlib import Path

from rollout.base.exit import Misuse
from rollout.core.config import RolloutConfig
from rollout.core.config_file import load

__all__ = ["Intent"]


class Intent:
    """What rollout.toml asks for, and what is wrong with the file where it cannot be followed.

    It tells nobody: each user says in its own way what `problem` is, and when `config` changes.
    """

    def __init__(self, path: Path, *, renamed: str | None = None) -> None:
        """Read the file at ``path``. Raises `Misuse` where it is wrong from the beginning.

        ``renamed`` is what to do where the deployment's name changes, which is then not
        followed; None: it may change.
        """
        self._path = path
        self._renamed = renamed
        self._read = self._edition()
        self.config: RolloutConfig = load(path)
        """The last good one."""
        self.problem: str | None = None
        """Why the file as it is now is not followed, as a sentence; None where it is."""

    def refresh(self) -> RolloutConfig:
        """Read the file where it has changed; what is in force from now on."""
        edition = self._edition()
        if edition is None or edition != self._read:
            self._read = edition
            try:
                self.config, self.problem = self._load(), None
            except Misuse as error:
                self.problem = str(error)
        return self.config

    def _load(self) -> RolloutConfig:
        config = load(self._path)
        if self._renamed and config.deployment.name != self.config.deployment.name:
            raise Misuse(f"deployment.name has changed: {self._renamed}")
        return config

    def _edition(self) -> tuple[int, int, int] | None:
        """What tells one edit from the next; None where the file cannot even be looked up."""
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
