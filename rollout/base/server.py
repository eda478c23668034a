"""Which Temporal server and namespace this process's environment names, without asking it.

As `rollout.base.connect` finds them; temporalio is imported only where a profile or a
configuration file of the `temporal` CLI has a say.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rollout.base.settings import port

__all__ = ["Server", "asked_server"]

_LOCAL = ("localhost", "[::1]", "0.0.0.0")  # noqa: S104 - as a person may write it
_FROM_FILES = ("TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")


@dataclass(frozen=True)
class Server:
    """Where to ask, and about which namespace."""

    address: str
    namespace: str

    def is_same(self, other: Server) -> bool:
        """Whether both mean one server and one namespace, however this machine is written."""
        return (_plain(self.address), self.namespace) == (_plain(other.address), other.namespace)

    def __str__(self) -> str:
        return f"server {self.address}, namespace {self.namespace}"


def asked_server(environ: Mapping[str, str] = os.environ) -> Server:
    """The server that a client connects to in ``environ``."""
    address, namespace = environ.get("TEMPORAL_ADDRESS"), environ.get("TEMPORAL_NAMESPACE")
    if not (address and namespace) and _has_files(environ):
        from temporalio.envconfig import ClientConfig  # noqa: PLC0415 - see above

        found = ClientConfig.load_client_connect_config(override_env_vars=dict(environ))
        address, namespace = found.get("target_host"), found.get("namespace")
    local = f"127.0.0.1:{port('TEMPORAL_PORT', environ)}"
    return Server(address or local, namespace or "default")


def _has_files(environ: Mapping[str, str]) -> bool:
    if any(environ.get(name) for name in _FROM_FILES):
        return True
    home = Path(environ.get("HOME") or "~").expanduser()
    base = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return (base / "temporalio" / "temporal.toml").exists()


def _plain(address: str) -> str:
    host, _, number = address.lower().rpartition("://")[2].rpartition(":")
    return f"{'127.0.0.1' if host in _LOCAL else host}:{number}"
