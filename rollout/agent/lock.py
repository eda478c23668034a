"""That there is only one agent of a home for a deployment, and whether there is one."""

from __future__ import annotations

from contextlib import AbstractContextManager

from rollout.base.locks import alone, is_locked
from rollout.controller.lock import is_running
from rollout.controller.places import run_file

__all__ = ["is_worker_host", "only_agent"]

_PROBED = 1.0


def only_agent(deployment: str) -> AbstractContextManager[None]:
    """Hold the lock of this home's `rollout host`. Raises `Failure` where another holds it."""
    path = run_file(deployment, "host.lock")
    return alone(path, f"another `rollout host` runs for {deployment} here", seconds=_PROBED)


def is_worker_host(deployment: str) -> bool:
    """Whether a `rollout host` of this home runs for ``deployment``, and no controller does."""
    return is_locked(run_file(deployment, "host.lock")) and not is_running(deployment)
