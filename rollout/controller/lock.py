"""That there is only one controller of this checkout, and whether there is one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from rollout.base import settings
from rollout.base.locks import alone, is_locked
from rollout.controller.places import run_file

__all__ = ["is_running", "only_one", "only_one_of_all"]

_PROBED = 1.0
"""Seconds: `is_running` holds the lock for an instant."""


def only_one(deployment: str, seconds: float = _PROBED) -> AbstractContextManager[None]:
    """Hold the lock of this checkout's controller for ``deployment``.

    Two controllers of one checkout share an identity, so the server cannot tell
    them apart. Raises `Failure` where another holds it for ``seconds``.
    """
    path = _lock_file(deployment)
    refusal = f"another controller runs for {deployment} here ({path})"
    return alone(path, refusal, seconds=seconds)


def only_one_of_all() -> AbstractContextManager[None]:
    """Hold the lock of this home's controller for every deployment in it.

    Raises `Failure` where another holds it.
    """
    path = settings.VAR / "run" / "rollout.lock"
    return alone(path, f"another controller runs for all of {settings.ROOT} ({path})")


def is_running(deployment: str) -> bool:
    """Whether a controller of this checkout holds the lock for ``deployment``."""
    return is_locked(_lock_file(deployment))


def _lock_file(deployment: str) -> Path:
    return run_file(deployment, "lock")
