"""A worker that takes its place by itself, on a synthetic deployment instead of a server."""

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
from tests.support.synthetic_deployment import SyntheticDeployment, fresh, seen


@dataclass
class Played:
    """A routing that plays a `SyntheticDeployment`; ``obstacles`` are raised first, one a call."""

    deployment: SyntheticDeployment
    obstacles: list[Exception] = field(default_factory=list)

    async def observe(self) -> Observation:
        """What it looks like, a second later each time."""
        self.deployment.now += timedelta(seconds=1)
        return self.deployment.observe("")

    async def perform(self, action: Action, planned_on: Observation) -> None:
        """Play the action, unless there is an obstacle."""
        if self.obstacles:
            raise self.obstacles.pop(0)
        self.deployment.apply(action)


@pytest.fixture
def deployment() -> SyntheticDeployment:
    """A deployment that nobody manages, in which v1 has just been registered."""
    deployment = SyntheticDeployment(
        now=datetime.now(timezone.utc), state=seen(exists=False, manager="")
    )
    deployment.register(fresh("v1", "compatible"))
    return deployment


async def take(deployment: SyntheticDeployment, build_id: str, *obstacles: Exception) -> None:
    """Let a worker of ``build_id`` take its place."""
    routing = cast("Routing", Played(deployment, list(obstacles)))
    await take_place(routing, "d", ["q"], build_id, shortest=0.001)


def refused(status: RPCStatusCode) -> RPCError:
    """What the server says."""
    return RPCError("no", status, b"")


class TestTakingAPlace:
    """What a build does to the routing once its worker polls."""

    async def test_the_first_build_becomes_current(self, deployment: SyntheticDeployment) -> None:
        """Where nothing is current the first build is made so."""
        await take(deployment, "v1")
        assert deployment.state.current == "v1"
        assert deployment.state.version("v1").version_set == "v1"

    async def test_a_compatible_build_takes_the_runs_over(
        self, deployment: SyntheticDeployment
    ) -> None:
        """New runs go to it, and those of its set move to it."""
        await take(deployment, "v1")
        deployment.change("v1", open_runs=3)
        deployment.register(fresh("v1.1", "compatible"))
        await take(deployment, "v1.1")
        assert deployment.state.current == "v1.1"
        assert MoveRuns("v1", "v1.1") in [action for _, action in deployment.history]

    async def test_an_incompatible_build_leaves_them(self, deployment: SyntheticDeployment) -> None:
        """New runs go to it, and those that have begun stay."""
        await take(deployment, "v1")
        deployment.change("v1", open_runs=3)
        deployment.register(fresh("v2", "incompatible"))
        await take(deployment, "v2")
        assert deployment.state.current == "v2"
        assert deployment.state.version("v1").open_runs == 3

    async def test_a_build_that_comes_back_changes_nothing(
        self, deployment: SyntheticDeployment
    ) -> None:
        """v1 had its place, and v2 has taken it over since."""
        await take(deployment, "v1")
        deployment.register(fresh("v2"))
        await take(deployment, "v2")
        before = len(deployment.history)
        await take(deployment, "v1")
        assert deployment.state.current == "v2"
        assert len(deployment.history) == before


class TestWhatStandsInTheWay:
    """What is tried again, and what ends the worker."""

    @pytest.mark.parametrize(
        "obstacle",
        [Refused("somebody has changed the routing"), refused(RPCStatusCode.UNAVAILABLE)],
        ids=["a conflict", "a server that is away"],
    )
    async def test_what_passes_is_tried_again(
        self, deployment: SyntheticDeployment, obstacle: Exception
    ) -> None:
        """A conflict and a server that is away hold it up, no more."""
        await take(deployment, "v1", obstacle, obstacle)
        assert [a for _, a in deployment.history if isinstance(a, SetCurrent)] == [SetCurrent("v1")]

    async def test_a_refusal_for_good_is_told(self, deployment: SyntheticDeployment) -> None:
        """It ends with the server's words where a later try cannot succeed."""
        with pytest.raises(Failure, match="Temporal refuses: no"):
            await take(deployment, "v1", refused(RPCStatusCode.PERMISSION_DENIED))

    async def test_a_deployment_that_somebody_manages(
        self, deployment: SyntheticDeployment
    ) -> None:
        """It does not route against a controller, and says how to go on."""
        deployment.state = replace(deployment.state, manager="rollout@elsewhere")
        with pytest.raises(Failure, match=r"rollout@elsewhere manages .*--managed"):
            await take(deployment, "v1")
        assert deployment.history == []
