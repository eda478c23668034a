"""The SDK's runtime of a worker: its metrics labelled by build id, its heartbeat, its log."""

from __future__ import annotations

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from rollout.base.exit import Failure
from rollout.base.logs import core_logging
from rollout.base.settings import host_port, metrics_host
from rollout.base.sockets import can_listen
from rollout.worker.defaults import HEARTBEAT

__all__ = ["make_runtime"]

_TASK_LATENCY_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
_END_TO_END_MS = (
    5,
    10,
    25,
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    15_000,
    30_000,
    60_000,
    120_000,
)
# The SDK's own buckets start at 100 ms, where a healthy worker is long done.
_BUCKETS = {
    "temporal_workflow_task_schedule_to_start_latency": _TASK_LATENCY_MS,
    "temporal_workflow_task_execution_latency": _TASK_LATENCY_MS,
    "temporal_workflow_task_replay_latency": _TASK_LATENCY_MS,
    "temporal_activity_schedule_to_start_latency": _TASK_LATENCY_MS,
    "temporal_activity_execution_latency": _TASK_LATENCY_MS,
    "temporal_workflow_endtoend_latency": _END_TO_END_MS,
}


def make_runtime(metrics_port: int | None, *, deployment: str, build_id: str) -> Runtime:
    """A runtime that serves metrics on ``metrics_port``; none where it is None.

    Raises `Failure` where the port is taken.
    """
    metrics = None
    if metrics_port is not None:
        _refuse_taken(metrics_port)
        metrics = PrometheusConfig(
            bind_address=host_port(metrics_host(), metrics_port),
            counters_total_suffix=True,
            unit_suffix=True,
            durations_as_seconds=True,
            histogram_bucket_overrides={
                name: [bound / 1000 for bound in bounds] for name, bounds in _BUCKETS.items()
            },
        )
    try:
        return Runtime(
            telemetry=TelemetryConfig(
                logging=core_logging(),
                metrics=metrics,
                attach_service_name=False,
                # The SDK puts no build id on its series by itself.
                global_tags={"build_id": build_id, "deployment_name": deployment},
            ),
            worker_heartbeat_interval=HEARTBEAT,
        )
    except ValueError as error:
        raise Failure(f"metrics cannot be served on port {metrics_port}: {error}") from error


def _refuse_taken(port: int) -> None:
    if not can_listen(metrics_host(), port):
        raise Failure(f"port {port} for metrics is taken; give another --metrics-port")
