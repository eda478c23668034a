"""What Prometheus is to scrape on this host, as it asks for it (http_sd)."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.base.settings import host_port, metrics_host
from rollout.exporter.targets import TargetGroup, worker_targets
from rollout.supervision.programs import Program

__all__ = ["host_targets", "reached_at"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANY = ("0.0.0.0", "::")  # noqa: S104


def reached_at(bind: str, hostname: str) -> str:
    """Where Prometheus reaches the workers' metrics: on the address that METRICS_HOST names.

    Where that is every address, it is the one that this is bound to, else the machine's name.
    """
    host = metrics_host()
    if host not in _ANY:
        return host
    return hostname if bind in (*_ANY, *_LOOPBACK) else bind


def host_targets(
    programs: Sequence[Program], deployment: str, name: str, address: str
) -> list[TargetGroup]:
    """One group for each worker of ``deployment`` here, reached at ``address``."""
    groups = worker_targets(programs)
    return [
        {
            "targets": [_at(address, target) for target in group["targets"]],
            "labels": {**group["labels"], "host": name},
        }
        for group in groups
        if group["labels"]["deployment_name"] == deployment
    ]


def _at(address: str, target: str) -> str:
    return host_port(address, int(target.rpartition(":")[2]))
