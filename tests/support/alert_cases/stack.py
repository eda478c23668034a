"""The alerts of alerts_stack.yml: when they fire, and when not."""

from __future__ import annotations

from tests.support.alerts import Case

__all__ = ["CASES"]

_EXPORTER = {"job": "exporter", "instance": "127.0.0.1:9192"}
_OWN = 'job="exporter", instance="127.0.0.1:9192"'
_WORKER = (
    'up{job="worker", instance="127.0.0.1:9102", deployment_name="greetings", build_id="v2", '
    'program="pool:w_1"}'
)
_LOAD = 'up{job="load", instance="127.0.0.1:9191", program="load"}'
_FREE = f'rollout_folder_free_bytes{{{_OWN}, folder="prometheus"}}'
_SIZE = f'rollout_folder_size_bytes{{{_OWN}, folder="prometheus"}}'
_PROMETHEUS = {**_EXPORTER, "folder": "prometheus"}


def _process(name: str, state: str, group: str | None = None) -> str:
    return (
        f'supervisord_process_state{{{_OWN}, name="{name}", group="{group or name}", '
        f'state="{state}"}}'
    )


def _starts(name: str) -> str:
    return f'supervisord_process_starts_total{{{_OWN}, name="{name}", group="{name}"}}'


_PROCESSES = (
    Case(
        "ProcessRestarting",
        "a program restarts for ever, and never turns fatal, until it is mended",
        {_starts("worker-v2"): "1x12 2+1x60 62x72"},
        quiet=("1m", "11m50s"),
        fires="6m",
        labels={**_EXPORTER, "name": "worker-v2", "group": "worker-v2"},
        summary="worker-v2 was started 60 times within five minutes.",
    ),
    Case(
        "ProcessRestarting",
        "two restarts by hand are no loop",
        {_starts("worker-v2"): "1x12 2x12 3x48"},
        quiet=("4m",),
    ),
    Case(
        "ProcessFatal",
        "at once, and not of one that was stopped",
        {
            _process("worker-v2", "fatal"): "0x3 1x9 0x20",
            _process("worker-v1", "stopped"): "1x24",
        },
        quiet=("10s", "1m20s"),
        fires="30s",
        labels={**_EXPORTER, "name": "worker-v2", "group": "worker-v2", "state": "fatal"},
        summary="supervisord has given up on worker-v2.",
    ),
    Case(
        "SupervisordUnreachable",
        "it does not answer",
        {f"supervisord_up{{{_OWN}}}": "1x3 0x9 1x10"},
        quiet=("10s", "1m20s"),
        fires="45s",
        labels=_EXPORTER,
        summary="supervisord does not answer the exporter.",
    ),
    Case(
        "ExporterDown",
        "it does not answer",
        {f"up{{{_OWN}}}": "1x3 0x9 1x10"},
        quiet=("10s", "1m20s"),
        fires="45s",
        labels=_EXPORTER,
        summary="The exporter does not answer, so versions and processes go unseen.",
    ),
    Case(
        "ExporterDown",
        "it is no target at all",
        {_LOAD: "1x20"},
        fires="45s",
        labels={"job": "exporter"},
        summary="The exporter does not answer, so versions and processes go unseen.",
    ),
    Case(
        "ControllerDown",
        "it does not answer",
        {'up{job="rollout", instance="127.0.0.1:9193"}': "1x3 0x15 1x10"},
        quiet=("30s", "2m"),
        fires="1m",
        labels={"job": "rollout", "instance": "127.0.0.1:9193"},
        summary="The rollout controller does not answer, so traffic stays where it is.",
    ),
    Case(
        "ControllerDown",
        "it is no target at all",
        {_LOAD: "1x20"},
        quiet=("10s",),
        fires="45s",
        labels={"job": "rollout"},
        summary="The rollout controller does not answer, so traffic stays where it is.",
    ),
    Case(
        "ProgramFilesBroken",
        "somebody saves a file that supervisord cannot load, and mends it",
        {
            f'rollout_program_files_ok{{job="rollout", instance="127.0.0.1:9193", '
            f'namespace="default", deployment_name="{name}"}}': "1x3 0x15 1x10"
            for name in ("shop", "pay")
        },
        quiet=("30s", "2m"),
        fires="1m",
        labels={"job": "rollout", "instance": "127.0.0.1:9193"},
        summary=(
            "supervisord could not load its program files again; a reload or a restart of it "
            "would take everything down."
        ),
    ),
    Case(
        "VersionsUnseen",
        "Temporal does not answer",
        {f'temporal_worker_deployment_up{{{_OWN}, deployment_name="greetings"}}': "1x3 0x15 1x10"},
        quiet=("30s", "2m"),
        fires="1m15s",
        labels={**_EXPORTER, "deployment_name": "greetings"},
        summary="Temporal does not say how the versions of greetings are.",
    ),
)

_SCRAPES = (
    Case(
        "ScrapeTargetDown",
        "a worker of a pool runs and serves no metrics any longer",
        {_WORKER: "1x3 0x20 1x10", _process("w_1", "running", "pool"): "1x40"},
        quiet=("1m", "2m20s"),
        fires="1m40s",
        labels={
            "job": "worker",
            "program": "pool:w_1",
            "name": "w_1",
            "instance": "127.0.0.1:9102",
            "deployment_name": "greetings",
            "build_id": "v2",
        },
        summary="pool:w_1 runs, and Prometheus gets no metrics from 127.0.0.1:9102.",
    ),
    Case(
        "ScrapeTargetDown",
        "the load hangs",
        {_LOAD: "1x3 0x40", _process("load", "running"): "1x40"},
        fires="1m40s",
        labels={
            "job": "load",
            "program": "load",
            "name": "load",
            "instance": "127.0.0.1:9191",
        },
        summary="load runs, and Prometheus gets no metrics from 127.0.0.1:9191.",
    ),
    Case(
        "ScrapeTargetDown",
        "a person has stopped it",
        {
            _LOAD: "1x3 0x40",
            _process("load", "running"): "1x3 0x40",
            _process("load", "stopped"): "0x3 1x40",
        },
        quiet=("1m40s",),
    ),
    Case(
        "ScrapeTargetMissing",
        "it runs, and is listed no longer; then it is again",
        {_LOAD: "1x12 stale _x24 1x40", _process("load", "running"): "1x80"},
        quiet=("1m", "4m"),
        fires="2m30s",
        labels={"job": "load", "program": "load", "name": "load"},
        summary="load runs, and is no target of Prometheus any longer.",
    ),
    Case(
        "ScrapeTargetMissing",
        "a build that was retired runs no longer",
        {_WORKER: "1x12 stale", _process("w_1", "running", "pool"): "1x12 stale"},
        quiet=("3m",),
    ),
)

_DELIVERY = (
    Case(
        "AlertsNotDelivered",
        "a webhook refuses them, for a while",
        {
            'alertmanager_notifications_failed_total{job="alertmanager", '
            'instance="127.0.0.1:9093", integration="webhook"}': "0x12 0+1x36 36x80",
            'alertmanager_notifications_failed_total{job="alertmanager", '
            'instance="127.0.0.1:9093", integration="email"}': "0x128",
        },
        quiet=("1m", "10m"),
        fires="4m",
        labels={"job": "alertmanager", "instance": "127.0.0.1:9093", "integration": "webhook"},
        summary=(
            "35 messages about alerts could not be delivered within five minutes, by alertmanager."
        ),
    ),
    Case(
        "AlertsNotDelivered",
        "the Alertmanager does not answer Prometheus",
        {
            'prometheus_notifications_errors_total{job="prometheus", instance="127.0.0.1:9090", '
            'alertmanager="http://127.0.0.1:9093/api/v2/alerts"}': "0x60 60x60",
        },
        quiet=("4m",),
        fires="7m",
        labels={"job": "prometheus", "instance": "127.0.0.1:9090"},
        summary=(
            "60 messages about alerts could not be delivered within five minutes, by prometheus."
        ),
    ),
)

_DISKS = (
    Case(
        "DiskFilling",
        "it grows so fast that it is full within four hours, and is given room",
        {_FREE: "20e9-200000000x30 60e9x60", _SIZE: "100e9x90"},
        interval="1m",
        quiet=("5m", "1h20m"),
        fires="20m",
        labels=_PROMETHEUS,
        summary=(
            "The disk of var/prometheus is full within four hours if it goes on so; 16% of it "
            "is free."
        ),
    ),
    Case(
        "DiskFilling",
        "most of it is free: it is the first hour of a new stack",
        {_FREE: "90e9-2000000000x30", _SIZE: "100e9x30"},
        interval="1m",
        quiet=("25m",),
    ),
    Case(
        "DiskAlmostFull",
        "less than a gigabyte is left",
        {_FREE: "2e9x12 5e8x24 4e9x24", _SIZE: "100e9x80"},
        quiet=("1m", "3m30s"),
        fires="2m30s",
        labels=_PROMETHEUS,
        summary=(
            "476.8MiB are free on the disk of var/prometheus; what cannot be written there is lost."
        ),
    ),
    Case(
        "DiskAlmostFull",
        "a small disk, half of it free",
        {_FREE: "9e8x80", _SIZE: "2e9x80"},
        quiet=("5m",),
    ),
)

CASES = (*_PROCESSES, *_SCRAPES, *_DELIVERY, *_DISKS)
