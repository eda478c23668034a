"""What the controller could not do in its last round, left for `rollout status` to say."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from rollout.controller import events
from rollout.controller.places import run_file

__all__ = ["Refusals", "last_refusals"]


class Refusals:
    """The refusals of each round: told once, published, and left in a file beside the lock."""

    def __init__(
        self, deployment: str, publish: Callable[[Sequence[str]], None] = lambda _found: None
    ) -> None:
        self._publish = publish
        self._file = _refusal_file(deployment)
        self._told: Sequence[str] = ()
        self.note([])

    def note(self, found: Sequence[str]) -> None:
        """Tell what is new, and leave a word for `status`; nothing is decided by it."""
        for reason in found:
            if reason not in self._told:
                events.log_refused(reason)
        self._told = found
        self._publish(found)
        with contextlib.suppress(OSError):
            if found:
                self._file.write_text("\n".join(found), encoding="utf-8")
            else:
                self._file.unlink(missing_ok=True)


def last_refusals(deployment: str) -> list[str]:
    """What this checkout's controller could not do in its last round; none where it did all."""
    try:
        return _refusal_file(deployment).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _refusal_file(deployment: str) -> Path:
    return run_file(deployment, "refusal")
