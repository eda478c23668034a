"""What the events of a run's history hold: the calls that its code has made, and their names."""

from __future__ import annotations

import json
from collections import defaultdict

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

__all__ = ["UNKNOWN", "names_in", "scheduled", "value"]

UNKNOWN = object()
"""What a payload holds that only its owner can read."""

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
