"""States as numbers, and shares, in PromQL: for dashboards and for `rollout watch`."""

from __future__ import annotations

from rollout.core.observation import STATUSES
from rollout.prometheus.promql import selector
from rollout.supervision.states import STATES

__all__ = [
    "PROCESS_STATES",
    "VERSION_STATES",
    "completed_share",
    "states",
]


def _of(deployment: str | None) -> dict[str, str]:
    """The label that keeps to one deployment; none where there is but one."""
    return {} if deployment is None else {"deployment_name": deployment}


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


def states(metric: str, label: str, names: tuple[str, ...], by: str) -> str:
    """One series for each value of ``by``: the place in ``names``, from 1, of the state it is in.

    ``metric`` has a series of 0 or 1 for every state, told apart by ``label``.
    """
    each = (
        f"{code} * {selector(metric, job='exporter', **{label: name})}"
        for code, name in enumerate(names, start=1)
    )
    return f"max by ({by}) ({' or '.join(each)})"
