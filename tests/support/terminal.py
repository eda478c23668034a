"""A command on a terminal of its own, as a person would see it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

__all__ = ["Terminal"]

# Becomes the command, with the terminal as its controlling one: Ctrl-C works.
_ATTACH = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """``words`` on 24 lines of 80 columns, without colour."""

    def __init__(self, words: list[str], environ: dict[str, str], folder: Path) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ATTACH, *words], cwd=folder, stdin=slave, stdout=slave,
            stderr=slave, env={**environ, "TERM": "xterm", "NO_COLOR": "1", "LANG": "C.UTF-8"},
        )  # fmt: skip
        os.close(slave)
        os.set_blocking(self._master, False)
        self._text = ""
        self._looked_at = 0

    def text(self) -> str:
        """All that was written so far, control sequences included."""
        while True:
            try:
                block = os.read(self._master, 65536)
            except OSError:  # nothing more now, or it has ended
                return self._text
            if not block:
                return self._text
            self._text += block.decode(errors="replace")

    def shows(self, what: str) -> bool:
        """Whether ``what`` was written after what this found the last time."""
        at = self.text().find(what, self._looked_at)
        if at >= 0:
            self._looked_at = at + len(what)
        return at >= 0

    def type(self, keys: str) -> None:
        """Press these keys; the character 3 is Ctrl-C."""
        os.write(self._master, keys.encode())

    def wait(self, seconds: float = 10) -> int:
        """The exit status, once it has ended."""
        return self._process.wait(seconds)

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)
