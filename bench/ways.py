"""The ways of upgrading that are compared, and what is measured of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

import structlog
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.service import RPCError

from bench.arena import Arena, LoadUnderWay
from rollout.base.exit import Failure
from rollout.core.verdict import safe_to_stop
from rollout.temporal.observer import Observer
from workers.builds import v1, v2
from workers.builds.steps import receipt

__all__ = ["RATIOS", "WAYS", "longest_gap", "ratios"]

log = structlog.get_logger("bench.ways")

RATIOS = ("p50", "p99", "max", "longest_gap_seconds")
"""What is compared as a ratio; the counts speak for themselves."""

_ORDERS = tuple(
    tuple(step.__name__ for step in steps) for steps in (v1.STEPS, (*v1.STEPS, receipt), v2.STEPS)
)
"""The steps of an order, as each build (v1, v1.1, v2) takes them."""

_DEPLOYMENT = "greetings"
_DRAINING = 60.0
"""Seconds beyond the longest order in which v1 must have become safe to stop."""


def side_by_side(arena: Arena) -> dict[str, Any]:
    """v2 takes over beside v1, which is stopped once that is safe."""
    with arena.worker("v1", "compatible") as old, arena.load() as load:
        load.wait_for_upgrade()
        began = time.monotonic()
        with arena.worker("v2", "incompatible"):
            asyncio.run(_until_safe_to_stop(arena, "v1"))
            old.stop()
            return _measured(arena, load, time.monotonic() - began)


def restart(arena: Arena) -> dict[str, Any]:
    """One worker is stopped, drained, and started again with v2's incompatible code."""
    return _restart(arena, "v2")


def patched(arena: Arena) -> dict[str, Any]:
    """The same restart with v1.1's code, whose change is behind a patch."""
    return _restart(arena, "v1.1")


def _restart(arena: Arena, build_id: str) -> dict[str, Any]:
    with arena.plain_worker("v1") as old, arena.load() as load:
        load.wait_for_upgrade()
        began = time.monotonic()
        old.stop()
        with arena.plain_worker(build_id):
            return _measured(arena, load, time.monotonic() - began)


WAYS: Mapping[str, Callable[[Arena], dict[str, Any]]] = {
    "side-by-side": side_by_side,
    "restart": restart,
    "patched": patched,
}


def ratios(own: Mapping[str, Any], peer: Mapping[str, Any]) -> dict[str, float | None]:
    """Our figures divided by the peer's; None where one of them is not known."""

    def ratio(ours: float | None, theirs: float | None) -> float | None:
        return round(ours / theirs, 3) if ours is not None and theirs else None

    flat = [{**way, **way["greeting_latency_seconds"]} for way in (own, peer)]
    return {name: ratio(flat[0][name], flat[1][name]) for name in RATIOS}


async def _until_safe_to_stop(arena: Arena, build_id: str) -> None:
    limit = arena.settings.order_seconds[1] + _DRAINING
    deadline = time.monotonic() + limit
    observer = Observer(await Client.connect(arena.address), _DEPLOYMENT)
    while True:
        try:
            seen = await observer.observe()
        except RPCError as error:  # under load a look may take too long; the next one may not
            against = error.message
        else:
            verdict = safe_to_stop(seen, build_id, None, datetime.now(timezone.utc))
            if verdict.safe_to_stop:
                log.info("safe to stop", build_id=build_id)
                return
            against = "; ".join(point.detail for point in verdict.evidence if not point.ok)
        if time.monotonic() > deadline:
            raise Failure(f"{build_id} was not safe to stop within {limit:.0f} s: {against}")
        await asyncio.sleep(0.5)


def _measured(arena: Arena, load: LoadUnderWay, upgrade_seconds: float) -> dict[str, Any]:
    """One way's figures, once the load has ended."""
    log.info("upgrade ends", seconds=round(upgrade_seconds, 1))
    summary = load.summary()
    if len(summary["by_build"]) < 2:
        raise Failure("the load ended before the new build took over; give a longer --duration")
    latency = summary["latency_seconds"]
    return {
        **{name: summary[name] for name in ("started", "completed", "failed")},
        "unfinished": summary["open"],
        "crossed": summary["crossed"],
        **asyncio.run(_ask_the_server(arena.address, load.began_at)),
        "by_build": summary["by_build"],
        "greeting_latency_seconds": {name: latency[name] for name in ("p50", "p99", "max")},
        "upgrade_seconds": round(upgrade_seconds, 1),
    }


async def _ask_the_server(address: str, began_at: datetime) -> dict[str, Any]:
    """What the client cannot know: see each of the keys."""
    client = await Client.connect(address)
    since = f"StartTime >= '{began_at.isoformat()}'"
    greetings = f"{since} AND WorkflowType = 'Greeting'"
    closed = [run.close_time async for run in client.list_workflows(greetings)]
    done = f"{since} AND WorkflowType = 'Order' AND ExecutionStatus = 'Completed'"
    mixed = 0
    async for run in client.list_workflows(done):
        mixed += await _steps_taken(client, run.id) not in _ORDERS
    stuck = 0
    async for run in client.list_workflows(f"{since} AND ExecutionStatus = 'Running'"):
        description = await client.get_workflow_handle(run.id).describe()
        stuck += description.raw_description.pending_workflow_task.attempt > 1
    return {
        "stuck": stuck,
        "mixed": mixed,
        "longest_gap_seconds": longest_gap([time for time in closed if time]),
    }


async def _steps_taken(client: Client, workflow_id: str) -> tuple[str, ...]:
    """The steps that were really performed for an order, whatever its result says."""
    return tuple(
        [
            event.activity_task_scheduled_event_attributes.activity_type.name
            async for event in client.get_workflow_handle(workflow_id).fetch_history_events()
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        ]
    )


def longest_gap(times: Sequence[datetime]) -> float | None:
    """The most seconds between one time and the next; None below two."""
    gaps = [(after - before).total_seconds() for before, after in pairwise(sorted(times))]
    return round(max(gaps), 3) if gaps else None
