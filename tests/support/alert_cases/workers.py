"""The alerts of alerts_workers.yml: when they fire, and when not."""

from __future__ import annotations

from tests.support.alerts import Case

__all__ = ["CASES"]


def _version(name: str, build: str = "v1", **labels: str) -> str:
    more = "".join(f', {key}="{value}"' for key, value in labels.items())
    return (
        f'temporal_worker_deployment_version_{name}{{job="exporter", namespace="default", '
        f'deployment_name="greetings", build_id="{build}"{more}}}'
    )


def _up(port: int = 9101) -> str:
    return (
        f'up{{job="worker", instance="127.0.0.1:{port}", deployment_name="greetings", '
        'build_id="v1", program="worker-v1"}'
    )


def _task_failed(reason: str, suffix: str = "_total") -> str:
    return (
        f'temporal_workflow_task_execution_failed{suffix}{{job="worker", namespace="default", '
        'deployment_name="greetings", build_id="v2", workflow_type="Order", '
        f'failure_reason="{reason}"}}'
    )


def _recorded(name: str, build: str = "v2") -> str:
    return f'build:temporal_{name}{{deployment_name="greetings", build_id="{build}"}}'


_V1 = {"namespace": "default", "deployment_name": "greetings", "build_id": "v1"}
_V2 = {"deployment_name": "greetings", "build_id": "v2"}
_WAIT = "Open runs of build v1 of greetings wait ({} at least), for none of its workers is up."
_NON_DETERMINISM = (
    "Build v2 of greetings cannot replay the history of some Order runs; they stand still."
)
_ORDER = {**_V2, "workflow_type": "Order"}

_WITHOUT_WORKER = (
    Case(
        "RunsWithoutWorker",
        "its worker is down, and comes back",
        {_version("open_workflows"): "12x40", _up(): "1x6 0x12 1x20"},
        quiet=("30s", "40s", "1m50s"),
        fires="1m",
        labels=_V1,
        summary=_WAIT.format(12),
    ),
    Case(
        "RunsWithoutWorker",
        "its worker has vanished from the targets",
        {_version("open_workflows"): "12x24", _up(): "1x6 stale"},
        fires="1m",
        labels=_V1,
        summary=_WAIT.format(12),
    ),
    Case(
        "RunsWithoutWorker",
        "the runs of a draining build cannot be counted",
        {_version("status", status="draining"): "1x24", _up(): "0x24"},
        fires="30s",
        labels=_V1,
        summary=_WAIT.format(1),
    ),
    Case(
        "RunsWithoutWorker",
        "a drained build may be stopped",
        {
            _version("open_workflows"): "0x24",
            _version("status", status="draining"): "0x24",
            _up(): "0x24",
        },
        quiet=("1m",),
    ),
    Case(
        "RunsWithoutWorker",
        "one live worker of several is enough",
        {_version("open_workflows"): "12x24", _up(): "0x24", _up(9111): "1x24"},
        quiet=("1m",),
    ),
    Case(
        "RunsWithoutWorker",
        "a worker on another host is no target here, and lives by its heartbeat",
        {_version("open_workflows"): "12x40", _version("workers"): "1x12 0x28"},
        quiet=("1m",),
        fires="1m40s",
        labels=_V1,
        summary=_WAIT.format(12),
    ),
    Case(
        "NewRunsWithoutWorker",
        "new runs go to a build without a worker, though none is open yet",
        {_version("target_ratio"): "0.1x40", _up(): "0x12 1x28"},
        quiet=("10s", "1m20s"),
        fires="30s",
        labels=_V1,
        summary="10% of new runs of greetings go to build v1, and none of its workers is up.",
    ),
    Case(
        "NewRunsWithoutWorker",
        "a drained build may be stopped",
        {_version("target_ratio"): "0x24", _up(): "0x24"},
        quiet=("1m",),
    ),
    Case(
        "NewRunsWithoutWorker",
        "one live worker of several is enough",
        {_version("target_ratio"): "1x24", _up(): "0x24", _up(9111): "1x24"},
        quiet=("1m",),
    ),
    Case(
        "DrainedButRunning",
        "a build is drained, safe to stop, and runs on until it is stopped",
        {
            _version("drained_since_seconds"): "0x80",
            _version("safe_to_stop"): "1x80",
            _version("workers"): "1x70 0x10",
            _up(): "1x70 0x10",
        },
        interval="1m",
        quiet=("59m", "1h13m"),
        fires="1h5m",
        labels=_V1,
        summary=(
            "Build v1 of greetings was drained 1h 5m 0s ago, is safe to stop, and its workers "
            "still run."
        ),
    ),
    Case(
        "DrainedButRunning",
        "what is drained and not safe to stop must run on",
        {
            _version("drained_since_seconds"): "0x80",
            _version("safe_to_stop"): "0x80",
            _up(): "1x80",
        },
        interval="1m",
        quiet=("1h5m",),
    ),
)

_SLOW = (
    Case(
        "TasksWait",
        "the oldest task grows older, until a worker comes",
        {_version("waiting_age_seconds", "v2"): "0x6 0+5x24 0x10"},
        quiet=("1m", "2m50s"),
        fires="2m30s",
        labels={**_V1, "build_id": "v2"},
        summary="The oldest task for build v2 of greetings has waited for 1m 55s.",
    ),
    Case(
        "ScheduleToStartHigh",
        "workflow tasks wait for a worker",
        {_recorded("workflow_task_schedule_to_start_seconds:p95_1m"): "0.1x6 2.5x30 0.1x12"},
        quiet=("1m", "3m30s"),
        fires="2m50s",
        labels={**_V2, "work": "workflow tasks"},
        summary=(
            "The workflow tasks of build v2 of greetings wait for a worker: 2.5s at the 95th "
            "percentile."
        ),
    ),
    Case(
        "ScheduleToStartHigh",
        "activities may wait longer",
        {_recorded("activity_schedule_to_start_seconds:p95_1m"): "4x40 8x40"},
        quiet=("3m", "5m"),
        fires="6m",
        labels={**_V2, "work": "activities"},
        summary=(
            "The activities of build v2 of greetings wait for a worker: 8s at the 95th percentile."
        ),
    ),
    Case(
        "WorkflowTasksSlow",
        "a workflow blocks its worker",
        {_recorded("workflow_task_execution_seconds:p95_1m"): "0.01x6 3x30 0.01x12"},
        quiet=("1m", "3m30s"),
        fires="2m50s",
        labels=_V2,
        summary="Workflow tasks of build v2 of greetings take 3s at the 95th percentile.",
    ),
)

_FAILING = (
    Case(
        "NonDeterminism",
        "the very first, though its counter appears at 1",
        {_task_failed("NonDeterminismError"): "_x24 1x48"},
        quiet=("1m", "4m30s"),
        fires="2m30s",
        labels=_ORDER,
        summary=_NON_DETERMINISM,
    ),
    Case(
        "NonDeterminism",
        "the SDK gives its counters no suffix",
        {_task_failed("NonDeterminismError", ""): "_x24 1x48"},
        quiet=("1m", "4m30s"),
        fires="2m30s",
        labels=_ORDER,
        summary=_NON_DETERMINISM,
    ),
    Case(
        "NonDeterminism",
        "later ones as well",
        {_task_failed("NonDeterminismError"): "1x60 2x24"},
        quiet=("4m",),
        fires="5m30s",
        labels=_ORDER,
        summary=_NON_DETERMINISM,
    ),
    Case(
        "NonDeterminism",
        "other failed workflow tasks are none",
        {_task_failed("WorkflowError"): "_x24 1+1x24"},
        quiet=("2m30s",),
    ),
    Case(
        "RunsFailing",
        "one build's runs fail, the other's do not",
        {
            _recorded("workflow_failed:ratio1m"): "0x3 0.25x15 0x12",
            _recorded("workflow_failed:ratio1m", "v1"): "0.01x30",
        },
        quiet=("30s", "1m40s"),
        fires="1m",
        labels=_V2,
        summary="25% of the runs that end on build v2 of greetings fail.",
    ),
    Case(
        "WorkflowTasksFailing",
        "half of the tasks fail, in whatever unit the SDK counts them",
        {
            _task_failed("WorkflowError", ""): "0x12 0+1x36 36x48",
            'temporal_workflow_task_execution_latency_count{job="worker", namespace="default", '
            'deployment_name="greetings", build_id="v2", workflow_type="Order"}': "0+2x96",
        },
        quiet=("1m30s", "6m30s"),
        fires="4m",
        labels=_V2,
        summary=(
            "50% of the workflow tasks on build v2 of greetings fail; their runs stand still."
        ),
    ),
)

CASES = (*_WITHOUT_WORKER, *_SLOW, *_FAILING)
