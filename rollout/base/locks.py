"""Locks that die with their holder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rollout.base.exit import Failure
from rollout.base.waiting import until

__all__ = ["alone", "alone_patiently", "is_locked"]

_INSTANT = 0.3
"""Seconds after which a lock is held by somebody, and not by a look of `is_locked`."""


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


def _file_lock(lock: Path) -> FileLock:
    lock.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(lock, mode=0o600, thread_local=False)
