"""The row of the demo's load, which is shut: nobody's own workflows have it."""

from __future__ import annotations

from collections.abc import Iterator

from grafana.source.panels import Panel, graph, number, query

__all__ = ["load"]

# The load says neither in which namespace nor against which deployment it runs.
_RATED = "[$__rate_interval]"


def load() -> Iterator[Panel]:
    """What its clients feel."""
    yield number(
        "Runs not completed",
        "Runs of the load that failed, timed out or were cancelled, since the load was started.",
        'sum(client_workflows_finished_total{job="load",outcome!="completed"})'
        ' or 0 * sum(client_workflows_started_total{job="load"})',
        span=12,
    )
    yield number(
        "Crossed versions",
        "Pinned runs that did not end on the build they began on, since the load was started.",
        'sum(client_version_crossings_total{job="load"})',
        span=12,
    )
    yield graph(
        "Latency for clients",
        "Median and 95th percentile (dashed) for the chosen type, from the time a run was due to"
        " its result.",
        query(_latency(0.5), "{{build_id}} median", "A"),
        query(_latency(0.95), "{{build_id}} p95", "B"),
        unit="s",
        dashed="/ p95$/",
    )
    yield graph(
        "Load",
        "Runs that the load started and that ended, a second.",
        query(
            f'sum by (workflow_type) (rate(client_workflows_started_total{{job="load"}}{_RATED}))',
            "{{workflow_type}} started",
            "A",
        ),
        query(
            "sum by (workflow_type, outcome) "
            f'(rate(client_workflows_finished_total{{job="load"}}{_RATED}))',
            "{{workflow_type}} {{outcome}}",
            "B",
        ),
        unit="ops",
        dashed="/ started$/",
    )
    yield graph(
        "Load's own delay",
        "How late the load started runs, 95th percentile. Late starts are no fault of a build.",
        query(
            "histogram_quantile(0.95, sum by (le) "
            f'(rate(client_schedule_lag_seconds_bucket{{job="load"}}{_RATED}))) >= 0',
            "lag p95",
        ),
        unit="s",
    )
    yield graph(
        "Load's retries",
        "Starts that the server took only at a later try, a second.",
        query(f'sum(rate(client_start_retries_total{{job="load"}}{_RATED}))', "retries"),
        unit="ops",
    )


def _latency(part: float) -> str:
    buckets = 'client_workflow_latency_seconds_bucket{job="load",workflow_type=~"$workflow_type"}'
    return f"histogram_quantile({part:g}, sum by (build_id, le) (rate({buckets}{_RATED}))) >= 0"
