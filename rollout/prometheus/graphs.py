"""The switchover in PromQL: the expressions that the dashboard draws."""

from __future__ import annotations

from rollout.core.observation import STATUSES
from rollout.prometheus.promql import selector
from rollout.supervision.states import STATES

__all__ = [
    "FAILURE_RATIO",
    "OPEN_RUNS",
    "PROCESS_STATES",
    "SAFE_TO_STOP",
    "TARGET_SHARE",
    "VERSION_STATES",
    "completed_share",
    "latency",
    "states",
]


def _by_build(one: str, name: str, **labels: str) -> str:
    """Several machines may export what one server says: ``one``, max or min, of them counts."""
    return f"{one} by (build_id) ({selector(name, **labels)})"


def _of(deployment: str | None) -> dict[str, str]:
    """The label that keeps to one deployment; none where there is but one."""
    return {} if deployment is None else {"deployment_name": deployment}


def _target_share(deployment: str | None = None) -> str:
    name = "temporal_worker_deployment_version_target_ratio"
    return _by_build("max", name, job="exporter", **_of(deployment))


def _open_runs(deployment: str | None = None) -> str:
    name = "temporal_worker_deployment_version_open_workflows"
    return _by_build("max", name, job="exporter", **_of(deployment))


def _safe_to_stop(deployment: str | None = None) -> str:
    name = "temporal_worker_deployment_version_safe_to_stop"
    return _by_build("min", name, job="exporter", **_of(deployment))


def _failure_ratio(deployment: str | None = None) -> str:
    return _by_build("max", "build:temporal_workflow_failed:ratio1m", **_of(deployment))


TARGET_SHARE = _target_share()
OPEN_RUNS = _open_runs()
SAFE_TO_STOP = _safe_to_stop()
FAILURE_RATIO = _failure_ratio()

VERSION_STATES: tuple[str, ...] = STATUSES
PROCESS_STATES = tuple(state.lower() for state in STATES)


def completed_share(workflow_type: str, deployment: str | None = None) -> str:
    """Who gets new runs: each build's part, 0 to 1, of the completed runs of ``workflow_type``.

    True only of a type that takes next to no time: long runs complete on the build
    they began on, long after new ones have gone elsewhere.
    """
    share = selector(
        "build_type:temporal_workflow_completed:share30s",
        workflow_type=workflow_type,
        **_of(deployment),
    )
    return f"sum by (build_id) ({share})"


def latency(quantile: float, workflow_type: str) -> str:
    """Seconds from the time a run was due to its result, as the load's client sees it.

    A build without results in the last minute has no value (`>= 0` drops its NaN).
    """
    buckets = selector(
        "client_workflow_latency_seconds_bucket", job="load", workflow_type=workflow_type
    )
    return f"histogram_quantile({quantile:g}, sum by (build_id, le) (rate({buckets}[1m]))) >= 0"


def states(metric: str, label: str, names: tuple[str, ...], by: str) -> str:
    """One series for each value of ``by``: the place in ``names``, from 1, of the state it is in.

    ``metric`` has a series of 0 or 1 for every state, told apart by ``label``.
    """
    each = (
        f"{code} * {selector(metric, job='exporter', **{label: name})}"
        for code, name in enumerate(names, start=1)
    )
    return f"max by ({by}) ({' or '.join(each)})"
