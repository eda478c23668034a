"""What Prometheus scrapes, as files that it watches (file_sd).

The programs that supervisord has loaded are *expected*, whether they run or
not: a worker that died is scraped in vain and shows as ``up == 0``, and one that
was removed disappears.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from rollout.base.files import replace
from rollout.base.settings import metrics_address
from rollout.supervision.command_words import Kind
from rollout.supervision.programs import Program, commands, workers

__all__ = ["TargetGroup", "stack_targets", "worker_targets", "write_if_changed"]

_JOBS: Mapping[Kind, str] = {
    "exporter": "exporter",
    "controller": "rollout",
    "load": "load",
    "prometheus": "prometheus",
}
"""What a scraped program's job is called, whatever its own name."""


class TargetGroup(TypedDict):
    """One entry of a file_sd file."""

    targets: list[str]
    labels: dict[str, str]


def worker_targets(programs: Sequence[Program]) -> list[TargetGroup]:
    """One group a worker, with the build that it runs."""
    return [
        _group(
            metrics_address(worker.metrics_port),
            job="worker",
            build_id=worker.build_id or "",
            deployment_name=worker.deployment,
            program=worker.namespec,
        )
        for worker in workers(programs)
        if worker.metrics_port is not None
    ]


def stack_targets(programs: Sequence[Program]) -> list[TargetGroup]:
    """One group for each program besides the workers that serves metrics."""
    return [
        # Prometheus is not ours: it listens where its command says, on loopback.
        _group(
            f"127.0.0.1:{command.metrics_port}"
            if command.kind == "prometheus"
            else metrics_address(command.metrics_port),
            job=_JOBS[command.kind],
        )
        for command in commands(programs)
        if command.kind in _JOBS and command.metrics_port is not None
    ]


def write_if_changed(path: Path, groups: Sequence[TargetGroup]) -> bool:
    """Write ``groups`` to ``path`` unless it says so already; whether it was written.

    The file is replaced whole: Prometheus never reads half of one.
    """
    content = (json.dumps(groups, indent=2, ensure_ascii=False) + "\n").encode()
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, content)
    return True


def _group(address: str, **labels: str) -> TargetGroup:
    return {"targets": [address], "labels": labels}
