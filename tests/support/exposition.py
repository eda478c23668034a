"""What the stack's processes export in the middle of a switchover from v1 to v2, a page a job."""

from __future__ import annotations

from rollout.core.observation import STATUSES
from rollout.prometheus.graphs import PROCESS_STATES

__all__ = ["PAGES"]


def _worker(build: str, share: float) -> str:
    labels = f'build_id="{build}",deployment_name="greetings",namespace="default"'
    of_type = f'{labels},task_queue="greetings",workflow_type='
    lines = [
        f'temporal_workflow_completed_total{{{of_type}"Greeting"}} +{40 * share}',
        f'temporal_workflow_completed_total{{{of_type}"Order"}} +{10 * share}',
        f'temporal_workflow_canceled_total{{{of_type}"Order"}} +{share}',
        f'temporal_workflow_continue_as_new_total{{{of_type}"Order"}} +{share}',
        f'temporal_workflow_endtoend_latency_seconds_count{{{of_type}"Greeting"}} +{40 * share}',
        f'temporal_workflow_endtoend_latency_seconds_count{{{of_type}"Order"}} +{10 * share}',
    ]
    for kind in ("workflow_task", "activity"):
        name = f"temporal_{kind}_schedule_to_start_latency_seconds_bucket"
        lines += [
            f'{name}{{{labels},le="0.01"}} +{30 * share}',
            f'{name}{{{labels},le="0.1"}} +{50 * share}',
            f'{name}{{{labels},le="+Inf"}} +{50 * share}',
        ]
    for worker in ("WorkflowWorker", "ActivityWorker", "LocalActivityWorker"):
        lines.append(f'temporal_worker_task_slots_used{{{labels},worker_type="{worker}"}} 3')
        lines.append(f'temporal_worker_task_slots_available{{{labels},worker_type="{worker}"}} 97')
    for poller in ("workflow_task", "sticky_workflow_task", "activity_task"):
        lines.append(f'temporal_num_pollers{{{labels},poller_type="{poller}"}} 5')
    if build == "v2":
        failed = 'failure_reason="NonDeterminismError"'
        lines += [
            f'temporal_workflow_failed_total{{{of_type}"Greeting"}} +1',
            f'temporal_workflow_task_execution_failed_total{{{of_type}"Order",{failed}}} 1',
        ]
    return "\n".join(lines)


def _exporter() -> str:
    deployment = 'namespace="default",deployment_name="greetings"'
    prefix = "temporal_worker_deployment"
    lines = [
        "supervisord_up 1",
        f"{prefix}_up 1",
        f'{prefix}_routing_change_time_seconds{{{deployment},kind="current",build_id="v1"}} 1.7e9',
        f'{prefix}_routing_change_time_seconds{{{deployment},kind="ramping",build_id="v2"}} 1.8e9',
    ]
    for build, status, ratio, runs in (("v1", "current", 0.9, 12), ("v2", "ramping", 0.1, 2)):
        labels = f'{deployment},build_id="{build}"'
        lines += [
            f'{prefix}_version_status{{{labels},status="{name}"}} {int(name == status)}'
            for name in STATUSES
        ]
        lines += [
            f"{prefix}_version_target_ratio{{{labels}}} {ratio}",
            f"{prefix}_version_open_workflows{{{labels}}} {runs}",
            f"{prefix}_version_safe_to_stop{{{labels}}} 0",
            f"{prefix}_version_workers{{{labels}}} 1",
        ]
    for program, now in (("worker-v1", "running"), ("worker-v2", "running"), ("load", "fatal")):
        labels = f'name="{program}",group="{program}"'
        lines += [
            f'supervisord_process_state{{{labels},state="{state}"}} {int(state == now)}'
            for state in PROCESS_STATES
        ]
        lines += [
            f"supervisord_process_start_time_seconds{{{labels}}} 1.7e9",
            f"supervisord_process_starts_total{{{labels}}} 1",
            f'supervisord_process_exits_total{{{labels},expected="true"}} 0',
            f'supervisord_process_exits_total{{{labels},expected="false"}} 0',
        ]
    return "\n".join(lines)


def _load() -> str:
    lines = [
        "client_version_crossings_total 0",
        "client_start_retries_total 0",
        'client_workflows_started_total{workflow_type="Greeting"} +40',
        'client_workflows_started_total{workflow_type="Order"} +10',
        'client_schedule_lag_seconds_bucket{le="0.01"} +50',
        'client_schedule_lag_seconds_bucket{le="+Inf"} +50',
    ]
    for build, share in (("v1", 0.9), ("v2", 0.1)):
        labels = f'workflow_type="Greeting",build_id="{build}"'
        lines += [
            f'client_workflows_finished_total{{{labels},outcome="completed"}} +{40 * share}',
            f'client_workflow_latency_seconds_bucket{{{labels},le="0.1"}} +{20 * share}',
            f'client_workflow_latency_seconds_bucket{{{labels},le="0.5"}} +{40 * share}',
            f'client_workflow_latency_seconds_bucket{{{labels},le="+Inf"}} +{40 * share}',
        ]
    return "\n".join(lines)


def _rollout() -> str:
    return """
rollout_reconciles_total{result="ok"} +1
rollout_phase{phase="progressing"} 1
rollout_phase{phase="complete"} 0
rollout_target_info{build_id="v2"} 1
rollout_paused 0
"""


PAGES = {
    "worker-v1": _worker("v1", 0.9),
    "worker-v2": _worker("v2", 0.1),
    "exporter": _exporter(),
    "load": _load(),
    "rollout": _rollout(),
}
