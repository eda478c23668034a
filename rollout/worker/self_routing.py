"""A worker that takes its place by itself: the same plan, all at once, without a controller."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone

from temporalio.service import RPCError

from rollout.base.connect import is_transient
from rollout.base.exit import Failure
from rollout.base.logger import get_logger
from rollout.core.config import Deployment, RolloutConfig, Verification
from rollout.core.observation import Observation
from rollout.core.plan import plan
from rollout.temporal.interface import Routing
from rollout.temporal.routing import Refused

__all__ = ["take_place"]

log = get_logger(__name__)

_PERIOD = 0.5
"""Seconds between two looks; longer each time, up to ten times that, while something is amiss."""


async def take_place(
    routing: Routing,
    deployment: str,
    task_queues: Iterable[str],
    build_id: str,
    *,
    shortest: float = _PERIOD,
) -> None:
    """Route new runs to ``build_id``, and to it the runs of its set, as its strategy says.

    A build that has already had its place keeps it: where another has become
    current since, nothing changes. It looks again after ``shortest`` seconds or more,
    for as long as it takes. Raises `Failure` where somebody else manages the deployment,
    or the server says no for good.
    """
    config = RolloutConfig(
        deployment=Deployment(name=deployment, target=build_id, pace="all-at-once"),
        verify=Verification(compatible="off"),  # its runs are verified by whoever starts it
    )
    period, told = shortest, ""
    while True:
        try:
            seen = _alive(await routing.observe(), build_id, task_queues)
            if _superseded(seen, build_id):
                log.info("keeping its place", current=seen.current)
                return
            decided = plan(config, seen, datetime.now(timezone.utc), manager=None)
            if decided.phase == "blocked":
                raise Failure(f"{decided.reason}; start the worker with --managed")
            if decided.phase == "complete":
                log.info("took its place", current=seen.current)
                return
            if decided.reason != told:
                log.info("taking its place", reason=decided.reason)
                told = decided.reason
            for action in decided.actions:
                await routing.perform(action, seen)
            period = shortest
        except Refused as refused:
            period = min(2 * period, 10 * shortest)
            log.warning("trying again", reason=str(refused), retry_in_seconds=period)
        except RPCError as error:
            if not is_transient(error):
                raise Failure(f"Temporal refuses: {error.message}") from error
            period = min(2 * period, 10 * shortest)
            log.warning("waiting for Temporal", error=error.message, retry_in_seconds=period)
        await asyncio.sleep(period)


def _superseded(seen: Observation, build_id: str) -> bool:
    """It has had runs and is not current: another build is, or the workers without a version."""
    return seen.version(build_id).first_activated_at is not None and seen.current != build_id


def _alive(seen: Observation, build_id: str, task_queues: Iterable[str]) -> Observation:
    """``seen``, with this very worker counted: its first heartbeat may be seconds away.

    Whether new runs wait does not concern its place: it is there to take them.
    """
    versions = tuple(
        replace(
            version,
            workers=max(1, version.workers or 0),
            queues=(version.queues or frozenset()) | {*task_queues},
        )
        if version.build_id == build_id
        else version
        for version in seen.versions
    )
    return replace(seen, versions=versions, unassigned=0, stuck=0)
