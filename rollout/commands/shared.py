"""What the commands share: one look at the deployment, and who may change it."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime, timezone
from typing import TypeVar

from temporalio.client import Client
from temporalio.service import RPCError

from rollout.base.connect import connect
from rollout.base.exit import Failure
from rollout.commands.world import is_elsewhere
from rollout.controller.identity import own_identity
from rollout.controller.nudge import nudge
from rollout.controller.observing import observe_rollout
from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.observation import Observation
from rollout.core.plan import plan
from rollout.supervision.rpc import Supervisor
from rollout.temporal.observer import Observer
from rollout.temporal.rpc import sentence

__all__ = ["observe", "own", "readable", "see", "supervisor_here", "writer", "written"]

T = TypeVar("T")


def supervisor_here() -> Supervisor | None:
    """The supervisord whose processes go with the server that is asked; None: none does."""
    return None if is_elsewhere() else Supervisor()


async def see(config: RolloutConfig, *, known: bool = True) -> tuple[Client, Observation]:
    """A client and what it sees on the server, which is all that a change needs.

    Neither the gate nor Prometheus is asked: only a plan depends on them, and a rollback is
    in a hurry. Raises `Failure`, also where ``known`` and nothing is there.
    """
    client = await connect(identity=own_identity())
    observer = Observer(client, config.deployment.name, supervisor_here())
    seen = await readable(observer.observe())
    if known and not seen.exists:
        raise Failure(
            f"the server does not know deployment {seen.deployment}: has a worker polled?"
        )
    return client, seen


async def observe(config: RolloutConfig) -> tuple[Observation, Plan]:
    """Observe all that a plan needs and plan on it, as the controller of this checkout would."""
    client = await connect()
    seen = await readable(observe_rollout(client, config, supervisor_here()))
    return seen, plan(config, seen, datetime.now(timezone.utc), own_identity())


async def readable(reading: Awaitable[Observation]) -> Observation:
    """What was read. Raises `Failure` with the server's words where it could not be."""
    try:
        return await reading
    except RPCError as error:
        raise Failure(f"could not read the deployment: {error.message}") from error


def own(seen: Observation, build_id: str) -> str:
    """Our identity, to change something about ``build_id`` with.

    Raises `Failure` where somebody else manages the deployment, or where the
    build's metadata, which the change is about, could not be read.
    """
    if seen.manager not in ("", own_identity()):
        raise Failure(f"{seen.manager} manages {seen.deployment}: `rollout adopt` takes it over")
    if not seen.version(build_id).described:
        raise Failure(f"{build_id} could not be described just now; try again")
    return own_identity()


def writer(seen: Observation) -> str:
    """The identity to write under: the manager's, if there is one, for a person is above it."""
    return seen.manager or own_identity()


async def written(deployment: str, change: Awaitable[T], build_id: str = "") -> T:
    """What ``change``, of ``build_id``, returns; the controller here looks at what became of it.

    Raises `Failure` with the server's words where it refuses, or where nobody knows whether it did.
    """
    try:
        return await change
    except RPCError as error:
        raise Failure(sentence(error)) from error
    finally:
        if not is_elsewhere():
            nudge(deployment, build_id)
