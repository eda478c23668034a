"""The last good rollout.toml, kept beside the controller while a person mends the file.

The controller writes down each edition that it follows. While the file itself is broken that copy
is what is wanted: commands change it in the file's place, and a controller that is started
meanwhile follows it. What commands have changed meanwhile is written into the mended file.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from rollout.base import files, settings
from rollout.base.exit import Failure, Misuse
from rollout.core.config import RolloutConfig
from rollout.core.config_file import edit, load, parse, read_text

__all__ = ["Followed", "change", "copy_of", "follow", "keep", "settle", "warning_of"]


@dataclass(frozen=True)
class Followed:
    """What is wanted, and what is wrong with the file where that is not what it says."""

    config: RolloutConfig
    text: str
    problem: str | None = None
    since: datetime | None = None
    """When the last good edition began to be followed, where it is that."""

    @property
    def warning(self) -> str | None:
        """The sentence to say first; None where the file is in order."""
        return self.problem and warning_of(self.problem, self.since)


def warning_of(problem: str, since: datetime | None = None) -> str:
    """What to say first while the file has the ``problem``."""
    of = f", of {since:%Y-%m-%d %H:%M} UTC," if since else ""
    return f"{problem}; until it is mended the last good rollout.toml{of} is followed"


class _Changes(msgspec.Struct):
    """What commands have changed in the copy: each key of [deployment], before and after."""

    before: dict[str, str | bool | None] = {}
    after: dict[str, str | bool | None] = {}


def copy_of(path: Path) -> Path:
    """Where the last good edition of the file at ``path`` is kept."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    return settings.VAR / "run" / f"rollout-{digest}.last-good.toml"


def follow(path: Path) -> Followed:
    """What the file at ``path`` says; the last good edition where it is broken.

    Raises `Misuse` where it is broken, and no last good edition is known.
    """
    try:
        text = read_text(path)
        return Followed(parse(text, path.name), text)
    except Misuse as error:
        try:
            kept = read_text(copy_of(path))
            since = datetime.fromtimestamp(copy_of(path).stat().st_mtime, tz=timezone.utc)
            return Followed(parse(kept, copy_of(path).name), kept, str(error), since)
        except (Misuse, OSError):
            raise error from None


def keep(path: Path, text: str) -> None:
    """Write down an edition that is followed; a disk that is full does not end anything."""
    copy = copy_of(path)
    with contextlib.suppress(OSError):
        if not copy.exists() or copy.read_bytes() != text.encode():
            copy.parent.mkdir(parents=True, exist_ok=True)
            files.replace(copy, text)


def change(path: Path, **values: str | bool | None) -> str | None:
    """`edit` of ``[deployment]``; where the file is broken, of its last good edition.

    Returns what is wrong with the file then, as a sentence; None where it is in order. Raises
    `Misuse` where there is neither.
    """
    followed = follow(path)
    if followed.problem is None:
        edit(path, "deployment", **values)
        return None
    before = msgspec.to_builtins(followed.config.deployment, enc_hook=str)
    noted = _noted(path)
    for key, value in values.items():
        noted.before.setdefault(key, before[key])
        noted.after[key] = value
    try:
        files.replace(_changes_of(path), msgspec.json.encode(noted))
        edit(copy_of(path), "deployment", **values)
    except OSError as error:
        raise Failure(f"{followed.problem}; and {copy_of(path)}: {error}") from error
    return followed.problem


def settle(path: Path) -> Mapping[str, str | bool | None]:
    """Write into the mended file what was changed in its copy meanwhile; which keys that were.

    A key that the mended file gives another value than the last good edition did is a person's
    wish, and stays. Raises `Misuse` where the file is still broken, or cannot be written.
    """
    noted = _noted(path)
    if not noted.after:
        return {}
    now: dict[str, Any] = msgspec.to_builtins(load(path).deployment, enc_hook=str)
    wanted = {k: v for k, v in noted.after.items() if now.get(k) == noted.before.get(k) != v}
    if wanted:
        try:
            edit(path, "deployment", **wanted)
        except OSError as error:
            raise Misuse(f"{path} cannot be written: {error}") from error
    _changes_of(path).unlink(missing_ok=True)
    return wanted


def _changes_of(path: Path) -> Path:
    return copy_of(path).with_suffix(".changes.json")


def _noted(path: Path) -> _Changes:
    try:
        return msgspec.json.decode(_changes_of(path).read_bytes(), type=_Changes)
    except (OSError, msgspec.MsgspecError):
        return _Changes()
