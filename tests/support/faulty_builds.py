"""Builds for tests that go wrong: run one with ``--app tests.support.faulty_builds``."""

from __future__ import annotations

import random
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from workers.builds.steps import OrderInput, OrderResult, Step
from workers.builds.v1 import Greeting

__all__ = ["ACTIVITIES", "WORKFLOWS", "Order", "perform"]


@activity.defn
async def perform(step: str, order_id: str) -> str:
    """Fail three times in ten; a retry may do better."""
    if random.random() < 0.3:  # noqa: S311
        raise ApplicationError(f"{step} of {order_id} has failed")
    return "faulty"


@workflow.defn
class Order:
    """An order whose activities fail now and then, and are tried again."""

    @workflow.run
    async def run(self, order: OrderInput) -> OrderResult:
        """Take many quick steps, so that there is something to measure."""
        result = OrderResult(order.order_id)
        for number in range(10):
            await workflow.execute_activity(
                perform,
                args=[str(number), order.order_id],
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
            )
        result.steps.append(Step("all", "v3", "v3"))
        return result


WORKFLOWS = [Greeting, Order]
ACTIVITIES = [perform]
