"""Network namespaces as hosts: each with a name of its own and one cable, which can be pulled."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Namespace", "needs_namespaces"]

# Its maker's process id follows.
_PREFIX = "rollout-"
# The first word is the host's name, the others what it runs.
_NAMED = 'hostname "$0" && exec "$@"'


def needs_namespaces() -> None:
    """Skip the test, loudly, where this machine does not allow for namespaces."""
    missing = [word for word in ("ip", "unshare", "hostname") if shutil.which(word) is None]
    if os.geteuid() != 0:
        reason = "only root may make network namespaces"
    elif missing:
        reason = f"there is no {missing[0]} here (Debian: iproute2, util-linux, hostname)"
    else:
        name = f"probe-{secrets.token_hex(2)}"
        made = _ip("netns", "add", name, check=False)
        _ip("netns", "del", name, check=False)
        reason = made.stderr.strip() if made.returncode else ""
    if reason:
        pytest.skip(f"NOT TESTED, several hosts in network namespaces: {reason}")


class Namespace:
    """One host: ``inside`` is what a command begins with that is to run there."""

    def __init__(self, name: str) -> None:
        _sweep()
        self._space = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(3)}"
        self._cable = f"ro-{secrets.token_hex(3)}"
        self.gateway, own = _free_network()
        """Where this machine is reached from inside."""
        there = ("-n", self._space)
        _ip("netns", "add", self._space)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "up0", "netns", self._space)
        _ip("addr", "add", f"{self.gateway}/30", "dev", self._cable)
        _ip(*there, "addr", "add", f"{own}/30", "dev", "up0")
        for words in (("lo",), ("up0",)):
            _ip(*there, "link", "set", *words, "up")
        self.heal()
        within = ("ip", "netns", "exec", self._space, "unshare", "--uts")
        self.inside = (*within, "sh", "-c", _NAMED, name)

    def part(self) -> None:
        """Pull the cable."""
        _ip("link", "set", self._cable, "down")

    def heal(self) -> None:
        """Put it in again."""
        _ip("link", "set", self._cable, "up")

    def remove(self) -> None:
        """Take it away, with its end of the cable."""
        _ip("link", "del", self._cable, check=False)
        _ip("netns", "del", self._space, check=False)

    @classmethod
    @contextmanager
    def opened(cls, name: str) -> Iterator[Namespace]:
        """One for the time of the block."""
        made = cls(name)
        try:
            yield made
        finally:
            made.remove()


def _free_network() -> tuple[str, str]:
    """The two addresses of a network that no other cable has: not even one left behind."""
    taken = _ip("-o", "-4", "addr").stdout
    while True:
        start = f"10.213.{secrets.randbelow(256)}"
        last = 4 * secrets.randbelow(64)
        if f" {start}.{last + 1}/30 " not in taken:
            return f"{start}.{last + 1}", f"{start}.{last + 2}"


def _sweep() -> None:
    """Remove what a test run that was killed has left behind, with its cables."""
    for line in _ip("netns", "list").stdout.splitlines():
        space = line.split()[0]
        maker = space.removeprefix(_PREFIX).partition("-")[0]
        if space.startswith(_PREFIX) and maker.isdigit() and not Path("/proc", maker).exists():
            _ip("netns", "del", space, check=False)  # another may just have done so


def _ip(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=30)
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done
