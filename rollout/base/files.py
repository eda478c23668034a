"""Locks that die with their holder, and files that are replaced whole."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rollout.base.exit import Failure, Misuse
from rollout.base.waiting import until

__all__ = ["Edition", "alone", "alone_in", "alone_patiently", "edition", "is_locked", "replace"]

_NEW = ".new"

Edition = tuple[int, int, int]

_INSTANT = 0.3
"""Seconds after which a lock is held by somebody, and not by a look of `is_locked`."""


def edition(path: Path) -> Edition | None:
    """What tells one edit of a file from the next; None where it cannot even be looked up."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


@contextmanager
def alone(lock: Path, refusal: str, *, seconds: float = 0.0) -> Iterator[None]:
    """Hold ``lock``; the kernel lets go of it however its holder ends.

    Raises `Failure` with the sentence ``refusal`` where somebody else holds it for ``seconds``.
    """
    held = _file_lock(lock)
    try:
        held.acquire(timeout=max(seconds, _INSTANT), poll_interval=0.05)
    except Timeout as error:
        raise Failure(refusal) from error
    try:
        yield
    finally:
        held.release()


@asynccontextmanager
async def alone_patiently(
    lock: Path, refusal: str, *, seconds: float, waiting: Callable[[], None] = lambda: None
) -> AsyncIterator[None]:
    """`alone`, without holding the event loop up; ``waiting`` is called once where it waits."""
    held = _file_lock(lock)

    async def taken() -> bool:
        try:
            held.acquire(timeout=0)
        except Timeout:
            return False
        return True

    if not await taken():
        waiting()
        if not await until(taken, max(seconds, _INSTANT)):
            raise Failure(refusal)
    try:
        yield
    finally:
        held.release()


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


def is_locked(lock: Path) -> bool:
    """Whether somebody holds ``lock``; a lock of another user's counts as held.

    To find out it is held for an instant, which `alone` allows for.
    """
    if not lock.exists():
        return False
    probe = _file_lock(lock)
    try:
        probe.acquire(timeout=0)
    except (Timeout, PermissionError):
        return True
    probe.release()
    return False


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


def _file_lock(lock: Path) -> FileLock:
    lock.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(lock, mode=0o600, thread_local=False)
