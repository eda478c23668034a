"""Build v1: the first. An order is reserved, charged and shipped."""

from __future__ import annotations

from temporalio import workflow

from workers.builds.steps import (
    OrderInput,
    OrderResult,
    charge,
    current_build_id,
    renew,
    reserve,
    ship,
    take_step,
)
from workers.builds.subscription import Subscription

__all__ = ["ACTIVITIES", "WORKFLOWS", "Greeting", "Order", "Subscription"]

STEPS = (reserve, charge, ship)


@workflow.defn
class Greeting:
    """Says which build answers."""

    @workflow.run
    async def run(self) -> str:
        """Return the greeting at once."""
        return f"Hello from worker Build ID: {current_build_id()}!"


@workflow.defn
class Order:
    """Takes its steps one after another, with a wait behind each."""

    @workflow.run
    async def run(self, order: OrderInput) -> OrderResult:
        """Return every step with the build that ran it."""
        result = OrderResult(order.order_id)
        for step in STEPS:
            result.steps.append(await take_step(step, order, order.seconds / len(STEPS)))
        workflow.logger.info("order shipped")
        return result


WORKFLOWS = [Greeting, Order, Subscription]
ACTIVITIES = [*STEPS, renew]
