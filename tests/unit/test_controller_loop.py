"""What of a plan is still carried out where a part of it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from rollout.controller.loop import carry_out
from rollout.controller.operator import Operator
from rollout.controller.refusals import Refusals, last_refusals
from rollout.core.actions import (
    Action,
    Block,
    ClearRamp,
    JoinSet,
    MoveRuns,
    Plan,
    SetCurrent,
    StartProgram,
    Verify,
)
from rollout.core.config_file import parse
from rollout.temporal.routing import Refused
from tests.support.synthetic_deployment import seen

CONFIG = parse('[deployment]\ntarget = "v2"')


class Hands:
    """Refuses some actions, and notes all that it is asked for."""

    def __init__(self, *refused: Action) -> None:
        self._refused = refused
        self.asked: list[Action] = []

    async def perform(self, action: Action, *_: object) -> None:
        """Do nothing, or refuse."""
        self.asked.append(action)
        if action in self._refused:
            raise Refused(f"could not {action}: no")


JOIN, CURRENT, START = JoinSet("v2", "v2"), SetCurrent("v2"), StartProgram("v1")
BLOCK, CLEAR = Block("v2", "bad"), ClearRamp()
REPLAY, MOVE, OTHER = Verify("v2", "v1"), MoveRuns("v1", "v2"), MoveRuns("v0", "v2")


@pytest.mark.parametrize(
    ("phase", "actions", "refused", "asked", "held_up"),
    [
        ("progressing", (JOIN, CURRENT, START), (), (JOIN, CURRENT, START), False),
        pytest.param(
            "progressing", (JOIN, CURRENT, START), (JOIN,), (JOIN, START), True,
            id="routing waits for what it needs, workers do not",
        ),
        pytest.param(
            "progressing", (START, CURRENT), (START,), (START, CURRENT), False,
            id="a program holds no routing up",
        ),
        pytest.param(
            "blocked", (BLOCK, CLEAR), (BLOCK,), (BLOCK, CLEAR), True,
            id="bad traffic ends although it cannot be noted",
        ),
        pytest.param(
            "moving", (REPLAY, MOVE, OTHER), (REPLAY, MOVE), (REPLAY, MOVE, OTHER), False,
            id="the runs of one build do not wait for another's",
        ),
    ],
)  # fmt: skip
async def test_a_refusal(  # noqa: PLR0917 - one column each
    phase: str,
    actions: tuple[Action, ...],
    refused: tuple[Action, ...],
    asked: tuple[Action, ...],
    held_up: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only what may depend on it is left for the next round, and `status` hears of it."""
    monkeypatch.setattr("rollout.base.settings.VAR", tmp_path)
    (tmp_path / "run").mkdir()
    hands = Hands(*refused)
    decided = Plan(phase, "why", actions)  # type: ignore[arg-type]
    operator = cast("Operator", hands)
    assert await carry_out(decided, operator, CONFIG, seen(), Refusals("d")) is held_up
    assert tuple(hands.asked) == asked
    assert last_refusals("d") == [f"could not {action}: no" for action in refused]
    assert not await carry_out(Plan("complete", "why"), operator, CONFIG, seen(), Refusals("d"))
    assert last_refusals("d") == []
