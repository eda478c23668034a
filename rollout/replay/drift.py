"""Finds what the SDK's replay passes over: activities and children given other arguments."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.client import WorkflowHistory

from rollout.temporal.history import UNKNOWN, scheduled, value

__all__ = ["UNNOTICED", "first_drift"]

UNNOTICED = "which the SDK does not notice"
"""What the sentence for a drift ends with."""


def first_drift(
    history: WorkflowHistory, commands: Sequence[WorkflowCommand]
) -> tuple[int, str] | None:
    """The first event in ``history`` that ``commands`` give other arguments, and a sentence.

    The SDK compares types and ids alone. Where a step is put in between and both are
    one activity, it takes the result of the one for that of the other, and the order
    is charged twice. Arguments and fields that only one side has are no difference,
    so that a compatible build may add some. Values are not named: they may be secret.
    """
    waiting = scheduled(history)
    for command in commands:
        if command.HasField("schedule_activity"):
            activity = command.schedule_activity
            call = ("activity", activity.activity_id, activity.activity_type)
            payloads = activity.arguments
        elif command.HasField("start_child_workflow_execution"):
            child = command.start_child_workflow_execution
            call = ("child workflow", child.workflow_id, child.workflow_type)
            payloads = child.input
        else:
            continue
        if not (events := waiting.get(call)):  # not done yet when the history ended
            continue
        event_id, before = events.pop(0)
        for number, (was, now) in enumerate(zip(before, payloads, strict=False), 1):
            if was.data != now.data and (place := _differs(value(was), value(now))) is not None:
                return event_id, (
                    f"argument {number}{place} of the {call[0]} {call[2]} is not what it was, "
                    f"{UNNOTICED}"
                )
    return None


def _differs(was: object, now: object, place: str = "") -> str | None:
    """Where two values differ first (``.items[2].price``, empty: at the top); None: nowhere."""
    if was is UNKNOWN or now is UNKNOWN:
        return None
    pairs: list[tuple[str, object, object]]
    if isinstance(was, dict) and isinstance(now, dict):
        pairs = [(f".{key}", was[key], now[key]) for key in was if key in now]
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        pairs = [(f"[{index}]", *both) for index, both in enumerate(zip(was, now, strict=True))]
    else:
        return None if was == now else place
    found = (_differs(before, after, place + name) for name, before, after in pairs)
    return next((where for where in found if where is not None), None)
