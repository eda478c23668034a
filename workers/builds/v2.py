"""Build v2: incompatible with v1. An order is inspected before it ships.

The new step stands in the middle and behind no patch: the history of a v1 order
cannot be replayed here, so those orders have to end where they began.
"""

from __future__ import annotations

from temporalio import workflow

from workers.builds.steps import (
    OrderInput,
    OrderResult,
    charge,
    inspect,
    renew,
    reserve,
    ship,
    take_step,
)
from workers.builds.subscription import Subscription
from workers.builds.v1 import Greeting

__all__ = ["ACTIVITIES", "WORKFLOWS", "Greeting", "Order", "Subscription"]

STEPS = (reserve, inspect, charge, ship)


@workflow.defn
class Order:
    """Takes its steps one after another, with a wait behind each."""

    @workflow.run
    async def run(self, order: OrderInput) -> OrderResult:
        """Return every step with the build that ran it."""
        result = OrderResult(order.order_id)
        for step in STEPS:
            result.steps.append(await take_step(step, order, order.seconds / len(STEPS)))
        workflow.logger.info("order inspected and shipped")
        return result


WORKFLOWS = [Greeting, Order, Subscription]
ACTIVITIES = [*STEPS, renew]
