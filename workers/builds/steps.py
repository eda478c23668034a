"""What the demo's builds share: the shapes of an order, and the activities behind its steps."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio import activity, workflow

__all__ = [
    "OrderInput",
    "OrderResult",
    "Step",
    "charge",
    "current_build_id",
    "inspect",
    "receipt",
    "renew",
    "reserve",
    "ship",
    "take_step",
]


@dataclass
class OrderInput:
    """An order, and how long it should take in all, in seconds."""

    order_id: str
    seconds: float


@dataclass
class Step:
    """One step done, with the build that ran the workflow code and the one that did the work."""

    name: str
    workflow_build_id: str
    activity_build_id: str


@dataclass
class OrderResult:
    """An order done: its steps, in the order they were taken."""

    order_id: str
    steps: list[Step] = field(default_factory=list)


async def _work(order_id: str) -> str:
    """Do the work of one step; returns the build id of the worker that did it."""
    activity.logger.debug("working on %s", order_id)
    await asyncio.sleep(0.05)
    return os.environ["BUILD_ID"]  # workers.host sets it


@activity.defn
async def reserve(order_id: str) -> str:
    """Set the goods aside."""
    return await _work(order_id)


@activity.defn
async def inspect(order_id: str) -> str:
    """Look whether the goods are what they should be."""
    return await _work(order_id)


@activity.defn
async def charge(order_id: str) -> str:
    """Take the money."""
    return await _work(order_id)


@activity.defn
async def ship(order_id: str) -> str:
    """Send the goods."""
    return await _work(order_id)


@activity.defn
async def receipt(order_id: str) -> str:
    """Send the receipt."""
    return await _work(order_id)


@activity.defn
async def renew(subscription_id: str) -> str:
    """Renew a subscription for one more cycle."""
    return await _work(subscription_id)


def current_build_id() -> str:
    """The build that runs this part of the workflow, the same on replay.

    It may change during a run: a compatible build takes over the runs of its set.
    """
    version = workflow.info().get_current_deployment_version()
    return version.build_id if version else workflow.info().get_current_build_id()


async def take_step(
    step: Callable[[str], Awaitable[str]], order: OrderInput, seconds: float
) -> Step:
    """Do one step, then wait ``seconds`` before the next one may begin."""
    build_id = current_build_id()
    done_by = await workflow.execute_activity(
        step, order.order_id, start_to_close_timeout=timedelta(seconds=10)
    )
    await workflow.sleep(seconds)
    return Step(step.__name__, build_id, done_by)
