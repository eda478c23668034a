"""Who this checkout's controller is to the server."""

from __future__ import annotations

import socket

from rollout.base import settings

__all__ = ["own_identity"]


def own_identity() -> str:
    """Who manages the deployment: this checkout on this machine, whoever runs it."""
    return f"rollout@{socket.gethostname()}:{settings.ROOT}"
