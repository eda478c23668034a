"""Word to a controller that something has changed, so that it looks now instead of at its own pace.

Losing one costs some seconds and nothing else.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timezone

from rollout.controller.places import run_file

__all__ = ["nudge", "nudged", "nudged_at"]


def nudge(deployment: str, build_id: str = "") -> None:
    """Let the controller of ``deployment`` on this machine look, at ``build_id`` in particular."""
    file = run_file(deployment, "changed")
    with contextlib.suppress(OSError):
        if file.parent.is_dir():
            file.write_text(build_id)


def nudged(deployment: str) -> str:
    """The build that the last nudge was about; empty where it was about none."""
    try:
        return run_file(deployment, "changed").read_text()
    except OSError:
        return ""


def nudged_at(deployment: str) -> datetime | None:
    """When somebody last said that something has changed; None where nobody has."""
    try:
        written = run_file(deployment, "changed").stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(written, tz=timezone.utc)
