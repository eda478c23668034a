"""The dashboard *Switchover*: new runs move from one build to the next, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.source.board import Section, board, build_variable, type_variable
from grafana.source.colours import code_mapping
from grafana.source.failures import failures
from grafana.source.load import load
from grafana.source.panels import Panel, amount, code, graph, query, share, timeline, word
from grafana.source.queries import (
    MATTERS,
    SCOPE,
    TYPE,
    by_build,
    controller,
    deployment,
    numbered,
    p95,
    rate_of,
    version,
)
from rollout.core.actions import Kind, Phase
from rollout.core.observation import STATUSES
from rollout.prometheus.sdk_metrics import counter

__all__ = ["switchover"]

_PHASES: tuple[str, ...] = get_args(Phase)
_KINDS: tuple[str, ...] = get_args(Kind)
_OUTCOMES = ("advance", "hold", "rollback")
_WORK = ("workflow_tasks", "activities", "workflows", "runs")

_SAFE = "safe"
_CHECKS = {
    "routing": "gets new runs",
    "routing_settled": "routing on its way",
    "server_status": "not drained",
    "fresh": "look is old",
    "open_runs": "open runs",
    "new_runs": "new runs wait",
    "backlog": "tasks wait",
    "replacement": "no replacement",
    "hosts": "a host is silent",
}
"""Each point of the evidence, in words of a screen."""

_BLOCKING = ("rolled_back", "other_code", "other_manager")


def switchover() -> Dashboard:
    """The whole dashboard."""
    return board(
        "switchover",
        "Switchover",
        "New workflow runs move from one build to the next; when may the old one stop?",
        (
            Section("Now", _now()),
            Section("Who gets new runs", _routing()),
            Section("How far the drain is", _drain()),
            Section("Old against new", _against()),
            Section("Why nothing happens", _reasons()),
            Section("The demo's load", load(), hidden=True),
        ),
        (build_variable(), type_variable()),
    )


def _draining(expression: str) -> str:
    """Of the builds that new runs no longer go to, and that have some left."""
    draining = by_build(version("status", status="draining"))
    return f"{by_build(expression)} and on (build_id) ({draining} == 1)"


def _may_stop() -> str:
    """0 for a build that is safe to stop, else the place of what speaks first against it."""
    name = "temporal_worker_deployment_version_stop_objection"
    within = {"job": "exporter", **SCOPE}
    against = numbered(name, "check", (_SAFE, *_CHECKS), "build_id", within)
    safe = f"{by_build(version('safe_to_stop'), 'min')} == 1"
    return f"({safe} or {against}) and on (build_id) {MATTERS}"


_MAY_STOP = code_mapping(
    (_SAFE, *_CHECKS),
    {
        _SAFE: ("yes", "green"),
        **{check: (f"no: {told}", "text") for check, told in _CHECKS.items()},
    },
)


def _now() -> Iterator[Panel]:
    yield word(
        "Target",
        "The build that rollout.toml wants new runs to go to.",
        f"max by (build_id) ({controller('target_info')})",
        "build_id",
        span=2,
    )
    yield code(
        "Phase",
        "What the controller is doing. Red: a person has to act.",
        code_mapping(_PHASES),
        numbered("rollout_phase", "phase", _PHASES, "deployment_name", {"job": "rollout", **SCOPE}),
        none="no controller",
    )
    yield amount(
        "Because of, for",
        "What the controller waits for or is at, and for how long; `rollout status` has the whole "
        "sentence.",
        f"time() - max by (kind) ({controller('reason_since_seconds')})",
        "{{kind}}",
        unit="s",
        none="no controller",
    )
    yield amount(
        "Meant to get new runs",
        "The server's routing: the share of new runs that each build is meant to get.",
        f"{by_build(version('target_ratio'))} > 0",
        unit="percentunit",
        none="nobody",
    )
    yield amount(
        "Really gets them",
        "The share of the runs begun since the routing last changed that each build has got, as "
        "the server counts them.",
        f"{by_build(version('real_ratio'))} > 0",
        unit="percentunit",
        none="not known",
    )
    yield amount(
        "Runs left",
        "Running workflows on builds that are draining.",
        _draining(version("open_workflows")),
        none="none drains",
        span=2,
    )
    yield amount(
        "Drained in",
        "When those will be done at the pace of the last 2 min.",
        _draining(f"{version('open_workflows')} / (-deriv({version('open_workflows')}[2m]) > 0)"),
        unit="s",
        none="no pace yet",
        span=2,
    )
    yield code(
        "Worse than before?",
        "The analysis's word on the target while it ramps: red is proven, and rolls back. *Old "
        "against new* has its numbers.",
        code_mapping(
            _OUTCOMES,
            {
                "advance": ("no", "green"),
                "hold": ("not sure: held", "orange"),
                "rollback": ("yes: back", "red"),
            },
        ),
        numbered(
            "rollout_analysis_outcome", "outcome", _OUTCOMES, "deployment_name",
            {"job": "rollout", **SCOPE},
        ),
        none="nothing ramps",
    )  # fmt: skip
    yield code(
        "May I stop it?",
        "Whether all evidence says that a build's workers may be stopped, or what speaks first "
        "against it; `rollout status` names each point.",
        _MAY_STOP,
        _may_stop(),
        "{{build_id}}",
        none="not known",
    )


def _routing() -> Iterator[Panel]:
    yield share(
        "Meant to get new runs, over time",
        "The server's routing: each build's share of new runs.",
        f"{by_build(version('target_ratio'))} > 0",
    )
    yield share(
        "Really gets them, over time",
        "Each build's share of the runs begun since the routing last changed, as the server "
        "counts them.",
        f"{by_build(version('real_ratio'))} > 0",
    )
    yield graph(
        "Runs completed",
        "Runs of the chosen type that each build completes a second. Of a type that takes next to "
        "no time this shows where new runs go; long runs complete where they began.",
        query(rate_of(counter("workflow_completed"), workflow_type=TYPE)),
        unit="ops",
    )
    yield timeline(
        "Version states",
        "What the server says of each build.",
        code_mapping(STATUSES),
        query(
            numbered(
                "temporal_worker_deployment_version_status", "status", STATUSES, "build_id",
                {"job": "exporter", **SCOPE},
            )
            + f" and on (build_id) {MATTERS}"
        ),
    )  # fmt: skip


def _drain() -> Iterator[Panel]:
    of_those = f"and on (build_id) {MATTERS}"
    yield graph(
        "Open runs",
        "Runs that have begun on a build and have not ended; pinned ones (dashed) need its workers "
        "until they end.",
        query(f"{by_build(version('open_workflows'))} {of_those}"),
        query(
            f"{by_build(version('open_pinned_workflows'))} {of_those}", "{{build_id}} pinned", "B"
        ),
        dashed="/ pinned$/",
    )
    yield timeline(
        "May it stop, over time",
        "Whether all evidence says that a build's workers may be stopped, or what speaks first "
        "against it.",
        _MAY_STOP,
        query(_may_stop()),
    )
    yield graph(
        "Tasks that wait",
        "Tasks in each build's queues that no worker has taken, approximately.",
        query(f"{by_build(version('waiting_tasks'))} {of_those}"),
    )
    yield graph(
        "New runs without a version",
        "Runs whose first task no version has completed yet, and those of them that have been due "
        "for more than 10 s: nobody takes them.",
        query(f"max by (deployment_name) ({deployment('unassigned_runs')})", "not begun"),
        query(f"max by (deployment_name) ({deployment('stuck_runs')})", "wait", "B"),
    )


def _judged(name: str) -> str:
    return f"max by (build_id, side, work) ({controller(f'analysis_{name}')})"


def _against() -> Iterator[Panel]:
    yield from failures("Failing activities", "Failing workflow tasks", "Failing workflows", span=8)
    yield graph(
        "What the analysis has proven",
        "The target's failure ratio is above its bound, the current build's below its own, however "
        "often one looks. Where they are further apart than the limit, the target is rolled back.",
        query(_judged("failure_bound_ratio"), "{{build_id}} {{work}} ({{side}})"),
        query(
            f"max by (deployment_name) ({controller('analysis_failure_limit_ratio')})",
            "limit of the distance",
            "B",
        ),
        unit="percentunit",
        dashed="/^limit/",
        span=8,
    )
    yield graph(
        "What the analysis has counted",
        "Work done, and of that failed (dashed), since traffic last changed.",
        query(_judged("executions"), "{{build_id}} {{work}}"),
        query(_judged("failures"), "{{build_id}} {{work}} failed", "B"),
        dashed="/ failed$/",
        span=8,
    )
    yield timeline(
        "The analysis's word",
        "Whether the target went on, was held, or went back.",
        code_mapping(_OUTCOMES),
        query(
            numbered(
                "rollout_analysis_outcome", "outcome", _OUTCOMES, "deployment_name",
                {"job": "rollout", **SCOPE},
            ),
            "target",
        ),
        span=8,
    )  # fmt: skip
    of_type = {"workflow_type": TYPE}
    yield graph(
        "Latency",
        "Median and 95th percentile (dashed) of the runs of the chosen type, from start to end.",
        query(p95("workflow_endtoend", 0.5, of_type), "{{build_id}} median"),
        query(p95("workflow_endtoend", 0.95, of_type), "{{build_id}} p95", "B"),
        unit="s",
        dashed="/ p95$/",
    )
    yield graph(
        "Latency that the analysis compares",
        "The 95th percentiles of target and current, and what the target's may be (dashed).",
        query(
            f"max by (build_id, latency) ({controller('analysis_latency_seconds')})",
            "{{build_id}} {{latency}}",
        ),
        query(
            f"max by (latency) ({controller('analysis_latency_limit_seconds')})",
            "limit of {{latency}}",
            "B",
        ),
        unit="s",
        dashed="/^limit/",
    )


def _reasons() -> Iterator[Panel]:
    within = {"job": "rollout", **SCOPE}
    words = {kind: (kind.replace("_", " "), "red") for kind in _BLOCKING}
    yield timeline(
        "Phase and reason",
        "What the controller did when, and because of what. Red: a person had to act.",
        code_mapping(_PHASES),
        query(numbered("rollout_phase", "phase", _PHASES, "deployment_name", within), "phase"),
    )
    yield timeline(
        "Reason",
        "What the controller waited for or was at.",
        code_mapping(_KINDS, {**words, "complete": ("complete", "green")}),
        query(
            f"max by (deployment_name) ({_numbered_kinds()})",
            "reason",
        ),
    )
    yield graph(
        "Held by the analysis",
        "For how long the present step has been held, and max_hold of rollout.toml (dashed).",
        query(f"max by (deployment_name) ({controller('held_seconds')})", "held"),
        query(f"max by (deployment_name) ({controller('held_limit_seconds')})", "limit", "B"),
        unit="s",
        dashed="/^limit/",
    )
    yield timeline(
        "Gates and replays",
        "What came of the target's gate on each task queue, and of the replay of each build's "
        "runs on it.",
        code_mapping(("running", "passed", "failed", "untried")),
        query(
            numbered(
                "rollout_gate_outcome", "outcome", ("running", "passed", "failed"),
                "build_id, task_queue", within,
            ),
            "gate of {{build_id}} on {{task_queue}}",
        ),
        query(
            numbered(
                "rollout_replay_outcome", "outcome", ("running", "passed", "failed", "untried"),
                "build_id, source", within,
            ),
            "{{source}} on {{build_id}}",
            "B",
        ),
    )  # fmt: skip


def _numbered_kinds() -> str:
    """The place in `Kind`, from 1, of the present reason."""
    each = (
        f"{number} * ({controller('reason_since_seconds', kind=kind)} > bool 0)"
        for number, kind in enumerate(_KINDS, start=1)
    )
    return " or ".join(each)
