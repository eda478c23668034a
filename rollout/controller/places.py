"""The files that a controller leaves in var/run, by the name of its deployment."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import quote

from rollout.base import settings

__all__ = ["run_file"]

_LONGEST = 180
"""Characters of a file's name that a deployment's may take; the server accepts more."""


def run_file(deployment: str, ending: str) -> Path:
    """``var/run/rollout-DEPLOYMENT.ENDING``, whatever the deployment is called."""
    name = quote(deployment, safe="")
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(deployment.encode()).hexdigest()[:8]}"
    return settings.VAR / "run" / f"rollout-{name}.{ending}"
