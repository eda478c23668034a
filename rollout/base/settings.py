"""Where things are: the one table of ports, and the folders.

A folder below ``ROOT`` may be missing: who writes there makes it, and who reads finds nothing.

Each port has an environment variable of the same name in ``supervisord.conf``
(written there as ``${TEMPORAL_PORT:-7233}``), so that one setting moves a
service everywhere at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from rollout.base.exit import Misuse
from rollout.base.home import Home, find_home

__all__ = [
    "DEFAULT_DEPLOYMENT",
    "DEFAULT_TASK_QUEUE",
    "HOME",
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
    "host_port",
    "local_url",
    "metrics_address",
    "metrics_host",
    "metrics_probe_host",
    "port",
    "prometheus_page",
    "prometheus_url",
    "supervisor_url",
    "temporal_address",
]


def _programs_of(root: Path) -> Path:
    """Where supervisord and the like are: ``root``'s .venv, else beside the Python that runs."""
    own = root / ".venv" / "bin"
    return own if own.is_dir() else Path(sys.executable).parent


HOME = find_home()
ROOT = HOME.folder
VAR = HOME.state
LOG_DIR = HOME.logs
TOOLS_DIR = VAR / "tools"
VENV_BIN = _programs_of(ROOT)
SUPERVISORD_CONF = HOME.supervisord_conf
SOCKET = (
    Path(HOME.server.removeprefix("unix://"))
    if HOME.server and HOME.server.startswith("unix://")
    else VAR / "run" / "supervisor.sock"
)
TARGETS_DIR = VAR / "targets"  # Prometheus's file_sd, written by the exporter
ROLLOUT_FILE = HOME.config

# Of a worker, and of a rollout.toml, that is told no other.
DEFAULT_DEPLOYMENT = "greetings"
DEFAULT_TASK_QUEUE = "greetings"

PORTS: Mapping[str, int] = {
    "TEMPORAL_PORT": 7233,
    "TEMPORAL_UI_PORT": 8233,
    "TEMPORAL_METRICS_PORT": 9190,
    "PROMETHEUS_PORT": 9090,
    "ALERTMANAGER_PORT": 9093,
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
    return _metrics_host(os.environ)


def metrics_probe_host(environ: Mapping[str, str] = os.environ) -> str:
    """Where this machine itself reaches what is served on `metrics_host`.

    That is loopback, unless metrics are served on one address that is another.
    """
    host = _metrics_host(environ)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def metrics_address(number: int, environ: Mapping[str, str] = os.environ) -> str:
    """``host:port`` of the metrics on port ``number``, for this machine to scrape."""
    return host_port(metrics_probe_host(environ), number)


def host_port(host: str, number: int) -> str:
    """``host:number``, and ``[host]:number`` for an IPv6 address."""
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def _metrics_host(environ: Mapping[str, str]) -> str:
    # An IPv6 address is often written as in a URL; sockets want it bare.
    return environ.get("METRICS_HOST", "").strip("[]") or "127.0.0.1"


def prometheus_page() -> str:
    """`prometheus_url` for people to see: without the user and password that it may hold."""
    parts = urlsplit(prometheus_url())
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


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


def supervisor_url(environ: Mapping[str, str] = os.environ, home: Home = HOME) -> str:
    """Where the supervisord of ``home`` is asked, as SUPERVISOR_SERVER_URL is written.

    A home that has a supervisord.conf of its own and no rollout.ini, such as a checkout, is asked
    on its own socket alone: a variable of another's must not shut it down. Elsewhere a person's
    SUPERVISOR_SERVER_URL counts, then rollout.ini, and last the variable of the supervisord that
    has started this process, which need not be the one that is meant.
    """
    own = f"unix://{SOCKET}"
    if not home.is_set_up and home.supervisord_conf.is_file():
        return own
    told = environ.get("SUPERVISOR_SERVER_URL") or ""
    by_person = "" if environ.get("SUPERVISOR_ENABLED") else told
    return by_person or home.server or told or own
