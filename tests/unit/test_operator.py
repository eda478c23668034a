"""Each action is performed in one place, and told of once."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
from structlog.testing import capture_logs
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.exit import Failure
from rollout.controller.operator import Operator
from rollout.core.actions import Action, ClearRamp, RemoveProgram
from rollout.core.config_file import parse
from rollout.temporal.deletion import NotYet
from rollout.temporal.routing import Refused
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
        operator = Operator(client, "d", "me")
        operator.work = dict.fromkeys(operator.work, work)
        return operator

    return make


def test_every_action_has_its_work() -> None:
    """An action that the planner gains needs a place here."""
    client: Client = _NoServer()  # type: ignore[assignment]
    assert set(Operator(client, "d", "me").work) == set(get_args(Action))


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
