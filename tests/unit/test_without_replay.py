"""A build that names no replay command: what is said, noted, and warned of."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from temporalio.client import Client

from rollout.controller.operator import Operator
from rollout.core.actions import Verify
from rollout.core.config_file import parse
from rollout.core.takeover import UNTRIED
from rollout.core.warned import warnings
from rollout.replay.process import NoReplay
from rollout.replay.verification import Verification, as_json, summary
from rollout.replay.verify import verify_build
from rollout.temporal.metadata import Metadata
from tests.support.synthetic_deployment import T0, seen, version

WHY = "v2 has no replay command, so that its code cannot be tried"
CONFIG = parse('[deployment]\ntarget = "v2"\n')


class _NoServer:
    namespace = "n"
    workflow_service = None


class _Routing:
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.noted: list[Metadata] = []

    async def annotate(self, _build_id: str, entries: Metadata, **_: object) -> None:
        self.noted.append(entries)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """No server, and a program that names no command."""

    async def replay_command(*_: object) -> None:
        raise NoReplay(WHY)

    monkeypatch.setattr("rollout.replay.verify.replay_command", replay_command)
    return _NoServer()  # type: ignore[return-value]


async def test_it_has_not_passed(client: Client) -> None:
    """No run was replayed, and yet that is not the same as no run to replay."""
    found = await verify_build(client, "d", "v1", "v2", 20)
    assert not found.passed
    assert summary(found) == WHY
    assert (as_json(found)["passed"], as_json(found)["untried"]) == (False, WHY)
    assert Verification("v1", "v2", ()).passed


async def test_the_controller_notes_it_as_untried(client: Client) -> None:
    """By a mark that the plan tells from a replay that broke, whatever the reason says."""
    operator, routing = Operator(client, "d", "me", lambda _: None), _Routing()
    operator._routing = routing  # type: ignore[assignment]
    with capture_logs() as logged:
        await operator.work[Verify](Verify("v2", "v1"), CONFIG, seen())
    assert routing.noted[0].verified["v1"].text == f"{UNTRIED}{WHY}"
    assert [line["outcome"] for line in logged if line["event"] == "verified"] == [UNTRIED + WHY]


@pytest.mark.parametrize(
    ("activated", "holding", "warned"),
    [(True, 3, True), (True, None, True), (True, 0, False), (False, 3, False)],
)
def test_it_is_warned_of(activated: bool, holding: int | None, warned: bool) -> None:
    """From its first traffic on, while the other build has runs that it may have to go on with."""
    first = T0 if activated else None
    old = version("v1", "current", open_runs=holding, open_pinned=holding)
    new = version("v2", "ramping", first_activated_at=first, verified={"v1": UNTRIED + WHY})
    told = warnings(seen(old, new, current="v1"))
    assert (f"runs of v1 were not replayed: {WHY}" in told) is warned
