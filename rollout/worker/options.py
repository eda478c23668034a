"""What a worker was told by its command line or its environment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from rollout.worker import defaults

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """A worker's options, checked."""

    build_id: str
    strategy: str
    """Empty where its versioning takes none."""
    deployment: str
    task_queue: str
    metrics_port: int | None
    managed: bool
    """Whether it only declares its build, and the controller routes."""
    allow_changed_code: bool
    drain: timedelta
    """How long running activities may take to finish once the worker is told to stop."""
    versioning: str = defaults.VERSIONING
    """A name in `rollout.worker.versioning.VERSIONINGS`."""
    behavior: str = defaults.BEHAVIOR
    """Of workflows that say nothing themselves: a name in `BEHAVIORS` there."""
    more_task_queues: tuple[str, ...] = ()
    """What it polls beside ``task_queue``."""

    @property
    def task_queues(self) -> tuple[str, ...]:
        """All that it polls."""
        return (self.task_queue, *self.more_task_queues)
