"""What `up` says at the end: where to look, what happens next, and what to type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from rollout.base.settings import ROOT, metrics_address, prometheus_page
from rollout.prometheus.pages import alerts_page
from rollout.supervision.programs import Command

__all__ = ["rollout_status", "text"]

_COMMANDS = (
    ("rollout status", "which build gets new runs, and which may be stopped"),
    ("rollout logs -f", "every log, merged"),
    ("supervisorctl status", "the processes"),
    ("supervisorctl stop worker-v1", "once `rollout status` says that it is safe"),
    ("make down", "stops everything"),
)


def text(programs: Sequence[Command]) -> str:
    """The last words of `up`, for a ready stack that runs ``programs``."""
    places = _places(programs)
    return f"{_table(places)}\n\n{_what_is_next(programs)}\n\n{_table(_COMMANDS)}"


def rollout_status(programs: Sequence[Command]) -> dict[str, Any]:
    """What ``rollout status --json`` says, or nothing where it cannot say.

    It is asked in the controller's environment: this shell's may name another server.
    """
    environ = next((each.environ for each in programs if each.kind == "controller"), os.environ)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "rollout", "status", "--json"],
            cwd=ROOT,
            env=dict(environ),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except subprocess.TimeoutExpired:
        return {}
    status: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return status


def _places(programs: Sequence[Command]) -> list[tuple[str, str]]:
    by_kind = {command.kind: command for command in programs}
    places = _live_page(by_kind.get("controller"))
    if "temporal" in by_kind and (ui := by_kind["temporal"].flag("--ui-port")):
        places.append(("Temporal", f"http://127.0.0.1:{ui}"))
    if "grafana" in by_kind:
        places.append(("Grafana", f"http://127.0.0.1:{by_kind['grafana'].ports[0]}"))
    if "alertmanager" in by_kind:
        port = by_kind["alertmanager"].metrics_port
        places.append(("Alertmanager", f"http://127.0.0.1:{port}"))
    places += [
        (
            f"{each.name} metrics",
            f"http://{metrics_address(each.metrics_port, each.environ)}/metrics",
        )
        for each in programs
        if each.is_ours and each.metrics_port is not None
    ]
    url = prometheus_page()
    if "prometheus" in by_kind:
        url = f"http://127.0.0.1:{by_kind['prometheus'].ports[0]}"
    return [*places, ("Prometheus", url), ("alerts", alerts_page(url))]


def _live_page(controller: Command | None) -> list[tuple[str, str]]:
    """The page that shows the rollout."""
    if controller is None or controller.metrics_port is None:
        return []
    address = metrics_address(controller.metrics_port, controller.environ)
    return [("live page", f"http://{address}/")]


def _what_is_next(programs: Sequence[Command]) -> str:
    status = rollout_status(programs)
    if not status:
        return "New runs move from build to build as rollout.toml says."
    current, target = status["current"], status["target"]
    now = f"{status['phase']}: {status['reason']}"
    if current is None and not any(each.kind == "worker" for each in programs):
        return f"No worker runs here yet: `rollout add BUILD` starts those of a build ({now})."
    if current == target:
        return f"{target}, the target of rollout.toml, gets all new runs ({now})."
    first = f"New runs go to {current}" if current else "New runs go to the baseline first"
    return f"{first} and move to {target} in the steps that rollout.toml sets ({now})."


def _table(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in rows) + 2
    return "\n".join(f"  {left:<{width}}{right}" for left, right in rows)
