"""A worker that takes its place by itself, on a synthetic world instead of a server."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import cast

import pytest
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.exit import Failure
from rollout.core.actions import Action, MoveRuns, SetCurrent
from rollout.core.observation import Observation
from rollout.temporal.interface import Routing
from rollout.temporal.routing import Refused
from rollout.worker.self_routing import take_place
from tests.support.world import World, fresh, seen


@dataclass
class Played:
    """A routing that plays a `World`; ``obstacles`` are raised first, one a call."""

    world: World
    obstacles: list[Exception] = field(default_factory=list)

    async def observe(self) -> Observation:
        """What the world looks like, a second later each time."""
        self.world.now += timedelta(seconds=1)
        return self.world.look("")

    async def perform(self, action: Action, planned_on: Observation) -> None:
        """Play the action, unless there is an obstacle."""
        if self.obstacles:
            raise self.obstacles.pop(0)
        self.world.apply(action)


@pytest.fixture
def world() -> World:
    """A deployment that nobody manages, in which v1 has just been registered."""
    world = World(now=datetime.now(timezone.utc), state=seen(exists=False, manager=""))
    world.register(fresh("v1", "compatible"))
    return world


async def take(world: World, build_id: str, *obstacles: Exception) -> None:
    """Let a worker of ``build_id`` take its place."""
    routing = cast("Routing", Played(world, list(obstacles)))
    await take_place(routing, "d", "q", build_id, shortest=0.001)


def refused(status: RPCStatusCode) -> RPCError:
    """What the server says."""
    return RPCError("no", status, b"")


class TestTakingAPlace:
    """What a build does to the routing once its worker polls."""

    async def test_the_first_build_becomes_current(self, world: World) -> None:
        """Where nothing is current the first build is made so."""
        await take(world, "v1")
        assert world.state.current == "v1"
        assert world.state.version("v1").version_set == "v1"

    async def test_a_compatible_build_takes_the_runs_over(self, world: World) -> None:
        """New runs go to it, and those of its set move to it."""
        await take(world, "v1")
        world.change("v1", open_runs=3)
        world.register(fresh("v1.1", "compatible"))
        await take(world, "v1.1")
        assert world.state.current == "v1.1"
        assert MoveRuns("v1", "v1.1") in [action for _, action in world.history]

    async def test_an_incompatible_build_leaves_them(self, world: World) -> None:
        """New runs go to it, and those that have begun stay."""
        await take(world, "v1")
        world.change("v1", open_runs=3)
        world.register(fresh("v2", "incompatible"))
        await take(world, "v2")
        assert world.state.current == "v2"
        assert world.state.version("v1").open_runs == 3

    async def test_a_build_that_comes_back_changes_nothing(self, world: World) -> None:
        """v1 had its place, and v2 has taken it over since."""
        await take(world, "v1")
        world.register(fresh("v2"))
        await take(world, "v2")
        before = len(world.history)
        await take(world, "v1")
        assert world.state.current == "v2"
        assert len(world.history) == before


class TestWhatStandsInTheWay:
    """What is tried again, and what ends the worker."""

    @pytest.mark.parametrize(
        "obstacle",
        [Refused("somebody has changed the routing"), refused(RPCStatusCode.UNAVAILABLE)],
        ids=["a conflict", "a server that is away"],
    )
    async def test_what_passes_is_tried_again(self, world: World, obstacle: Exception) -> None:
        """A conflict and a server that is away hold it up, no more."""
        await take(world, "v1", obstacle, obstacle)
        assert [a for _, a in world.history if isinstance(a, SetCurrent)] == [SetCurrent("v1")]

    async def test_a_refusal_for_good_is_told(self, world: World) -> None:
        """It ends with the server's words where a later try cannot succeed."""
        with pytest.raises(Failure, match="Temporal refuses: no"):
            await take(world, "v1", refused(RPCStatusCode.PERMISSION_DENIED))

    async def test_a_deployment_that_somebody_manages(self, world: World) -> None:
        """It does not route against a controller, and says how to go on."""
        world.state = replace(world.state, manager="rollout@elsewhere")
        with pytest.raises(Failure, match=r"rollout@elsewhere manages .*--managed"):
            await take(world, "v1")
        assert world.history == []
