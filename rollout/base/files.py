"""Files that are replaced whole, and what tells one edit of a file from the next."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollout.base.exit import Misuse

__all__ = ["Edition", "alone_in", "edition", "replace"]

_NEW = ".new"

Edition = tuple[int, int, int]


def edition(path: Path) -> Edition | None:
    """What tells one edit of a file from the next; None where it cannot even be looked up."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold ``folder`` itself, for the milliseconds that a change of a file in it takes.

    It is for a person's own folder: nothing is left lying there, as a lock file would be.
    Raises `Misuse` where there is no such folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise Misuse(f"{folder} cannot be read: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace(file: Path, content: str | bytes, *, mode: int | None = None) -> None:
    """Make ``file`` hold ``content``; a reader, or a crash, finds the old content or the new.

    A link stays one. Its mode stays as it is, unless ``mode`` says otherwise; that of a new
    file is ``mode``, or what the umask gives. The temporary file beside it begins with a dot
    and ends with ``.new``.
    """
    file = file.resolve()
    data = content.encode() if isinstance(content, str) else content
    wanted = mode if mode is not None else _mode(file)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}{_NEW}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    descriptor = os.open(temporary, flags, 0o666 if wanted is None else wanted)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            if wanted is not None:  # the umask is for new files
                os.fchmod(descriptor, wanted)
            opened.write(data)
            opened.flush()
            os.fsync(descriptor)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _mode(file: Path) -> int | None:
    try:
        return file.stat().st_mode & 0o777
    except FileNotFoundError:
        return None
