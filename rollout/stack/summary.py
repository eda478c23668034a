"""What `up` says at the end: where to look, what happens next, and what to type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from rollout.base.settings import ROOT, metrics_address, prometheus_page
from rollout.prometheus.graphs import switchover_url
from rollout.supervision.launches import Launch

__all__ = ["rollout_status", "text"]

_COMMANDS = (
    ("python -m rollout status", "which build gets new runs, and which may be stopped"),
    ("python -m stack logs -f", "every log, merged"),
    ("supervisorctl status", "the processes"),
    ("supervisorctl stop worker-v1", "once `rollout status` says that it is safe"),
    ("make down", "stops everything"),
)


def text(programs: Sequence[Launch]) -> str:
    """The last words of `up`, for a ready stack that runs ``programs``."""
    places = _places(programs)
    return f"{_table(places)}\n\n{_what_is_next(programs)}\n\n{_table(_COMMANDS)}"


def rollout_status(programs: Sequence[Launch]) -> dict[str, Any]:
    """What ``rollout status --json`` says, or nothing where it cannot say.

    It is asked in the controller's environment: this shell's may name another server.
    """
    environ = next((each.environ for each in programs if each.module() == "rollout"), os.environ)
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


def _places(programs: Sequence[Launch]) -> list[tuple[str, str]]:
    by_name = {launch.name: launch for launch in programs}
    places = []
    if "temporal" in by_name and (ui := by_name["temporal"].flag("--ui-port")):
        places.append(("Temporal", f"http://127.0.0.1:{ui}"))
    if "grafana" in by_name:
        places.append(("Grafana", f"http://127.0.0.1:{by_name['grafana'].ports[0]}"))
    places += [
        (f"{launch.name} metrics", f"http://{_metrics(launch)}/metrics")
        for launch in programs
        if launch.ports and launch.module() is not None
    ]
    # Without Grafana the main panels are a page of Prometheus; last, for it is long.
    url = prometheus_page()
    if "prometheus" in by_name:
        url = f"http://127.0.0.1:{by_name['prometheus'].ports[0]}"
    return [*places, ("Prometheus", url if "grafana" in by_name else switchover_url(url))]


def _metrics(launch: Launch) -> str:
    return metrics_address(launch.ports[0], launch.environ)


def _what_is_next(programs: Sequence[Launch]) -> str:
    status = rollout_status(programs)
    if not status:
        return "New runs move from build to build as rollout.toml says."
    current, target = status["current"], status["target"]
    now = f"{status['phase']}: {status['reason']}"
    if current == target:
        return f"{target}, the target of rollout.toml, gets all new runs ({now})."
    first = f"New runs go to {current}" if current else "New runs go to the baseline first"
    return f"{first} and move to {target} in the steps that rollout.toml sets ({now})."


def _table(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in rows) + 2
    return "\n".join(f"  {left:<{width}}{right}" for left, right in rows)
