"""Work beside the controller's loop: begun once, heard of later, let be where it failed."""

from __future__ import annotations

import asyncio

import pytest

from rollout.controller.background import Background
from rollout.core.actions import Action, DeleteVersion, RemoveProgram, StartProgram, Verify
from rollout.temporal.routing import Overtaken, Refused
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
    failures = [Refused("it is broken")]

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


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Refused("could not do it"), "could not do it"),
        (ValueError("a mistake"), "could not remove the program of v1: a mistake"),
        (ValueError(), "could not remove the program of v1: ValueError"),
    ],
)
async def test_a_failure_is_told_and_let_be(error: Exception, told: str) -> None:
    """Whatever failed is refused with its reason, and not tried again at once."""
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        raise error

    background = Background()
    for _ in range(3):
        with pytest.raises(Refused, match=f"^{told}$"):
            await background.perform(RemoveProgram("v1"), work)
    assert tries == 1


async def test_it_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its pause it is tried again, and once it has gone well nothing is held against it."""
    monkeypatch.setattr("rollout.controller.background._FIRST_PAUSE", 0.05)
    failures = [Refused("busy"), Refused("busy")]

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


async def test_what_was_overtaken_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the routing changes in between, what is planned again is tried at once."""
    clock = [0.0]
    monkeypatch.setattr("rollout.controller.background._now", lambda: clock[0])
    begun: list[float] = []

    async def work() -> None:
        begun.append(clock[0])
        raise Overtaken("the routing has changed")

    background = Background()
    for clock[0] in range(20):
        with pytest.raises(Refused, match="routing has changed"):
            await background.perform(RemoveProgram("v1"), work)
    assert begun == list(range(20))


@pytest.mark.parametrize(
    ("action", "longest"),
    [(StartProgram("v1"), 10), (RemoveProgram("v1"), 120), (DeleteVersion("v1"), 30)],
)
async def test_the_longest_pause(
    action: Action, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it has failed, what new runs may wait for is tried again within 10 s."""
    clock = [0.0]
    monkeypatch.setattr("rollout.controller.background._now", lambda: clock[0])
    begun: list[float] = []

    async def work() -> None:
        begun.append(clock[0])
        raise Refused("busy")

    background = Background()
    for clock[0] in range(1000):
        with pytest.raises(Refused):
            await background.perform(action, work)
    assert begun[-1] - begun[-2] == longest
    assert begun[1] - begun[0] == 5
