"""Where things are: the one table of ports, and the folders.

Each port has an environment variable of the same name in ``supervisord.conf``
(written there as ``${TEMPORAL_PORT:-7233}``), so that one setting moves a
service everywhere at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from stack.exit import Misuse

__all__ = [
    "LOG_DIR",
    "PORTS",
    "ROLLOUT_FILE",
    "ROOT",
    "SOCKET",
    "SUPERVISORD_CONF",
    "TARGETS_DIR",
    "TOOLS_DIR",
    "VAR",
    "VENV_BIN",
    "embedded_temporal",
    "local_url",
    "metrics_host",
    "port",
    "prometheus_url",
    "temporal_address",
]

ROOT = Path(__file__).resolve().parents[1]
VAR = ROOT / "var"
LOG_DIR = VAR / "log"
TOOLS_DIR = VAR / "tools"
VENV_BIN = ROOT / ".venv" / "bin"
SUPERVISORD_CONF = ROOT / "supervisord.conf"
SOCKET = VAR / "run" / "supervisor.sock"
TARGETS_DIR = VAR / "targets"  # Prometheus's file_sd, written by the exporter
ROLLOUT_FILE = ROOT / "rollout.toml"

PORTS: Mapping[str, int] = {
    "TEMPORAL_PORT": 7233,
    "TEMPORAL_UI_PORT": 8233,
    "PROMETHEUS_PORT": 9090,
    "GRAFANA_PORT": 3000,
    "WORKER_V1_METRICS_PORT": 9101,
    "WORKER_V2_METRICS_PORT": 9102,
    "LOAD_METRICS_PORT": 9191,
    "EXPORTER_PORT": 9192,
    "ROLLOUT_METRICS_PORT": 9193,
}


def port(name: str, environ: Mapping[str, str] = os.environ) -> int:
    """The TCP port called ``name`` in `PORTS`, unless the environment moves it.

    Raises `Misuse` where the environment holds something that is no port.
    """
    text = environ.get(name)
    if text is None:
        return PORTS[name]
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise Misuse(f"{name}={text!r} is not a port: give a number from 1 to 65535")
    return int(text)


def local_url(name: str) -> str:
    """The loopback address of the service that listens on port ``name``."""
    return f"http://127.0.0.1:{port(name)}"


def metrics_host() -> str:
    """The address that metrics are served on: loopback, unless METRICS_HOST names another.

    A Prometheus on another machine needs one that it can reach.
    """
    return os.environ.get("METRICS_HOST") or "127.0.0.1"


def prometheus_url() -> str:
    """Where Prometheus's HTTP API is: ``PROMETHEUS_URL``, or this stack's own."""
    return os.environ.get("PROMETHEUS_URL") or local_url("PROMETHEUS_PORT")


def embedded_temporal(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this stack runs a Temporal server of its own.

    It does unless the environment names another: an address, a profile or a
    configuration file of the `temporal` CLI.
    """
    names = ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")
    return not any(environ.get(name) for name in names)


def temporal_address() -> str:
    """``host:port`` of the embedded Temporal server."""
    return f"127.0.0.1:{port('TEMPORAL_PORT')}"
