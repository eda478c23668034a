"""Arguments that differ between a history and the code, as replay sees them."""

from __future__ import annotations

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.client import WorkflowHistory
from temporalio.converter import PayloadConverter

from rollout.replay.drift import first_drift


def payloads(*arguments: object) -> list[Payload]:
    """The arguments as the SDK encodes them."""
    return [PayloadConverter.default.to_payload(argument) for argument in arguments]


def scheduled(event_id: int, activity_id: str, *arguments: object) -> HistoryEvent:
    """The event of an activity `pay`."""
    event = HistoryEvent(event_id=event_id)
    attributes = event.activity_task_scheduled_event_attributes
    attributes.activity_id = activity_id
    attributes.activity_type.name = "pay"
    attributes.input.payloads.extend(payloads(*arguments))
    return event


def initiated(event_id: int, workflow_id: str, *arguments: object) -> HistoryEvent:
    """The event of a child workflow `Pay`."""
    event = HistoryEvent(event_id=event_id)
    attributes = event.start_child_workflow_execution_initiated_event_attributes
    attributes.workflow_id = workflow_id
    attributes.workflow_type.name = "Pay"
    attributes.input.payloads.extend(payloads(*arguments))
    return event


def call(activity_id: str, *arguments: object, activity_type: str = "pay") -> WorkflowCommand:
    """The command that makes an activity."""
    command = WorkflowCommand()
    command.schedule_activity.activity_id = activity_id
    command.schedule_activity.activity_type = activity_type
    command.schedule_activity.arguments.extend(payloads(*arguments))
    return command


def history(*events: HistoryEvent) -> WorkflowHistory:
    """A history of these events."""
    return WorkflowHistory("order-1", events)


class TestArguments:
    """Which differences count."""

    @pytest.mark.parametrize(
        ("before", "now"),
        [
            ((), ()),
            (("a", 1), ("a", 1.0)),
            (("a",), ("a", "one more")),
            (("a", "one less now"), ("a",)),
            (({"id": 1},), ({"id": 1, "new": 2},)),
            (({"id": 1, "gone": 2},), ({"id": 1},)),
            (({"id": 1, "at": [1]},), ({"at": [1], "id": 1},)),
            ((float("nan"),), (float("nan"),)),
            ((b"raw",), (b"other",)),  # not JSON: nobody knows what it means
        ],
    )
    def test_no_difference(self, before: tuple[object, ...], now: tuple[object, ...]) -> None:
        """What only one side has, and what is no JSON, is no drift."""
        assert first_drift(history(scheduled(5, "1", *before)), [call("1", *now)]) is None

    @pytest.mark.parametrize(
        ("before", "now", "place"),
        [
            (("a",), ("b",), "argument 1 of"),
            (("a", None), ("a", 0), "argument 2 of"),
            (({"items": [{"id": 1}]},), ({"items": [{"id": 2}]},), "argument 1.items[0].id of"),
            (([1, 2],), ([1, 2, 3],), "argument 1 of"),
            (({"id": 1},), (1,), "argument 1 of"),
        ],
    )
    def test_a_difference_is_placed(
        self, before: tuple[object, ...], now: tuple[object, ...], place: str
    ) -> None:
        """The event and the place of the first difference are named, its values are not."""
        assert first_drift(history(scheduled(5, "1", *before)), [call("1", *now)]) == (
            5,
            f"{place} the activity pay is not what it was, which the SDK does not notice",
        )

    def test_a_secret_is_not_told(self) -> None:
        """Neither side's value is in the sentence."""
        drift = first_drift(history(scheduled(5, "1", "old-key")), [call("1", "new-key")])
        assert drift
        assert "key" not in drift[1]


class TestCalls:
    """Which event belongs to which command."""

    def test_the_first_of_several(self) -> None:
        """Of many calls the first that differs is the one named."""
        events = [scheduled(5, "1", "a"), scheduled(11, "2", "b"), scheduled(16, "3", "c")]
        calls = [call("1", "a"), call("2", "x"), call("3", "y")]
        assert (first_drift(history(*events), calls) or (0, ""))[0] == 11

    def test_one_id_again(self) -> None:
        """An id that the workflow uses twice is compared in the order of its uses."""
        events = [scheduled(5, "own", "a"), scheduled(11, "own", "b")]
        assert first_drift(history(*events), [call("own", "a"), call("own", "b")]) is None
        drift = first_drift(history(*events), [call("own", "a"), call("own", "a")])
        assert (drift or (0, ""))[0] == 11

    def test_beyond_the_history(self) -> None:
        """What the code does after the history's end is compared with nothing."""
        assert (
            first_drift(history(scheduled(5, "1", "a")), [call("1", "a"), call("2", "b")]) is None
        )

    def test_another_type(self) -> None:
        """Another activity in its place is the SDK's to tell."""
        calls = [call("1", "b", activity_type="other")]
        assert first_drift(history(scheduled(5, "1", "a")), calls) is None

    def test_a_child(self) -> None:
        """A child workflow's arguments count as well."""
        command = WorkflowCommand()
        child = command.start_child_workflow_execution
        child.workflow_id, child.workflow_type = "kid", "Pay"
        child.input.extend(payloads({"amount": 2}))
        drift = first_drift(history(initiated(7, "kid", {"amount": 1})), [command])
        assert drift
        assert drift[0] == 7
        assert drift[1].startswith("argument 1.amount of the child workflow Pay is not")
