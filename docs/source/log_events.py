"""The table of the events that are logged about a rollout."""

from __future__ import annotations

from docs.source.markdown import code, table
from rollout.core.event_names import EVENTS

__all__ = ["log_events"]


def log_events() -> str:
    """A row for each stable name."""
    return table(("event_name", "meaning"), ((code(n), text) for n, text in EVENTS.items()))
