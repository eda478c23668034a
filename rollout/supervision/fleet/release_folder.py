"""What tells the code in one folder from that in another: a fingerprint of its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from rollout.base.exit import Failure, Misuse

__all__ = ["folder_fingerprint"]

_DEPENDENCIES = ("node_modules", "__pycache__")
_RUNTIME = (".pyc", ".log", ".pid", ".sock")
_MOST_FILES = 20_000
_BLOCK = 1 << 20


def folder_fingerprint(folder: Path) -> str:
    """16 hex digits: the names and contents of the files in ``folder``, its dependencies left out.

    Left out are virtual environments, node_modules and compiled Python, which the lock file beside
    them stands for; what begins with a dot; and logs. Raises `Misuse` where there is nothing or too
    much to read, and `Failure` where a file may not be read.
    """
    digest = hashlib.sha256()
    count = 0
    for count, file in enumerate(_files(folder), start=1):
        if count > _MOST_FILES:
            raise Misuse(f"{folder} holds more than {_MOST_FILES} files: give --fingerprint")
        try:
            _add(digest, file.relative_to(folder), file)
        except OSError as error:
            raise Failure(
                f"{file} cannot be read ({error.strerror}): give --fingerprint, such as a commit id"
            ) from error
    if not count:
        raise Misuse(f"{folder} holds no file that tells its code from another's")
    return digest.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if _is_code(here / name))
        yield from (
            here / name
            for name in sorted(names)
            if not name.startswith(".") and not name.endswith(_RUNTIME)
            if (here / name).is_file()
        )


def _is_code(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in _DEPENDENCIES
    return not hidden and not (folder / "pyvenv.cfg").exists()


def _add(digest: hashlib._Hash, name: Path, file: Path) -> None:
    digest.update(f"{name}\0{file.stat().st_size}\0".encode(errors="surrogateescape"))
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
