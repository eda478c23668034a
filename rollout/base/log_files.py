"""Reads the stack's log files: rotated ones first, and then on as they grow."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from rollout.base.log_records import Record, records

__all__ = ["COMMANDS_LOG", "LogFile", "merged", "programs"]

COMMANDS_LOG = "commands"
"""The name of the log in which commands that change something are noted."""


def programs(folder: Path) -> list[str]:
    """The names of the programs that have a log in ``folder``."""
    return sorted(file.stem for file in folder.glob("*.log"))


def merged(logs: Sequence[LogFile]) -> Iterator[Record]:
    """Every record that is in ``logs`` now, by time, one in memory a file."""
    return heapq.merge(*(log.history() for log in logs), key=lambda record: record.time)


class LogFile:
    """The log of one program: NAME.log, with NAME.log.1 and so on before it."""

    def __init__(self, folder: Path, program: str) -> None:
        self.program = program
        self._path = folder / f"{program}.log"
        self._file: BinaryIO | None = None
        self._partial = b""
        self._last: float | None = None

    def history(self) -> Iterator[Record]:
        """All that is there now, oldest first; `news` goes on from its end."""
        # Opened first: if it is rotated meanwhile, nothing is read twice.
        self._open()
        rotated = [(_number(file), file) for file in self._path.parent.glob(f"{self._path.name}.*")]
        older = [file for number, file in sorted(rotated, reverse=True) if number]
        for record in records(self.program, self._all_lines(older)):
            self._last = record.time
            yield record

    def news(self) -> list[Record]:
        """The records that were written since the last call."""
        lines = list(self._lines())
        if self._moved_on():
            lines += self._lines()  # what came between the last read and the rotation
            self._open()
            lines += self._lines()
        found = list(records(self.program, lines, self._last))
        if found:
            self._last = found[-1].time
        return found

    def _all_lines(self, older: Sequence[Path]) -> Iterator[str]:
        for file in older:
            try:
                with file.open("rb") as log:
                    for line in log:
                        yield _text(line)
            except FileNotFoundError:  # rotated away since it was listed
                continue
        yield from self._lines()

    def _lines(self) -> Iterator[str]:
        """The complete lines from where the last read ended."""
        if self._file is None:
            return
        for line in self._file:
            whole = self._partial + line
            if not whole.endswith(b"\n"):
                self._partial = whole
                return
            self._partial = b""
            yield _text(whole)

    def _moved_on(self) -> bool:
        """Whether the path now leads to another file, or the file was emptied."""
        try:
            there = self._path.stat()
        except FileNotFoundError:  # in the middle of a rotation
            return False
        if self._file is None:
            return True
        here = os.fstat(self._file.fileno())
        return here.st_ino != there.st_ino or here.st_size < self._file.tell()

    def _open(self) -> None:
        if self._file is not None:
            self._file.close()
        self._partial = b""
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            self._file = None


def _number(file: Path) -> int:
    """2 for NAME.log.2, and 0 for any other file."""
    suffix = file.suffix.removeprefix(".")
    return int(suffix) if suffix.isdecimal() else 0


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").rstrip("\r\n")
