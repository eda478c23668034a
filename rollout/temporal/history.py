"""What the events of a run's history hold: the calls that its code has made, and their names."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.converter import PayloadCodec

__all__ = ["UNKNOWN", "names_in", "readable", "scheduled", "undecodable", "value"]

UNKNOWN = object()
"""What a payload holds that only its owner can read."""

_READABLE = {
    *("", "binary/null", "binary/plain", "binary/protobuf"),
    *("json/plain", "json/protobuf"),
}

Call = tuple[str, str, str]
"""activity or child workflow, its id, its type: where the types differ, the SDK says so."""
Calls = dict[Call, list[tuple[int, list[Payload]]]]


def scheduled(history: WorkflowHistory) -> Calls:
    """The event and the arguments of each activity and child, by its kind and id."""
    found: Calls = defaultdict(list)
    for event in history.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            activity = event.activity_task_scheduled_event_attributes
            arguments = (event.event_id, list(activity.input.payloads))
            found["activity", activity.activity_id, activity.activity_type.name].append(arguments)
        elif event.HasField("start_child_workflow_execution_initiated_event_attributes"):
            child = event.start_child_workflow_execution_initiated_event_attributes
            arguments = (event.event_id, list(child.input.payloads))
            found["child workflow", child.workflow_id, child.workflow_type.name].append(arguments)
    return found


async def readable(history: WorkflowHistory, codec: PayloadCodec | None) -> WorkflowHistory:
    """``history``, with the arguments of what its code has scheduled decoded by ``codec``.

    What it cannot decode stays as it is.
    """
    if codec is None:
        return history
    events = []
    for event in history.events:
        copy = HistoryEvent()
        copy.CopyFrom(event)
        for field in ("activity_task_scheduled", "start_child_workflow_execution_initiated"):
            if copy.HasField(f"{field}_event_attributes"):  # type: ignore[arg-type]
                with contextlib.suppress(Exception):
                    await codec.decode_wrapper(getattr(copy, f"{field}_event_attributes").input)
        events.append(copy)
    return WorkflowHistory(history.workflow_id, events)


def value(payload: Payload) -> object:
    """What a payload holds; `UNKNOWN` where it is not JSON."""
    encoding = payload.metadata.get("encoding")
    if encoding == b"binary/null":
        return None
    if encoding not in (b"json/plain", b"json/protobuf"):
        return UNKNOWN
    try:
        return json.loads(payload.data)
    except ValueError:
        return UNKNOWN


def undecodable(history: WorkflowHistory) -> list[str]:
    """The encodings in ``history`` that only their owner's codec can read, as a rule a cipher's."""
    found: set[str] = set()
    waiting: list[Message] = list(history.events)
    while waiting:
        message = waiting.pop()
        if isinstance(message, Payload):
            encoding = message.metadata.get("encoding", b"").decode(errors="replace")
            found.update({encoding} - _READABLE)
            continue
        for descriptor, content in message.ListFields():
            if descriptor.message_type is None:
                continue
            if isinstance(content, Message):
                waiting.append(content)
            else:
                values = content.values() if hasattr(content, "values") else content
                waiting.extend(each for each in values if isinstance(each, Message))
    return sorted(found)


def names_in(event: HistoryEvent) -> tuple[str, ...]:
    """The types and ids of what ``event`` schedules; empty texts where it is no such event."""
    activity = event.activity_task_scheduled_event_attributes
    child = event.start_child_workflow_execution_initiated_event_attributes
    nexus = event.nexus_operation_scheduled_event_attributes
    return (
        *(activity.activity_type.name, activity.activity_id),
        *(child.workflow_type.name, child.workflow_id),
        *(nexus.service, nexus.operation),
    )
