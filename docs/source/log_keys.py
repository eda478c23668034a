"""The one table of the keys that log records carry."""

from __future__ import annotations

from docs.source.markdown import code, table

__all__ = ["KEYS", "log_keys"]

_ALWAYS = {
    "timestamp": "RFC 3339, UTC",
    "level": "`debug`, `info`, `warning`, `error` or `critical`",
    "event": "what happened, in the same words each time",
    "event_name": "of what is logged about a rollout: its [stable name](#events)",
    "logger": "the module that says so; `temporalio.core` for the SDK's own",
    "service.name": "the kind of process: `worker`, `rollout`, `exporter`, `load`, `client`",
}
_OF_A_BUILD = {
    "build_id": "the build: a worker's own, or the one that the record is about",
    "service.version": "a worker's build, by OpenTelemetry's name",
    "deployment_name": "the worker deployment",
}
_IN_A_RUN = {
    "workflow_id": "the workflow",
    "run_id": "its run",
    "workflow_type": "its type",
    "activity_type": "the activity's type",
    "activity_id": "the activity within its run",
    "task_queue": "the task queue",
    "attempt": "which try it is, counted from 1",
    "calls": "how many calls the server has refused so far because there were too many",
    "trace_id": "of OpenTelemetry, where it is [traced](logs-and-traces.md)",
    "span_id": "the span within it",
}
_AT_THE_END = {
    "exit_code": "in the last record of a process that failed: what it ends with",
    "exception": "the traceback of an error that nobody expected",
}
_CONTROLLER = {
    "action": "what was done, in words",
    "counted": "of a plan: what analysis has counted of each build, failed and executed",
    "percentage": "of new runs, 0 to 100",
    "target": "the build whose runs those of `source` become",
    "calls": "how often the server has said that it is asked too much",
    "changes": "what has changed in `rollout.toml`",
    "channel": "of a notification: `command`, `webhook` or which of `apprise`",
    "outcome": "of a replay: `passed`, or what broke; of a rollout: how it ended",
    "phase": "as in `status`",
    "reason": "why, in a sentence",
    "source": "the build whose runs were replayed, or moved",
    "who": "who did what was seen, where that was not the deployment's manager",
    "text": "what was seen; of a notification: what was to be told",
    "error": "what went wrong, in its own words",
    "retry_in_seconds": "when it is tried again",
}
_COMMAND = {
    "command": "in `commands.log`: what was typed, without what may be a secret",
    "who": "by whom",
    "program": "whose processes were left behind, and ended",
}
_WORKER = {
    "at_most_seconds": "how long running activities may take to finish",
    "behavior": "what was declared for workflows that say nothing: `pinned`, `auto-upgrade`",
    "code": "the fingerprint of the build's code",
    "current": "the build that is current",
    "default": "of version sets: the build that new runs go to",
    "module": "the module with the build's workflows",
    "place": "of version sets: where the build is in them",
    "strategy": "the strategy that was declared",
}
_HOST = {
    "host": "the worker host, as `rollout status` calls it",
}
_EXPORTER = {
    "file": "the file that was written: of Prometheus's targets, or a report",
    "targets": "how many targets are in it",
    "trouble": "the event that told of what is now over",
    "url": "where metrics are served",
}
_LOAD = {
    "after_seconds": "how long Temporal took no starts",
    "builds": "every build that ran a part of a run",
    "by_build": "completed runs of each build",
    "completed": "runs that completed",
    "crossed": "runs that more than one build ran",
    "cycles": "of a subscription: its cycles in all",
    "failed": "runs that ended without a good result",
    "id_prefix": "what the ids of this load's workflows have in common",
    "not_taken": "starts that the server has not taken yet",
    "open": "runs that have not ended",
    "started": "starts that the server took",
    "wait_seconds": "how long runs that are nearly done are waited for",
}
_GROUPS = (
    ("In every record", _ALWAYS),
    ("Of a build or a deployment", _OF_A_BUILD),
    ("In a workflow or an activity", _IN_A_RUN),
    ("Of an error", _AT_THE_END),
    ("Controller, and waiting for Temporal", _CONTROLLER),
    ("Command", _COMMAND),
    ("Worker", _WORKER),
    ("Worker host", _HOST),
    ("Exporter", _EXPORTER),
    ("Load and client", _LOAD),
)

KEYS = frozenset(key for _, keys in _GROUPS for key in keys)


def log_keys() -> str:
    """A table for each place that a key is used in."""
    return "\n\n".join(
        f"### {title}\n\n"
        + table(("key", "meaning"), ((code(key), text) for key, text in keys.items()))
        for title, keys in _GROUPS
    )
