"""Locks that die with their holder, and files that are replaced whole."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollout.base.exit import Failure
from rollout.base.files import replace
from rollout.base.locks import alone, alone_patiently, is_locked
from tests.support.waiting import eventually

_HOLDER = """
import sys, time
from pathlib import Path
from rollout.base.locks import alone
with alone(Path(sys.argv[1]), "taken"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock in a folder that is not there yet."""
    return tmp_path / "run" / "it.lock"


@contextmanager
def held_elsewhere(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    words = [sys.executable, "-c", _HOLDER, str(lock)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


class TestLocks:
    """One at a time."""

    def test_free(self, lock: Path) -> None:
        """Nobody holds a lock that is not there, nor one whose holder is done."""
        assert not is_locked(lock)
        assert not lock.parent.exists(), "to ask creates nothing"
        with alone(lock, "taken"):
            assert is_locked(lock)
        assert not is_locked(lock)

    def test_refused(self, lock: Path) -> None:
        """A second is refused with the sentence that it gave, in the same process as well."""
        with (
            alone(lock, "first"),
            pytest.raises(Failure, match=r"^somebody else does it$"),
            alone(lock, "somebody else does it"),
        ):
            pytest.fail("two hold it")

    def test_a_look_is_no_holder(self, lock: Path) -> None:
        """Who only looks whether it is held keeps nobody out."""
        with alone(lock, "taken"):
            pass
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        end_of_the_look = threading.Timer(0.05, os.close, [descriptor])
        end_of_the_look.start()
        with alone(lock, "taken"):
            assert is_locked(lock)
        end_of_the_look.join()

    def test_the_holder_is_killed(self, lock: Path) -> None:
        """The kernel lets go of the lock of a process that could not."""
        with held_elsewhere(lock) as holder:
            assert is_locked(lock)
            with pytest.raises(Failure, match="taken"), alone(lock, "taken"):
                pytest.fail("two hold it")
            holder.send_signal(signal.SIGKILL)
            holder.wait(10)
            with alone(lock, "taken"):
                pass

    def test_a_child_does_not_inherit_it(self, lock: Path) -> None:
        """A program that is started under the lock and goes on does not keep it."""
        with alone(lock, "taken"):
            child = subprocess.Popen(["sleep", "60"], close_fds=False)
        try:
            assert not is_locked(lock)
        finally:
            child.kill()
            child.wait()

    def test_it_waits_its_turn(self, lock: Path) -> None:
        """With time given, the lock is had once its holder is done."""
        with held_elsewhere(lock) as holder:
            os.kill(holder.pid, signal.SIGTERM)
            with alone(lock, "taken", seconds=30):
                assert is_locked(lock)

    async def test_patiently(self, lock: Path) -> None:
        """The event loop goes on meanwhile, and it is said once that somebody else is busy."""
        told = asyncio.Event()
        done: list[str] = []

        async def second() -> None:
            async with alone_patiently(lock, "taken", seconds=30, waiting=told.set):
                done.append("second")

        async with alone_patiently(lock, "taken", seconds=0):
            waiting = asyncio.create_task(second())
            await asyncio.wait_for(told.wait(), 30)
            done.append("first")
        await asyncio.wait_for(waiting, 30)
        assert done == ["first", "second"]
        assert not is_locked(lock)

    async def test_patience_ends(self, lock: Path) -> None:
        """Held for too long it is a refusal, after the time that was given."""
        began = time.monotonic()
        with alone(lock, "first"), pytest.raises(Failure, match=r"^still busy$"):
            async with alone_patiently(lock, "still busy", seconds=0.3):
                pytest.fail("two hold it")
        assert time.monotonic() - began >= 0.2

    async def test_cancelled(self, lock: Path) -> None:
        """Who is cancelled while it waits, or while it holds it, leaves it free."""
        waits, holds = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with alone_patiently(lock, "taken", seconds=30, waiting=waits.set):
                holds.set()
                await asyncio.sleep(60)

        holding, waiting = asyncio.create_task(hold()), asyncio.create_task(hold())
        await asyncio.wait_for(asyncio.gather(holds.wait(), waits.wait()), 30)
        for task in (waiting, holding):
            task.cancel()
        await asyncio.gather(holding, waiting, return_exceptions=True)
        assert not is_locked(lock)


class TestReplace:
    """A file is the old one or the new one, whole."""

    def test_new(self, tmp_path: Path) -> None:
        """A new file has the mode that the umask gives, as any other."""
        (tmp_path / "plain").touch()
        replace(tmp_path / "new", "ä\n")
        assert (tmp_path / "new").read_bytes() == b"\xc3\xa4\n"
        assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode

    def test_mode_stays(self, tmp_path: Path) -> None:
        """The mode is kept, unless another is asked for."""
        file = tmp_path / "file"
        file.write_text("old")
        file.chmod(0o640)
        replace(file, b"new")
        assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o640)
        replace(file, "newer", mode=0o600)
        assert file.stat().st_mode & 0o777 == 0o600

    def test_a_link_stays_one(self, tmp_path: Path) -> None:
        """What is linked to is replaced, where it is, and the link leads there still."""
        (tmp_path / "there").mkdir()
        target, link = tmp_path / "there" / "target", tmp_path / "link"
        target.write_text("old")
        link.symlink_to("there/target")
        replace(link, "new")
        assert link.is_symlink()
        assert target.read_text() == "new"
        assert [path.name for path in target.parent.iterdir()] == ["target"]

    def test_a_failure_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the disk is full the old file is whole, and nothing lies beside it."""

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        file = tmp_path / "file"
        file.write_text("old")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            replace(file, "new")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert file.read_text() == "old"

    def test_a_folder_that_is_missing(self, tmp_path: Path) -> None:
        """It is told as what it is, an OSError."""
        with pytest.raises(FileNotFoundError):
            replace(tmp_path / "none" / "file", "new")

    def test_readers_find_one_or_the_other(self, tmp_path: Path) -> None:
        """Read again and again while it is replaced, it is never partly there."""
        file = tmp_path / "file"
        texts = {"a" * 100_000, "b" * 200_000}
        first, second = texts
        replace(file, first)
        code = (
            "import sys; from pathlib import Path; from rollout.base.files import replace\n"
            "for _ in range(20):\n"
            "    for text in ('a' * 100_000, 'b' * 200_000): replace(Path(sys.argv[1]), text)"
        )
        with subprocess.Popen([sys.executable, "-c", code, str(file)]) as writer:
            eventually(lambda: file.read_text() in texts and writer.poll() is not None)
        assert writer.returncode == 0
        assert file.read_text() in {first, second}
