"""Work beside the controller's loop: begun once, heard of later, let be where it failed."""

from __future__ import annotations

import asyncio

import pytest

from rollout.base.exit import Failure
from rollout.controller.background import Background
from rollout.core.actions import Action, RemoveProgram, StartProgram, Verify
from rollout.temporal.routing import Refused
from tests.support.waiting import until


async def test_a_long_one_is_not_waited_for() -> None:
    """It is begun once, asked for each round, and told when it is done."""
    begun = 0
    go_on = asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        await go_on.wait()

    background = Background()
    for _ in range(2):
        await asyncio.wait_for(background.perform(StartProgram("v1"), work), 5)
    assert begun == 1
    go_on.set()
    await asyncio.sleep(0)
    await background.perform(StartProgram("v1"), work)
    await background.perform(StartProgram("v1"), work)
    assert begun == 2  # the first is over, so this is another


@pytest.mark.parametrize(("action", "ended"), [(Verify("v2", "v1"), 1), (StartProgram("v1"), 0)])
async def test_what_is_no_longer_planned(
    action: Action, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay that nobody waits for is ended, after a while; work on programs goes on."""
    ends = 0

    async def work() -> None:
        nonlocal ends
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends += 1
            raise

    background = Background()
    background.drop((action,))
    await background.perform(action, work)
    background.drop(())  # one round without it: a reading may have failed
    await asyncio.sleep(0)
    assert ends == 0
    monkeypatch.setattr("rollout.controller.background._FORGOTTEN", 0.0)
    background.drop(())
    await asyncio.sleep(0)
    assert ends == ended


async def test_a_failure_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planned anew after a while without it, an action is tried at once."""
    monkeypatch.setattr("rollout.controller.background._FORGOTTEN", 0.0)
    failures = [Failure("it is broken")]

    async def work() -> None:
        if failures:
            raise failures.pop()

    background = Background()
    background.drop((StartProgram("v1"),))
    with pytest.raises(Refused):
        await background.perform(StartProgram("v1"), work)
    await asyncio.sleep(0.01)
    background.drop(())
    await background.perform(StartProgram("v1"), work)


@pytest.mark.parametrize("error", [OSError("read-only file system"), Failure("no program")])
async def test_a_failure_is_told_and_let_be(error: Exception) -> None:
    """Whatever failed is refused with its reason, and not tried again at once."""
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        raise error

    background = Background()
    for _ in range(3):
        with pytest.raises(Refused, match=f"to remove the program of v1 failed: {error}"):
            await background.perform(RemoveProgram("v1"), work)
    assert tries == 1


async def test_it_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its pause it is tried again, and once it has gone well nothing is held against it."""
    monkeypatch.setattr("rollout.controller.background._FIRST_PAUSE", 0.05)
    failures = [Failure("busy"), Failure("busy")]

    async def work() -> None:
        if failures:
            raise failures.pop()

    background = Background()

    async def went_well() -> bool:
        try:
            await background.perform(RemoveProgram("v1"), work)
        except Refused:
            return False
        return True

    assert not await went_well()
    await until(went_well, seconds=10)
    assert not failures


async def test_what_is_not_asked_for_again_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The loop sees what became of it before it would ask: it is in the log all the same."""
    go_on = asyncio.Event()
    background = Background()
    await background.perform(RemoveProgram("v1"), go_on.wait)
    go_on.set()
    background.drop(())
    for _ in range(3):
        await asyncio.sleep(0)
    background.drop(())
    assert "remove the program of v1" in capsys.readouterr().out
