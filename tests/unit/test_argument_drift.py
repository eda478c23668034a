"""Other arguments are told and not called breakage; what cannot be decoded was not tried."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistory

from rollout.controller.operator import Operator
from rollout.core.actions import Verify
from rollout.core.config_file import parse
from rollout.replay import python
from rollout.replay.verification import Replayed, Verification, as_json, refusing_drift, summary
from rollout.replay.verify import replayed
from rollout.temporal.history import undecodable
from rollout.temporal.metadata import Metadata, Note
from rollout.worker.app import App
from tests.support.synthetic_deployment import seen

LINE = {
    "workflow_id": "order-1",
    "run_id": "r1",
    "workflow_type": "Order",
    "ok": True,
    "event_id": 9,
    "error": None,
}
DRIFT = "argument 1 of the activity pay is not what it was, which the SDK does not notice"
DRIFTED = Verification(
    "v1", "v2", (Replayed("order-1", "r1", "Order", ok=True, event_id=9, drift=DRIFT),)
)
TOLD = f"passed: 1 run of v1 replay on v2; order-1 (Order) gets other arguments at event 9: {DRIFT}"


class TestLines:
    """The output of a replay, whoever wrote it."""

    def test_a_line_of_today(self) -> None:
        """It says what differs, and keys of a later one are passed over."""
        found = replayed({**LINE, "drift": DRIFT, "later": 1})
        assert (found.ok, found.drift, found.error) == (True, DRIFT, None)

    def test_a_line_of_before(self) -> None:
        """A worker whose environment is older calls it an error; it is told apart."""
        found = replayed({**LINE, "ok": False, "error": DRIFT})
        assert (found.ok, found.drift, found.error) == (True, DRIFT, None)
        broken = replayed({**LINE, "ok": False, "error": "it does not fit"})
        assert (broken.ok, broken.drift, broken.error) == (False, None, "it does not fit")


class TestWords:
    """What is said of it."""

    def test_it_passes_and_is_told(self) -> None:
        """In the one line, and as JSON."""
        assert DRIFTED.passed
        assert summary(DRIFTED).startswith(TOLD)
        run = as_json(DRIFTED)["runs"][0]
        assert (run["ok"], run["error"], run["drift"]) == (True, None, DRIFT)

    def test_where_it_is_refused(self) -> None:
        """It is what breaks the run, in the same words."""
        refused = refusing_drift(DRIFTED)
        assert not refused.passed
        assert summary(refused) == f"order-1 (Order) breaks on v2 at event 9: {DRIFT}"


class _Routing:
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.noted: list[Metadata] = []

    async def annotate(self, _build_id: str, entries: Metadata, **_: object) -> None:
        self.noted.append(entries)


@pytest.mark.parametrize(
    ("policy", "accepted_code", "passed"),
    [
        ("warn", None, True),
        ("refuse", None, False),
        ("refuse", "other", False),
        ("refuse", "code", True),
    ],
)
async def test_what_the_controller_makes_of_it(
    policy: str, accepted_code: str | None, *, passed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It warns, or refuses unless this code was let through; history tells the drift."""
    note = Note(accepted_code, "by rollout retry --accept-drift") if accepted_code else None

    async def verify_build(*_: object) -> Verification:
        return DRIFTED

    async def version_metadata(*_: object) -> Metadata:
        return Metadata(fingerprint="code", drift_accepted=note)

    monkeypatch.setattr("rollout.controller.operator.verify_build", verify_build)
    monkeypatch.setattr("rollout.controller.operator.version_metadata", version_metadata)

    class _NoServer:
        namespace = "n"
        workflow_service = None

    client: Client = _NoServer()  # type: ignore[assignment]
    operator, routing = Operator(client, "d", "me", lambda _: None), _Routing()
    operator._routing = routing  # type: ignore[assignment]
    config = parse(f'[deployment]\ntarget = "v2"\n[verify]\narguments = "{policy}"')
    with capture_logs() as logged:
        await operator.work[Verify](Verify("v2", "v1"), config, seen())
    outcome = routing.noted[0].verified["v1"].text
    assert (outcome == "passed") is passed
    (told,) = [line["outcome"] for line in logged if line["event"] == "verified"]
    assert DRIFT in told
    assert told.endswith("accepted by rollout retry --accept-drift") is (accepted_code == "code")


def test_what_was_accepted_is_kept_on_the_version() -> None:
    """For this code alone, like a block."""
    kept = Metadata(fingerprint="c", drift_accepted=Note("c", "by rollout retry --accept-drift"))
    entries = kept.entries()
    assert entries["drift_accepted"] == "c by rollout retry --accept-drift"
    read = Metadata.read(entries)
    assert read == kept
    assert read.of_this_code(read.drift_accepted) == "by rollout retry --accept-drift"


@workflow.defn(name="Order", sandboxed=False)
class _Order:
    @workflow.run
    async def run(self, order: dict[str, str]) -> str:
        return order["id"]


def history(payload: Payload) -> WorkflowHistory:
    """A run whose first task has been completed by starting a timer."""
    started = HistoryEvent(event_id=1, event_type=1)  # type: ignore[arg-type]
    attributes = started.workflow_execution_started_event_attributes
    attributes.workflow_type.name = "Order"
    attributes.task_queue.name = "q"
    attributes.original_execution_run_id = "r1"
    attributes.input.payloads.append(payload)
    scheduled = HistoryEvent(event_id=2, event_type=5)  # type: ignore[arg-type]
    scheduled.workflow_task_scheduled_event_attributes.task_queue.name = "q"
    begun = HistoryEvent(event_id=3, event_type=6)  # type: ignore[arg-type]
    begun.workflow_task_started_event_attributes.scheduled_event_id = 2
    done = HistoryEvent(event_id=4, event_type=7)  # type: ignore[arg-type]
    done.workflow_task_completed_event_attributes.scheduled_event_id = 2
    done.workflow_task_completed_event_attributes.started_event_id = 3
    timer = HistoryEvent(event_id=5, event_type=17)  # type: ignore[arg-type]
    timer.timer_started_event_attributes.timer_id = "1"
    timer.timer_started_event_attributes.workflow_task_completed_event_id = 4
    events = [started, scheduled, begun, done, timer]
    for event in events:
        event.event_time.FromSeconds(1_800_000_000 + event.event_id)
    return WorkflowHistory("order-1", events)


@pytest.mark.parametrize(
    ("encoding", "left_out"),
    [
        (
            "binary/encrypted",
            "could not be tried: payloads encoded as binary/encrypted cannot be decoded here",
        ),
        ("json/plain", None),
    ],
)
async def test_encrypted_histories(encoding: str, left_out: str | None) -> None:
    """One that the code cannot decode was not tried; one that it can decode breaks or fits."""
    payload = Payload(metadata={"encoding": encoding.encode()}, data=b'{"id": "1"}')
    given = python._History("r1", "Order", "q", "default", history(payload))
    app = App("orders", [_Order], [], "code")
    outcome = await python._Replays(app, "d", "v2").one(given)
    assert outcome.get("left_out") == left_out
    assert not outcome["ok"]


async def test_code_that_fails_beside_what_is_encrypted() -> None:
    """It breaks the run: that some memo cannot be decoded excuses nothing."""
    found = history(Payload(metadata={"encoding": b"json/plain"}, data=b"{}"))
    attributes = found.events[0].workflow_execution_started_event_attributes
    attributes.memo.fields["a"].metadata["encoding"] = b"binary/encrypted"
    given = python._History("r1", "Order", "q", "default", found)
    app = App("orders", [_Order], [], "code")
    outcome = await python._Replays(app, "d", "v2").one(given)
    assert "left_out" not in outcome
    assert outcome["error"] == "the workflow code raises KeyError: 'id'"


def test_what_cannot_be_decoded() -> None:
    """Encodings of every payload, in maps and lists alike, but for the SDK's own."""
    found = history(Payload(metadata={"encoding": b"json/plain"}, data=b"1"))
    assert undecodable(found) == []
    attributes = found.events[0].workflow_execution_started_event_attributes
    attributes.memo.fields["a"].metadata["encoding"] = b"binary/zip"
    attributes.input.payloads.add().metadata["encoding"] = b"binary/encrypted"
    assert undecodable(found) == ["binary/encrypted", "binary/zip"]
