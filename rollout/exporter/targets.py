"""What Prometheus scrapes, as files that it watches (file_sd).

The programs that supervisord has loaded are *expected*, whether they run or
not: a worker that died is scraped in vain and shows as ``up == 0``, and one that
was removed disappears.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from rollout.base.settings import metrics_address
from rollout.supervision.programs import metrics_endpoints, worker_programs
from rollout.supervision.rpc import Program

__all__ = ["TargetGroup", "stack_targets", "worker_targets", "write_if_changed"]


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
            build_id=worker.build_id,
            deployment_name=worker.deployment,
            program=worker.name,
        )
        for worker in worker_programs(programs)
        if worker.metrics_port is not None
    ]


def stack_targets(programs: Sequence[Program]) -> list[TargetGroup]:
    """One group for each program besides the workers that serves metrics."""
    return [
        # Prometheus is not ours: it listens where its command says, on loopback.
        _group(
            f"127.0.0.1:{endpoint.port}"
            if endpoint.job == "prometheus"
            else metrics_address(endpoint.port),
            job=endpoint.job,
        )
        for endpoint in metrics_endpoints(programs)
    ]


def write_if_changed(path: Path, groups: Sequence[TargetGroup]) -> bool:
    """Write ``groups`` to ``path`` unless it says so already; whether it was written.

    The file is replaced whole: Prometheus never reads half of one.
    """
    content = (json.dumps(groups, indent=2, ensure_ascii=False) + "\n").encode()
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(content)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return True


def _group(address: str, **labels: str) -> TargetGroup:
    return {"targets": [address], "labels": labels}
