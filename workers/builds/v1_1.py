"""Build v1.1: compatible with v1. It also sends a receipt, behind a patch.

`workflow.patched` is true where a run gets there for the first time, and false where
the history of a v1 run that went past it is replayed: histories of both builds
replay here, and an order that v1 began gets its receipt, too.
"""

from __future__ import annotations

from temporalio import workflow

from workers.builds.steps import OrderInput, OrderResult, receipt, renew, take_step
from workers.builds.subscription import Subscription
from workers.builds.v1 import STEPS, Greeting

__all__ = ["ACTIVITIES", "WORKFLOWS", "Greeting", "Order", "Subscription"]


@workflow.defn
class Order:
    """v1's steps, and a receipt at the end."""

    @workflow.run
    async def run(self, order: OrderInput) -> OrderResult:
        """Return every step with the build that ran it."""
        result = OrderResult(order.order_id)
        for step in STEPS:
            result.steps.append(await take_step(step, order, order.seconds / len(STEPS)))
        if workflow.patched("receipt"):
            result.steps.append(await take_step(receipt, order, 0))
        workflow.logger.info("order shipped, receipt sent")
        return result


WORKFLOWS = [Greeting, Order, Subscription]
ACTIVITIES = [*STEPS, receipt, renew]
