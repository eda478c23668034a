"""Each action is performed in one place, and told of once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import get_args
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.exit import Failure
from rollout.base.log_records import Record
from rollout.controller.events import sentence
from rollout.controller.lock import is_running, only_one
from rollout.controller.loop import carry_out
from rollout.controller.operator import Operator
from rollout.controller.refusals import Refusals, last_refusals
from rollout.core.actions import (
    Action,
    ClearRamp,
    DeleteVersion,
    MoveRuns,
    Plan,
    RemoveProgram,
    SetCurrent,
    SetRamp,
    StopProgram,
)
from rollout.core.config_file import parse
from rollout.core.observation import Observation
from rollout.temporal.deletion import NotYet, delete_version
from rollout.temporal.routing import Refused
from rollout.temporal.rpc import WITHOUT_ANSWER
from tests.support.synthetic_deployment import seen

CONFIG = parse('[deployment]\ntarget = "v2"')


class _NoServer:
    """Stands where a client is kept and not asked anything."""

    namespace = "n"
    workflow_service = None


@pytest.fixture
def make_operator() -> Callable[..., Operator]:
    """An operator that, for every action, does what it is given."""

    def make(error: Exception | None = None) -> Operator:
        async def work(*_: object) -> None:
            if error is not None:
                raise error

        client: Client = _NoServer()  # type: ignore[assignment]
        operator = Operator(client, "d", "me", lambda _: None)
        operator.work = dict.fromkeys(operator.work, work)
        return operator

    return make


def test_every_action_has_its_work() -> None:
    """An action that the planner gains needs a place here."""
    client: Client = _NoServer()  # type: ignore[assignment]
    assert set(Operator(client, "d", "me", lambda _: None).work) == set(get_args(Action))


@pytest.mark.parametrize("action", [ClearRamp(), RemoveProgram("v1")])
async def test_what_is_done_is_told_once(
    action: Action, make_operator: Callable[..., Operator]
) -> None:
    """Whether it lasts or not, it is one line."""
    with capture_logs() as logged:
        await make_operator().perform(action, CONFIG, seen())
    assert [(line["event"], line["action"]) for line in logged] == [("done", str(action))]


@pytest.mark.parametrize("action", [ClearRamp(), RemoveProgram("v1")])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Failure("no program"), "could not {action}: no program"),
        (OSError("read-only file system"), "could not {action}: read-only file system"),
        (RPCError("somebody came in between", RPCStatusCode.ABORTED, b""),
         "could not {action}: somebody came in between"),
        (NotYet("v1", "it drains"), "v1 cannot be deleted yet: it drains"),
    ],
)  # fmt: skip
async def test_what_is_refused_says_what_and_why(
    action: Action, error: Exception, told: str, make_operator: Callable[..., Operator]
) -> None:
    """In the words of whoever refused it; nothing is said to be done."""
    with capture_logs() as logged, pytest.raises(Refused) as refused:
        await make_operator(error).perform(action, CONFIG, seen())
    assert str(refused.value) == told.format(action=action)
    assert logged == []


class _Changed:
    """A routing that somebody has changed since it was seen."""

    async def is_as_seen(self, _seen: Observation) -> bool:
        return False


@pytest.mark.parametrize(
    "action",
    [StopProgram("v1"), RemoveProgram("v1"), DeleteVersion("v1"), MoveRuns("v1", "v2")],
    ids=str,
)
async def test_nothing_is_taken_away_on_an_old_routing(action: Action) -> None:
    """What carries no token of its own is not done where new runs may go elsewhere by now."""
    client: Client = _NoServer()  # type: ignore[assignment]
    changes: list[Action] = []
    operator = Operator(client, "d", "me", changes.append)
    operator._routing = _Changed()  # type: ignore[assignment]
    with capture_logs() as logged, pytest.raises(Refused, match="routing has changed meanwhile"):
        await operator.perform(action, CONFIG, seen())
    assert (logged, changes) == ([], [])


async def test_what_was_done_is_looked_at(make_operator: Callable[..., Operator]) -> None:
    """Whether it was done, or nobody knows: what was read before is old then."""
    for error, number in ((None, 1), (RPCError("", RPCStatusCode.UNAVAILABLE, b""), 1),
                          (Failure("no program"), 0)):  # fmt: skip
        changes: list[Action] = []
        operator = make_operator(error)
        operator._changed = changes.append
        with suppress(Refused), capture_logs():
            await operator.perform(ClearRamp(), CONFIG, seen())
        assert len(changes) == number, error


class _Silent:
    """A routing whose server gives no answer; ``asked`` counts the calls."""

    def __init__(self, status: RPCStatusCode) -> None:
        self.asked = 0
        self._status = status

    async def change(self, _action: Action, _token: bytes) -> None:
        self.asked += 1
        raise RPCError("", self._status, b"")


@pytest.mark.parametrize("status", WITHOUT_ANSWER)
async def test_a_write_without_an_answer_is_unknown(
    status: RPCStatusCode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It may have been carried out: neither done nor refused is said, here or in history."""
    client: Client = _NoServer()  # type: ignore[assignment]
    operator = Operator(client, "d", "me", lambda _: None)
    routing = _Silent(status)
    operator._routing = routing  # type: ignore[assignment]
    monkeypatch.setattr("rollout.base.settings.VAR", tmp_path)
    (tmp_path / "run").mkdir()
    refusals = Refusals("d")
    plan = Plan("progressing", "", (SetRamp("v2", 50.0), SetCurrent("v2")))
    with capture_logs() as logged:
        assert await carry_out(plan, operator, CONFIG, seen(), refusals)
        assert await carry_out(plan, operator, CONFIG, seen(), refusals)
    told = (
        f"could not learn whether this was done: ramp v2 to 50 % ({status.name}); "
        "the next look finds out"
    )
    assert [(line["event"], line["reason"]) for line in logged] == [("outcome unknown", told)]
    assert routing.asked == 2
    assert last_refusals("d") == [told]
    record = Record(0.0, "rollout", {"event": "outcome unknown", "reason": told})
    assert sentence(record) == told


@pytest.mark.parametrize("status", WITHOUT_ANSWER)
async def test_a_deletion_without_an_answer_is_unknown(status: RPCStatusCode) -> None:
    """The same for the record of a version."""

    class _Service:
        async def delete_worker_deployment_version(self, *_: object, **__: object) -> None:
            raise RPCError("", status, b"")

    class _Client:
        namespace = "n"
        workflow_service = _Service()

    client: Client = _Client()  # type: ignore[assignment]
    with pytest.raises(NotYet, match=r"could not learn whether v1 was deleted: .*finds out"):
        await delete_version(client, "d", "v1", "me")


@pytest.mark.parametrize("deployment", ["it's", 'a"b', "release/2026-11", "../x", "ü 1", "%2F"])
def test_files_of_a_deployment_stay_in_their_folder(
    deployment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever it is called, its lock and its refusals have a file each, and no other's."""
    monkeypatch.setattr("rollout.base.settings.VAR", tmp_path)
    (tmp_path / "run").mkdir()
    with only_one(deployment):
        assert is_running(deployment)
    Refusals(deployment).note(["no"])
    assert last_refusals(deployment) == ["no"]
    quoted = quote(deployment, safe="")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        f"rollout-{quoted}.lock",
        f"rollout-{quoted}.refusal",
    }
