"""What supervisord calls the states of a process."""

from __future__ import annotations

__all__ = ["STATES"]

STATES = (
    "STOPPED",
    "STARTING",
    "RUNNING",
    "BACKOFF",
    "STOPPING",
    "EXITED",
    "FATAL",
    "UNKNOWN",
)
"""Every state a process can be in (http://supervisord.org/subprocess.html#process-states)."""
