"""The one table of environment variables: what each is for, and where it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from docs.source.commands import variables_of_flags
from docs.source.markdown import code, table
from rollout.base.settings import PORTS

__all__ = ["bare", "environment", "variables"]

_TEMPORAL = {
    "TEMPORAL_ADDRESS": "`HOST:PORT` of the Temporal server; default: the embedded one, which is "
    "left out where this is set",
    "TEMPORAL_NAMESPACE": "the namespace; default: `default`",
    "TEMPORAL_API_KEY": "the API key that calls carry; TLS is then on",
    "TEMPORAL_TLS*": "TLS and its files (`TEMPORAL_TLS`, `TEMPORAL_TLS_CLIENT_CERT_PATH`, ...), "
    "as the `temporal` CLI reads them",
    "TEMPORAL_PROFILE": "a profile of the CLI's configuration file; the embedded server is left "
    "out where this is set",
    "XDG_CONFIG_HOME": "where the CLI's configuration file is looked for; default: `~/.config`",
    "TEMPORAL_CONFIG_FILE": "that file; the embedded server is left out where this is set",
}
_PLACES = {
    "ROLLOUT_HOME": "the folder that `rollout init` has set up, or with `rollout.toml` and `var/`; "
    "default: the current folder where it has a `rollout.ini`; else the checkout that the package "
    "lies in; else the current folder where it has a `rollout.toml`; else `~/.config/rollout` or "
    "`/etc/rollout`, the first with a `rollout.ini`",
    "SUPERVISOR_SERVER_URL": "which supervisord is asked (`unix:///run/supervisor.sock`, "
    "`http://127.0.0.1:9001`); default: as `rollout.ini` says, in a checkout its own; supervisord "
    "sets it in what it starts",
    "SUPERVISOR_USERNAME": "the user that it wants; default: as its supervisord.conf says",
    "SUPERVISOR_PASSWORD": "the password that it wants; default: as its supervisord.conf says",
    "PROMETHEUS_URL": "where Prometheus's HTTP API is; default: this machine, PROMETHEUS_PORT",
    "METRICS_HOST": "the address that metrics are served on; default: `127.0.0.1`",
}
_PORTS = {
    "TEMPORAL_PORT": "the embedded Temporal server",
    "TEMPORAL_UI_PORT": "its web UI",
    "TEMPORAL_METRICS_PORT": "its metrics",
    "PROMETHEUS_PORT": "Prometheus",
    "ALERTMANAGER_PORT": "Alertmanager",
    "GRAFANA_PORT": "Grafana",
    "WORKER_V1_METRICS_PORT": "metrics of the demo's v1",
    "WORKER_V2_METRICS_PORT": "metrics of the demo's v2",
    "LOAD_METRICS_PORT": "metrics of the load",
    "EXPORTER_PORT": "metrics of processes and versions",
    "ROLLOUT_METRICS_PORT": "metrics of the controller",
}
_LOGS = {
    "LOG_FORMAT": "`json` or `console`; default: text on a terminal, JSON elsewhere",
    "LOG_LEVEL": "`debug`, `info`, `warning` or `error`; default: `info`",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "a collector that worker, client and load send traces to, as "
    "`http://127.0.0.1:4318` ([how](logs-and-traces.md#traces))",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "the same, in full and for traces alone",
    "OTEL_TRACES_EXPORTER": "`none`: no traces",
    "OTEL_SDK_DISABLED": "`true`: no traces",
    "OTEL_SERVICE_NAME": "what a process calls itself in them; default: `worker`, `load`, `client`",
    "NO_COLOR": "`rollout logs` without colours, whatever its value",
}
_DEMO = {
    "NO_DEMO": "leaves the demo's load out, for workers of your own do not know its workflows",
    "LOAD_RATE": "workflows that the stack's load starts a second; default: 5",
    "GRAFANA_HOME": "an installed Grafana, for `make setup` to take",
    "PROMETHEUS_RELEASES": "a mirror of Prometheus's releases, for `make setup`",
    "GRAFANA_RELEASES": "a mirror of Grafana's releases, for `make setup`",
}
_GIVEN = {
    "BUILD_ID": "in a worker: its build, for activities to read",
    "SUPERVISOR_GROUP_NAME": "set by supervisord in what it starts: its group",
    "SUPERVISOR_PROCESS_NAME": "set by supervisord in what it starts: its name",
    "_ARGCOMPLETE": "set by the shell that asks what may follow (`rollout completion`)",
    "COMP_LINE": "set by that shell: the line so far",
    "SUDO_USER": "set by sudo: who has given a command, for `rollout events`",
    "SUPERVISOR_ENABLED": "set by supervisord in what it starts: that it did",
}


def environment() -> str:
    """A table for each purpose."""
    ports = {name: f"{_PORTS[name]}; default: {number}" for name, number in PORTS.items()}
    parts = (
        ("Where Temporal is", "Read as the `temporal` CLI reads them.", _TEMPORAL),
        ("Where other things are", "", _PLACES),
        ("Ports", "Set one for `make up`, and it moves everywhere.", ports),
        ("A worker's flags", "", variables_of_flags()),
        ("Logs and traces", "", _LOGS),
        ("The demo stack", "", _DEMO),
        ("Set for you", "", _GIVEN),
    )
    return "\n\n".join(_part(*part) for part in parts)


def variables() -> frozenset[str]:
    """Every name in the tables."""
    known = (_TEMPORAL, _PLACES, PORTS, variables_of_flags(), _LOGS, _DEMO, _GIVEN)
    return frozenset(name for names in known for name in names)


@contextmanager
def bare() -> Iterator[None]:
    """For a while none of the variables is set, so that a default is what it is elsewhere."""
    kept = {name: os.environ.pop(name) for name in variables() if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _part(title: str, text: str, names: dict[str, str]) -> str:
    rows = table(("variable", "meaning"), ((code(name), names[name]) for name in names))
    return "\n\n".join(filter(None, (f"### {title}", text, rows)))
