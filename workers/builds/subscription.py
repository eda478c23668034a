"""The demo's long-lived workflow: it moves itself to a new build, between two of its cycles.

A pinned run stays on its build until it ends, which for a run of months is too
long. This one is a trampoline: when the server says that new runs of its kind go
elsewhere by now, it continues as new, and the new run begins over there, with an
empty history. So builds need to agree on `SubscriptionInput` alone, not on the code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from temporalio import workflow

from workers.builds.steps import current_build_id, renew

__all__ = ["Subscription", "SubscriptionInput", "SubscriptionResult"]


@dataclass
class SubscriptionInput:
    """A subscription, and what its earlier runs hand over to the next."""

    subscription_id: str
    cycles: int
    """How often it is renewed in all."""
    seconds: float
    """From one cycle to the next."""
    builds: list[str] = field(default_factory=list)
    """The build that ran each cycle so far."""


@dataclass
class SubscriptionResult:
    """A subscription that has run out: the build that ran each of its cycles."""

    subscription_id: str
    builds: list[str]


@workflow.defn
class Subscription:
    """Renews itself, cycle after cycle, each on the build that is right by then."""

    @workflow.run
    async def run(self, subscription: SubscriptionInput) -> SubscriptionResult:
        """Return the build of every cycle, over all runs of the chain."""
        builds = list(subscription.builds)
        while len(builds) < subscription.cycles:
            await workflow.execute_activity(
                renew,
                subscription.subscription_id,
                start_to_close_timeout=timedelta(seconds=10),
            )
            await workflow.sleep(subscription.seconds)
            builds.append(current_build_id())
            # After a cycle, never before the first: where the server keeps a run on its
            # build (a pinned override), continuing at once would go round for ever.
            self._continue_elsewhere(replace(subscription, builds=builds))
        return SubscriptionResult(subscription.subscription_id, builds)

    def _continue_elsewhere(self, rest: SubscriptionInput) -> None:
        """Continue as new on the build that gets new runs, or, for a short history, on this one."""
        if len(rest.builds) == rest.cycles:
            return
        info = workflow.info()
        # Both flags come with the workflow task, so that a replay sees what the run saw.
        if info.is_target_worker_deployment_version_changed():
            workflow.logger.info("moving to the build that gets new runs")
            workflow.continue_as_new(
                rest,
                initial_versioning_behavior=workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
            )
        if info.is_continue_as_new_suggested():
            workflow.continue_as_new(rest)
