"""The dashboard *Stack and hosts*: whether everything runs that a rollout relies on."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.source.board import Section, board
from grafana.source.colours import code_mapping, yes_no_mapping
from grafana.source.panels import Panel, code, graph, number, query, timeline
from grafana.source.queries import controller, deployment, numbered
from rollout.prometheus.graphs import PROCESS_STATES
from rollout.prometheus.promql import selector

__all__ = ["stack"]

_RATED = "[$__rate_interval]"
_THIRD = 8
# Each machine has an exporter: programs of one name are told apart by it.
_BY = "sum by (instance, name)"
_NAME = "{{name}} at {{instance}}"
_BAD = ("no", "red")
_GOOD = ("yes", "green")


def stack() -> Dashboard:
    """The whole dashboard."""
    return board(
        "stack",
        "Stack and hosts",
        "Whether everything runs that a rollout relies on: processes, hosts, disks, scrapes.",
        (
            Section("Now", _now()),
            Section("Processes", _processes()),
            Section("Machine and hosts", _machine()),
            Section("Controller and Temporal", _control()),
            Section("Prometheus", _prometheus()),
        ),
    )


def _processes_of(name: str, **labels: str) -> str:
    """A series of each of supervisord's processes, whichever deployment it is of."""
    return selector(f"supervisord_process_{name}", job="exporter", **labels)


def _now() -> Iterator[Panel]:
    yield number(
        "Firing alerts",
        "Alerts of metrics/rules that fire now; *Alerts over time* names them.",
        'count(ALERTS{alertstate="firing"}) or vector(0)',
    )
    yield number(
        "Programs down",
        "Programs that supervisord has given up on, or that ended as they should not have.",
        f"count({_processes_of('state', state='fatal')} == 1) or "
        'vector(0) and on () (max(supervisord_up{job="exporter"}) == 1)',
    )
    yield number(
        "Targets down",
        "Of what Prometheus should scrape so much does not answer: it is down, or stopped.",
        "count(up == 0) or vector(0)",
    )
    answers = 'temporal_worker_deployment_up{job="exporter",deployment_name="$deployment"}'
    for title, told, expression in (
        (
            "Temporal answers",
            "Whether the exporter, or the controller that it asks, reads the deployment.",
            f"max by (deployment_name) ({answers})",
        ),
        (
            "rollout.toml is followed",
            "Whether it is as it is now, or its last good edition is followed.",
            f"min by (deployment_name) ({controller('config_ok')})",
        ),
        (
            "Program files are in order",
            "Whether supervisord could load its files; if not, a reload would take all down.",
            f"min by (deployment_name) ({controller('program_files_ok')})",
        ),
    ):
        yield code(title, told, yes_no_mapping(_BAD, _GOOD), expression, none="not known", span=4)


def _processes() -> Iterator[Panel]:
    yield timeline(
        "Process states",
        "What supervisord says of each program.",
        code_mapping(PROCESS_STATES),
        query(
            numbered(
                "supervisord_process_state",
                "state",
                PROCESS_STATES,
                "instance, name",
                {"job": "exporter"},
            ),
            _NAME,
        ),
    )
    yield timeline(
        "Alerts over time",
        "Which alerts of metrics/rules fired when.",
        yes_no_mapping(("quiet", "#6e7077"), ("firing", "red")),
        query(
            'count by (alertname, deployment_name, build_id, name) (ALERTS{alertstate="firing"}) '
            "> bool 0",
            "{{alertname}} {{deployment_name}} {{build_id}} {{name}}",
        ),
    )
    yield graph(
        "Process starts",
        "How often supervisord started each program in the last 5 min. A program that keeps on "
        "being started keeps on ending.",
        query(f"{_BY} (increase({_processes_of('starts_total')}[5m]))", _NAME),
    )
    yield graph(
        "Unexpected exits",
        "Programs that ended with a code they should not have ended with, in the last 5 min.",
        query(f"{_BY} (increase({_processes_of('exits_total', expected='false')}[5m]))", _NAME),
    )
    yield graph(
        "Memory",
        "Memory that each process itself holds.",
        query(f"{_BY} ({_processes_of('resident_memory_bytes')})", _NAME),
        unit="bytes",
    )
    yield graph(
        "Processor time",
        "Processors that each process itself keeps busy: 1 is one of them.",
        query(f"{_BY} (rate({_processes_of('cpu_seconds_total')}{_RATED}))", _NAME),
    )


def _machine() -> Iterator[Panel]:
    free = 'rollout_folder_free_bytes{job="exporter"}'
    size = 'rollout_folder_size_bytes{job="exporter"}'
    yield graph(
        "Room on the disk",
        "Bytes that can still be written where each data folder is.",
        query(f"min by (instance, folder) ({free})", "{{folder}} on {{instance}}"),
        unit="bytes",
        span=_THIRD,
    )
    yield graph(
        "Disk in use",
        "The part of the disk behind each data folder that is in use.",
        query(f"max by (instance, folder) (1 - {free} / {size})", "{{folder}} on {{instance}}"),
        unit="percentunit",
        span=_THIRD,
    ).max(1)
    yield timeline(
        "Worker hosts",
        "Whether each worker host with a `rollout host` has been heard within the last minute.",
        yes_no_mapping(("heard", "green"), ("silent", "red")),
        query(f"max by (host) ({deployment('host_silent')})", "{{host}}"),
        span=_THIRD,
    )
    yield graph(
        "Clocks",
        "Worker hosts whose clock is far from the controller's.",
        query(f"max by (deployment_name) ({deployment('skewed_clocks')})", "far from ours"),
    )
    yield graph(
        "Versions",
        "Versions that the server knows of the deployment, and how many it takes (dashed).",
        query(f"max by (deployment_name) ({deployment('versions')})", "known"),
        query(f"max by (deployment_name) ({controller('version_limit')})", "limit", "B"),
        dashed="/^limit/",
    )


def _control() -> Iterator[Panel]:
    yield graph(
        "Age of what is known",
        "For how long it has been since the oldest part of what controller and exporter tell was "
        "asked for.",
        query(
            'max by (job) (rollout_observation_age_seconds{deployment_name="$deployment"})',
            "{{job}}",
        ),
        unit="s",
        span=_THIRD,
    )
    yield graph(
        "Rounds of the controller",
        "Rounds of look, plan and act a second, by how they ended.",
        query(f"sum by (result) (rate({controller('reconciles_total')}{_RATED}))", "{{result}}"),
        unit="ops",
        span=_THIRD,
    )
    yield graph(
        "Refused as too many",
        "Calls of the controller that the server refused because there were too many, a second.",
        query(f'sum by (instance) (rate(rollout_throttled_total{{job="rollout"}}{_RATED}))',
              "{{instance}}"),
        unit="ops",
        span=_THIRD,
    )  # fmt: skip


def _prometheus() -> Iterator[Panel]:
    yield timeline(
        "Targets",
        "Whether each target answered its scrapes.",
        yes_no_mapping(("down", "red"), ("up", "green")),
        query("max by (job, instance) (up)", "{{job}} {{instance}}"),
    )
    yield graph(
        "Time of a scrape",
        "How long the scrapes of each job take at most.",
        query("max by (job) (scrape_duration_seconds)", "{{job}}"),
        unit="s",
    )
    yield graph(
        "Series",
        "Series that Prometheus holds in memory.",
        query('max by (instance) (prometheus_tsdb_head_series{job="prometheus"})', "{{instance}}"),
        span=_THIRD,
    )
    yield graph(
        "Samples",
        "Samples that Prometheus takes in a second.",
        query(
            "sum by (instance) "
            f'(rate(prometheus_tsdb_head_samples_appended_total{{job="prometheus"}}{_RATED}))',
            "{{instance}}",
        ),
        unit="ops",
        span=_THIRD,
    )
    yield graph(
        "Rules that failed",
        "Evaluations of rules that failed in the last 5 min; an alert that cannot be asked for "
        "never fires.",
        query(
            "sum by (instance) "
            '(increase(prometheus_rule_evaluation_failures_total{job="prometheus"}[5m]))',
            "{{instance}}",
        ),
        span=_THIRD,
    )
