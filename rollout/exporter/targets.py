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
from rollout.supervision.programs import Command, Program, commands, workers

__all__ = [
    "TargetGroup",
    "alertmanagers",
    "stack_targets",
    "temporal_targets",
    "worker_targets",
    "write_if_changed",
]

_JOBS: Mapping[Kind, str] = {
    "exporter": "exporter",
    "controller": "rollout",
    "load": "load",
    "prometheus": "prometheus",
    "alertmanager": "alertmanager",
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
    """One group for each program besides the workers and Temporal that serves metrics."""
    return [
        _group(
            metrics_address(command.metrics_port) if command.is_ours else _loopback(command),
            job=_JOBS[command.kind],
            program=command.namespec,
        )
        for command in commands(programs)
        if command.kind in _JOBS and command.metrics_port is not None
    ]


def temporal_targets(programs: Sequence[Program]) -> list[TargetGroup]:
    """The Temporal server, which has more series than all others: to be scraped less often."""
    return [
        _group(_loopback(command), job="temporal", program=command.namespec)
        for command in commands(programs)
        if command.kind == "temporal" and command.metrics_port is not None
    ]


def alertmanagers(programs: Sequence[Program]) -> list[TargetGroup]:
    """Where Prometheus is to send alerts: one group for each Alertmanager that runs here."""
    return [
        _group(_loopback(command))
        for command in commands(programs)
        if command.kind == "alertmanager" and command.metrics_port is not None
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


def _loopback(command: Command) -> str:
    """Where a program that is not ours listens, as its command says."""
    return f"127.0.0.1:{command.metrics_port}"


def _group(address: str, **labels: str) -> TargetGroup:
    return {"targets": [address], "labels": labels}
