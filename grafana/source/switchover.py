"""The dashboard *Switchover*: new runs move from one build to the next, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from grafana.source.colours import code_mapping, yes_no_mapping
from grafana.source.panels import (
    DATASOURCE,
    Panel,
    graph,
    number,
    query,
    share,
    timeline,
    word,
)
from rollout.prometheus.graphs import (
    FAILURE_RATIO,
    OPEN_RUNS,
    PROCESS_STATES,
    SAFE_TO_STOP,
    TARGET_SHARE,
    VERSION_STATES,
    completed_share,
    latency,
    states,
)
from rollout.prometheus.sdk_metrics import quantile

__all__ = ["switchover"]

_TYPE = "$workflow_type"


def switchover() -> Dashboard:
    """The whole dashboard."""
    board = (
        build.Dashboard("Switchover")
        .uid("switchover")
        .description(
            "New workflow runs move from one build to the next; when may the old one stop?"
        )
        .tags(["temporal", "rollout"])
        .time("now-15m", "now")
        .refresh("5s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(_workflow_type())
    )
    for annotation in _annotations():
        board = board.annotation(annotation)
    sections: tuple[tuple[str, Iterable[Panel]], ...] = (
        ("Now", _now()),
        ("Who gets new runs", _routing()),
        ("Whether the old build may stop", _drain()),
        ("What clients feel", _clients()),
        ("Workers", _workers()),
        ("Processes", _processes()),
    )
    ids = iter(range(1, 1000))  # an id that stays the same keeps links to a panel alive
    for title, panels in sections:
        board = board.with_row(build.Row(title).id(next(ids)))
        for panel in panels:
            board = board.with_panel(panel.id(next(ids)))
    return board.build()


def _workflow_type() -> build.QueryVariable:
    return (
        build.QueryVariable("workflow_type")
        .label("Workflow type")
        .description("A type that takes next to no time shows best who gets new runs.")
        .datasource(DATASOURCE)
        .query("label_values(build_type:temporal_workflow_completed:rate30s, workflow_type)")
        .current(VariableOption(selected=True, text="Greeting", value="Greeting"))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _annotations() -> Iterator[build.AnnotationQuery]:
    def annotation(name: str, colour: str, expression: str, title: str) -> build.AnnotationQuery:
        return (
            build.AnnotationQuery()
            .name(name)
            .datasource(DATASOURCE)
            .enable(True)
            .icon_color(colour)
            .expr(expression)
            .title_format(title)
        )

    # A gauge that holds the time of the event marks it to the second, whatever the graph's step.
    yield annotation(
        "Routing changes",
        "green",
        # Clearing a ramp is a change too, to no build at all.
        "label_replace(max by (kind, build_id) ("
        'temporal_worker_deployment_routing_change_time_seconds{job="exporter"}'
        ') * 1000, "build_id", "nobody", "build_id", "")',
        "{{kind}}: {{build_id}}",
    ).use_value_for_time(True)
    yield annotation(
        "Worker starts",
        "blue",
        "max by (name) "
        '(supervisord_process_start_time_seconds{job="exporter",name=~"worker.*"} > 0) * 1000',
        "{{name}} started",
    ).use_value_for_time(True)
    # Nothing holds the time of a stop: marked is the time until 15 s after it.
    yield annotation(
        "Process stops",
        "red",
        '(max by (name) (supervisord_process_state{job="exporter",'
        'state=~"stopped|exited|fatal"}) == 1) and on (name) '
        '(max by (name) (supervisord_process_state{job="exporter",'
        'state=~"running|stopping"} offset 15s) == 1)',
        "{{name}} stopped",
    ).step("5s")


def _now() -> Iterator[Panel]:
    yield word(
        "Target",
        "The build that rollout.toml wants new runs to go to.",
        'rollout_target_info{job="rollout"}',
        "build_id",
    )
    yield word(
        "Phase",
        "What the controller is doing; `rollout status` says why.",
        'rollout_phase{job="rollout"} == 1',
        "phase",
    )
    yield number(
        "Paused",
        "1 while rollout.toml holds the rollout where it is.",
        'max(rollout_paused{job="rollout"})',
    )
    yield number(
        "Runs not completed",
        "Runs of the load that failed, timed out or were cancelled, since the load was started.",
        'sum(client_workflows_finished_total{job="load",outcome!="completed"})'
        ' or 0 * sum(client_workflows_started_total{job="load"})',
    )
    yield number(
        "Crossed versions",
        "Pinned runs that did not end on the build they began on, since the load was started.",
        'sum(client_version_crossings_total{job="load"})',
    )
    yield number(
        "Firing alerts",
        "Alerts of metrics/rules that fire now; Prometheus's page /alerts lists them.",
        'count(ALERTS{alertstate="firing"}) or vector(0)',
    )


def _routing() -> Iterator[Panel]:
    yield share(
        "Meant to get new runs",
        "The server's routing: each build's share of new runs.",
        TARGET_SHARE,
    )
    yield share(
        "Get new runs",
        "Each build's share of the completed runs of the chosen type, over 30 s. A type that takes"
        " next to no time shows where new runs go; long runs complete where they began.",
        completed_share(_TYPE),
    )
    yield timeline(
        "Version states",
        "What the server says of each build.",
        query(
            states(
                "temporal_worker_deployment_version_status", "status", VERSION_STATES, "build_id"
            )
        ),
        code_mapping(VERSION_STATES),
    )
    yield graph(
        "Completed runs",
        "Runs of all types completed a second, by the build that completed them.",
        query("sum by (build_id) (build_type:temporal_workflow_completed:rate30s)"),
        unit="ops",
    )


def _drain() -> Iterator[Panel]:
    yield graph(
        "Open runs",
        "Runs that have begun on a build and have not ended. A pinned run needs its build until"
        " it ends.",
        query(OPEN_RUNS),
    )
    yield timeline(
        "Safe to stop",
        "Whether all evidence says that a build's workers may be stopped;"
        " `rollout status` names each point of it.",
        query(SAFE_TO_STOP),
        yes_no_mapping("not safe", "safe to stop"),
    )


def _clients() -> Iterator[Panel]:
    yield graph(
        "Latency",
        "Median and 95th percentile (dashed) for the chosen type, from the time a run was due to"
        " its result, over 1 min.",
        query(latency(0.5, _TYPE), "{{build_id}} median", "A"),
        query(latency(0.95, _TYPE), "{{build_id}} p95", "B"),
        unit="s",
        dashed="/ p95$/",
    )
    yield graph(
        "Failures",
        "The part of the runs ended on a build that failed, over 1 min.",
        query(FAILURE_RATIO),
        unit="percentunit",
    )
    yield graph(
        "Load",
        "Runs that the load started and that ended, a second, over 30 s.",
        query(
            'sum by (workflow_type) (rate(client_workflows_started_total{job="load"}[30s]))',
            "{{workflow_type}} started",
            "A",
        ),
        query(
            "sum by (workflow_type, outcome) "
            '(rate(client_workflows_finished_total{job="load"}[30s]))',
            "{{workflow_type}} {{outcome}}",
            "B",
        ),
        unit="ops",
        dashed="/ started$/",
    )
    yield graph(
        "Load's own delay",
        "How late the load started runs (95th percentile, over 1 min), and starts that the"
        " server took only at a later try. Late starts are no fault of a build.",
        query(
            "histogram_quantile(0.95, sum by (le) "
            '(rate(client_schedule_lag_seconds_bucket{job="load"}[1m]))) >= 0',
            "lag p95, seconds",
            "A",
        ),
        query('sum(rate(client_start_retries_total{job="load"}[1m]))', "retries a second", "B"),
    )


def _workers() -> Iterator[Panel]:
    yield graph(
        "Schedule to start",
        "How long tasks waited for a worker: 95th percentile over 1 min, workflow tasks and"
        " activities (dashed). It grows where a build has too few workers.",
        *(
            query(
                f"{_waits(kind)} >= 0",
                f"{{{{build_id}}}} {legend}",
                ref_id,
            )
            for kind, legend, ref_id in (
                ("workflow_task", "workflow tasks", "A"),
                ("activity", "activities", "B"),
            )
        ),
        unit="s",
        dashed="/ activities$/",
    )
    yield graph(
        "Task slots used",
        "Tasks in work on each build's workers, workflow tasks and activities (dashed).",
        query(
            "sum by (build_id, worker_type) (temporal_worker_task_slots_used"
            '{job="worker",worker_type=~"WorkflowWorker|ActivityWorker"})',
            "{{build_id}} {{worker_type}}",
        ),
        dashed="/ ActivityWorker$/",
    )
    yield graph(
        "Pollers",
        "Polls that each build's workers hold open, by what they ask for: workflow tasks, activity"
        " tasks (dashed).",
        query(
            "sum by (build_id, poller_type) (temporal_num_pollers"
            '{job="worker",poller_type=~"workflow_task|activity_task"})',
            "{{build_id}} {{poller_type}}",
        ),
        dashed="/ activity_task$/",
    )
    yield graph(
        "Live workers",
        "Worker processes with a fresh heartbeat on the server, and those that Prometheus reaches"
        " (dashed).",
        query(
            'max by (build_id) (temporal_worker_deployment_version_workers{job="exporter"})',
            "{{build_id}}",
            "A",
        ),
        query('sum by (build_id) (up{job="worker"})', "{{build_id}} reached", "B"),
        dashed="/ reached$/",
    )


def _waits(kind: str) -> str:
    """PromQL for the p95 of the seconds that tasks of a ``kind`` wait for a worker."""

    def rise(buckets: str) -> str:
        return f'sum by (build_id, le) (rate({buckets}{{job="worker"}}[1m]))'

    return quantile(0.95, f"{kind}_schedule_to_start", rise, ("build_id",), job="worker")


def _processes() -> Iterator[Panel]:
    yield timeline(
        "Process states",
        "What supervisord says of each program.",
        query(states("supervisord_process_state", "state", PROCESS_STATES, "name"), "{{name}}"),
        code_mapping(PROCESS_STATES),
    )
    yield graph(
        "Process starts",
        "How often supervisord started each program in the last 5 min. A program that keeps on"
        " being started keeps on ending.",
        query(
            'sum by (name) (increase(supervisord_process_starts_total{job="exporter"}[5m]))',
            "{{name}}",
        ),
    )
    yield graph(
        "Unexpected exits",
        "Programs that ended with a code they should not have ended with, in the last 5 min.",
        query(
            "sum by (name) (increase("
            'supervisord_process_exits_total{job="exporter",expected="false"}[5m]))',
            "{{name}}",
        ),
    )
    yield timeline(
        "Alerts over time",
        "Which alerts of metrics/rules fired when.",
        query(
            'count by (alertname, build_id, name) (ALERTS{alertstate="firing"}) > bool 0',
            "{{alertname}} {{build_id}}{{name}}",
        ),
        yes_no_mapping("quiet", "firing"),
    )
