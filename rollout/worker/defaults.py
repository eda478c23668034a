"""What a worker does unless it is told otherwise: the one table of its defaults and its limits."""

from __future__ import annotations

from datetime import timedelta

from rollout.base.settings import DEFAULT_DEPLOYMENT

__all__ = [
    "BEHAVIOR",
    "DEPLOYMENT",
    "DRAIN",
    "HEARTBEAT",
    "MAX_ACTIVITIES",
    "TASK_QUEUE",
    "VERSIONING",
]

DEPLOYMENT = DEFAULT_DEPLOYMENT
TASK_QUEUE = "greetings"
VERSIONING = "deployment"
BEHAVIOR = "pinned"

DRAIN = "10s"
"""How long running activities may take to finish once the worker is told to stop."""

HEARTBEAT = timedelta(seconds=2)
"""How often the server hears that this process lives; the SDK's default is a minute. After five
of them without a word it is taken for dead (`rollout.temporal.workers`)."""

MAX_ACTIVITIES = 100
"""Activities at a time."""
