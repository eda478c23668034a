"""What the demo's builds share: the shapes of an order, and the activity behind each step."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio import activity, workflow

__all__ = ["OrderInput", "OrderResult", "Step", "current_build_id", "perform", "take_step"]


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


@activity.defn
async def perform(step: str, order_id: str) -> str:
    """Do the work of one step of an order; returns the build id of the worker that did it."""
    activity.logger.debug("performing %s for %s", step, order_id)
    await asyncio.sleep(0.05)
    return os.environ["BUILD_ID"]  # workers.host sets it


def current_build_id() -> str:
    """The build that runs this part of the workflow, the same on replay.

    It may change during a run: a compatible build takes over the runs of its set.
    """
    version = workflow.info().get_current_deployment_version()
    return version.build_id if version else workflow.info().get_current_build_id()


async def take_step(name: str, order: OrderInput, seconds: float) -> Step:
    """Perform one step, then wait ``seconds`` before the next one may begin."""
    done_by = await workflow.execute_activity(
        perform,
        args=[name, order.order_id],
        start_to_close_timeout=timedelta(seconds=10),
    )
    await workflow.sleep(seconds)
    return Step(name, current_build_id(), done_by)
