"""Network namespaces as hosts: each with a name of its own and one cable, which can be pulled."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["Namespace", "needs_namespaces"]

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

    def __init__(self, name: str, number: int) -> None:
        """``number``, 0 to 255, sets its network, 10.213.NUMBER.0/30, apart from the others'."""
        self._space = f"rollout-{secrets.token_hex(3)}"
        self._cable = f"ro{number}-{secrets.token_hex(3)}"
        self.gateway = f"10.213.{number}.1"
        """Where this machine is reached from inside."""
        own = f"10.213.{number}.2"
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
    def opened(cls, name: str, number: int) -> Iterator[Namespace]:
        """One for the time of the block."""
        made = cls(name, number)
        try:
            yield made
        finally:
            made.remove()


def _ip(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=30)
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done
