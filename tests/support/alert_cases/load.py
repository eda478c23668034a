"""The alerts of alerts_load.yml: when they fire, and when not."""

from __future__ import annotations

from tests.support.alerts import Case

__all__ = ["CASES"]


def _finished(outcome: str) -> str:
    return (
        'client_workflows_finished_total{job="load", instance="127.0.0.1:9191", '
        f'workflow_type="Order", build_id="v2", outcome="{outcome}"}}'
    )


_LOAD = {"job": "load", "instance": "127.0.0.1:9191"}

CASES = (
    Case(
        "LoadFailing",
        "the first failed run, and none that completes",
        {_finished("failed"): "_x24 1x48", _finished("completed"): "0+5x72"},
        quiet=("1m", "4m30s"),
        fires="2m30s",
        labels={"workflow_type": "Order", "build_id": "v2", "outcome": "failed"},
        summary="1 Order runs that the load started have ended as failed.",
    ),
    Case(
        "RunsCrossedVersions",
        "runs go on on another build",
        {'client_version_crossings_total{job="load", instance="127.0.0.1:9191"}': "0x24 24x48"},
        quiet=("1m", "4m30s"),
        fires="2m30s",
        labels=_LOAD,
        summary="24 pinned runs that began on one build have gone on on another.",
    ),
)
