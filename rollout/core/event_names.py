"""Pure: the stable name of everything that is logged about a rollout, and what each one means.

They are the values of the key ``event_name`` in the logs, of ``rollout events --json`` and of
reports. Names are added; none goes or changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollout.core import actions

__all__ = ["DONE", "EVENTS", "done_name"]

DONE: Mapping[type[actions.Action], str] = {
    actions.ClaimManager: "manager.claimed",
    actions.Declare: "version.declared",
    actions.JoinSet: "version.joined-set",
    actions.SetCurrent: "routing.current-set",
    actions.SetRamp: "routing.ramp-set",
    actions.ClearRamp: "routing.ramp-ended",
    actions.MoveRuns: "runs.moved",
    actions.StartGate: "gate.started",
    actions.Verify: "replay.done",
    actions.Block: "version.blocked",
    actions.LiftBlock: "version.unblocked",
    actions.TellHosts: "hosts.told",
    actions.StopProgram: "program.stopped",
    actions.StartProgram: "program.started",
    actions.ScaleProgram: "program.scaled",
    actions.RemoveProgram: "program.removed",
    actions.DeleteVersion: "version.deleted",
}
"""What each action is called once it was carried out."""

EVENTS: Mapping[str, str] = {
    # what the controller did
    "manager.claimed": "the controller has become the deployment's manager",
    "routing.current-set": "all new runs were sent to `build_id`",
    "routing.ramp-set": "`percentage` % of new runs were sent to `build_id`",
    "routing.ramp-ended": "the ramp was ended: all new runs go to the current build",
    "runs.moved": "the open runs of `source` were told to go on with `target`",
    "gate.started": "a smoke run of `build_id` was started on `task_queue`, try `attempt`",
    "replay.done": "runs of `source` were replayed on `build_id`",
    "version.blocked": "`build_id` gets no traffic any more: it was rolled back",
    "version.unblocked": "the block of `build_id` was lifted",
    "version.declared": "what the program of `build_id` says was noted on the server",
    "version.joined-set": "`build_id` was put into a version set",
    "version.deleted": "the server's record of `build_id` was deleted",
    "program.started": "the workers of `build_id` were started",
    "program.stopped": "the workers of `build_id` were told to stop",
    "program.scaled": "`build_id` was given more processes, or fewer",
    "program.removed": "the program of `build_id` was removed",
    "hosts.told": "what is wanted was left for the worker hosts",
    # what it decided, and what stood in its way
    "plan.changed": "the plan says something new: `phase`, `reason`, and what analysis has counted",
    "rollback.begun": "`build_id` is to be rolled back, and why",
    "replay.finished": "what came of replaying runs of `source` on `build_id`",
    "action.refused": "something was not carried out, and why",
    "action.outcome-unknown": "a call ended without an answer: nobody knows whether it was done",
    "action.crashed": "an action has failed in a way that nobody expected",
    "round.failed": "a whole round has failed in a way that nobody expected",
    "server.unreadable": "the server did not say where the deployment stands",
    "config.changed": "`rollout.toml` asks for something else",
    "config.broken": "`rollout.toml` cannot be followed; the last good one stays in force",
    # what it saw
    "routing.seen": "who gets new runs has changed, whoever did it",
    "manager.seen": "the deployment has another manager, or none",
    "gate.seen": "a smoke run has begun, passed or failed",
    "replay.seen": "the outcome of a replay was noted on a version",
    "verdict.safe": "`build_id` is safe to stop",
    "verdict.unsafe": "`build_id` is no longer safe to stop",
    "version.seen": "the server gives `build_id` another status",
    "version.gone": "the server knows `build_id` no longer",
    "version.blocked-seen": "`build_id` was noted as getting no traffic, and why",
    "process.seen": "supervisord gives the processes of `build_id` another state",
    "workers.seen": "`build_id` has more live workers, or fewer",
    "runs.drained": "no run is open on `build_id` any more",
    # whom it told
    "notification.sent": "somebody was told",
    "notification.failed": "somebody could not be told; it is tried again",
    "notification.lost": "somebody will not be told",
    "notification.crashed": "what there is to tell could not be found out or kept",
    # what it left behind
    "report.written": "a rollout has ended, and its report is in `file`",
    "report.failed": "a rollout has ended without a report",
    # what a person did
    "command.done": "somebody has given a command that changes something",
    # what supervisord tells, in `rollout events` and reports
    "process.started": "supervisord has started a process",
    "process.ready": "it has run for long enough to count as up",
    "process.exited": "it has ended by itself",
    "process.stopped": "it was told to end, and did",
    "process.killed": "it did not end in time, and is killed",
    "process.gave-up": "supervisord has given it up: it is FATAL",
    # what the server remembers, in `rollout events` and reports
    "version.registered": "the first worker of `build_id` has polled",
    "version.activated": "`build_id` first got new runs",
    "version.current": "`build_id` became current",
    "version.deactivated": "`build_id` got no more new runs",
    "version.drained": "the server found no open run on `build_id` any more",
    "version.ramping": "the share of `build_id` was set to what it is now",
}
"""Every name, in groups by who tells it."""


def done_name(action: actions.Action) -> str:
    """The name of what was done."""
    return DONE[type(action)]
