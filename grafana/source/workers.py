"""The dashboard *Workers*: whether each build's workers keep up, old and new side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.source.board import Section, board, build_variable, type_variable
from grafana.source.failures import failures
from grafana.source.panels import Panel, graph, query
from grafana.source.queries import (
    MATTERS,
    REACHED,
    TYPE,
    by_build,
    of_sdk,
    p95,
    rate_of,
    version,
)
from rollout.prometheus.promql import pattern
from rollout.prometheus.sdk_metrics import counter, observed

__all__ = ["workers"]

_THIRD = 8


def workers() -> Dashboard:
    """The whole dashboard."""
    return board(
        "workers",
        "Workers",
        "Whether each build's workers keep up with what they are given, and what of it fails.",
        (
            Section("Whether they keep up", _keep_up()),
            Section("Room", _room()),
            Section("Work", _work()),
            Section("Failures", _failures()),
        ),
        (build_variable(), type_variable()),
    )


def _keep_up() -> Iterator[Panel]:
    yield graph(
        "Schedule to start",
        "How long tasks waited for a worker: 95th percentile, workflow tasks and activities "
        "(dashed). It grows where a build has too few workers.",
        query(p95("workflow_task_schedule_to_start"), "{{build_id}} workflow tasks"),
        query(p95("activity_schedule_to_start"), "{{build_id}} activities", "B"),
        unit="s",
        dashed="/ activities$/",
        span=_THIRD,
    )
    yield graph(
        "Backlog",
        "Tasks in each build's queues that no worker has taken, approximately.",
        query(f"{by_build(version('waiting_tasks'))} and on (build_id) {MATTERS}"),
        span=_THIRD,
    )
    yield graph(
        "Age of the backlog",
        "For how long the oldest of them has waited, approximately.",
        query(f"{by_build(version('waiting_age_seconds'))} and on (build_id) {MATTERS}"),
        unit="s",
        span=_THIRD,
    )
    yield graph(
        "Live workers",
        "Worker processes with a fresh heartbeat on the server, and those that Prometheus reaches "
        "(dashed).",
        query(f"{by_build(version('workers'))} and on (build_id) {MATTERS}"),
        query(f"sum by (build_id) ({REACHED})", "{{build_id}} reached", "B"),
        dashed="/ reached$/",
    )
    tasks = pattern("workflow_task|activity_task")
    yield graph(
        "Pollers",
        "Polls that each build's workers hold open, by what they ask for: workflow tasks, activity "
        "tasks (dashed).",
        query(
            f"sum by (build_id, poller_type) ({of_sdk('temporal_num_pollers', poller_type=tasks)})",
            "{{build_id}} {{poller_type}}",
        ),
        dashed="/ activity_task$/",
    )


def _room() -> Iterator[Panel]:
    some = pattern("WorkflowWorker|ActivityWorker")
    used = of_sdk("temporal_worker_task_slots_used", worker_type=some)
    free = of_sdk("temporal_worker_task_slots_available", worker_type=some)
    of = "sum by (build_id, worker_type)"
    yield graph(
        "Slots in use",
        "The part of each build's task slots that are in use, for workflow tasks and activities "
        "(dashed). At 100 % its workers take no more.",
        query(f"{of} ({used}) / {of} ({used} + {free})", "{{build_id}} {{worker_type}}"),
        unit="percentunit",
        dashed="/ ActivityWorker$/",
        span=_THIRD,
    )
    yield graph(
        "Tasks in work",
        "Tasks in work on each build's workers, workflow tasks and activities (dashed).",
        query(f"{of} ({used})", "{{build_id}} {{worker_type}}"),
        dashed="/ ActivityWorker$/",
        span=_THIRD,
    )
    hit, miss = rate_of(counter("sticky_cache_hit")), rate_of(counter("sticky_cache_miss"))
    yield graph(
        "Sticky cache",
        "The part of workflow tasks for which a worker had the run in its cache. Without it the "
        "run's whole history is replayed.",
        query(f"({hit}) / (({hit}) + (({miss}) or 0 * ({hit})) > 0)"),
        unit="percentunit",
        span=_THIRD,
    )
    yield graph(
        "Runs in the cache",
        "Runs that each build's workers hold in their caches.",
        query(f"sum by (build_id) ({of_sdk('temporal_sticky_cache_size')})"),
    )
    yield graph(
        "Runs put out of the cache",
        "Runs that had to make room for others, a second. It grows where the cache is too small.",
        query(
            f"({rate_of(counter('sticky_cache_total_forced_eviction'))}) or 0 * "
            f"sum by (build_id) ({of_sdk('temporal_sticky_cache_size')})"
        ),
        unit="ops",
    )


def _work() -> Iterator[Panel]:
    yield graph(
        "Workflow tasks",
        "Workflow tasks that each build's workers do a second.",
        query(rate_of(observed("workflow_task_execution"))),
        unit="ops",
        span=_THIRD,
    )
    yield graph(
        "Activities",
        "Activities that each build's workers do a second, each try by itself.",
        query(rate_of(observed("activity_execution"))),
        unit="ops",
        span=_THIRD,
    )
    yield graph(
        "Workflows completed",
        "Runs of the chosen type that each build completes a second.",
        query(rate_of(counter("workflow_completed"), workflow_type=TYPE)),
        unit="ops",
        span=_THIRD,
    )
    of_type: Mapping[str, str] = {"workflow_type": TYPE}
    for title, told, latency, labels in (
        ("Time of workflow tasks", "a workflow task takes", "workflow_task_execution", {}),
        ("Time of activities", "an activity takes", "activity_execution", {}),
        (
            "Time of workflows",
            "a run of the chosen type takes from start to end",
            "workflow_endtoend",
            of_type,
        ),
    ):
        yield graph(
            title,
            f"How long {told}: median and 95th percentile (dashed).",
            query(p95(latency, 0.5, labels), "{{build_id}} median"),
            query(p95(latency, 0.95, labels), "{{build_id}} p95", "B"),
            unit="s",
            dashed="/ p95$/",
            span=_THIRD,
        )


def _failures() -> Iterator[Panel]:
    titles = ("Activities that fail", "Workflow tasks that fail", "Workflows that fail")
    yield from failures(*titles, span=_THIRD)
    yield graph(
        "Why workflow tasks fail",
        "Workflow tasks that failed a second, by what the SDK says of it. NonDeterminismError: the "
        "code does not match the history of a run.",
        query(
            _or_none(
                rate_of(counter("workflow_task_execution_failed"), "failure_reason"),
                "failure_reason",
            ),
            "{{build_id}} {{failure_reason}}",
        ),
        unit="ops",
    )
    yield graph(
        "Requests that fail",
        "Calls of each build's workers that the server did not take, a second.",
        query(
            _or_none(rate_of(counter("request_failure"), "operation"), "operation"),
            "{{build_id}} {{operation}}",
        ),
        unit="ops",
    )


def _or_none(failures: str, label: str) -> str:
    """``failures``, and a line at 0 for each build that has none."""
    none = f'label_replace(0 * sum by (build_id) ({REACHED}), "{label}", "none", "", "")'
    return f"({failures}) or on (build_id) {none}"
