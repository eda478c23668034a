"""What `up` says at the end: where to look, what happens next, and what to type."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from stack.check import Launch
from stack.graphs import switchover_url
from stack.settings import ROOT, local_url, prometheus_url

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
    return f"{_table(places)}\n\n{_what_is_next()}\n\n{_table(_COMMANDS)}"


def rollout_status() -> dict[str, Any]:
    """What ``rollout status --json`` says, or nothing where it cannot say."""
    done = subprocess.run(
        [sys.executable, "-m", "rollout", "status", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    status: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return status


def _places(programs: Sequence[Launch]) -> list[tuple[str, str]]:
    names = {launch.name for launch in programs}
    places = []
    if "temporal" in names:
        places.append(("Temporal", local_url("TEMPORAL_UI_PORT")))
    if "grafana" in names:
        places.append(("Grafana", local_url("GRAFANA_PORT")))
    places += [
        (f"{launch.name} metrics", f"http://127.0.0.1:{launch.ports[0]}/metrics")
        for launch in programs
        if launch.ports and launch.module() is not None
    ]
    # Without Grafana the main panels are a page of Prometheus; last, for it is long.
    url = prometheus_url()
    return [*places, ("Prometheus", url if "grafana" in names else switchover_url(url))]


def _what_is_next() -> str:
    status = rollout_status()
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
