"""Whether a server could listen on an address of this machine."""

from __future__ import annotations

import socket

__all__ = ["can_listen"]


def can_listen(host: str, number: int = 0) -> bool:
    """Whether a server could listen there; with port 0, whether ``host`` is of this machine."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Without it a port reads as taken for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except (OSError, OverflowError):
            return False
    return True
