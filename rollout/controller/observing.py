"""Reading a whole rollout: the versions, and what speaks for and against the target."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timezone

from temporalio.client import Client

from rollout.base.settings import prometheus_url
from rollout.core.config import RolloutConfig
from rollout.core.observation import GateRun, Measurements, Observation
from rollout.core.verdict import hinges_on_another_look
from rollout.core.zeros import APART
from rollout.prometheus.measure import measure, measure_checks
from rollout.supervision.rpc import Supervisor
from rollout.temporal.gate import read_gate
from rollout.temporal.observer import Observer

__all__ = ["look", "observe_rollout"]


async def observe_rollout(
    client: Client, config: RolloutConfig, supervisor: Supervisor | None
) -> Observation:
    """Observe for one who looks once; see `look`.

    It looks again some seconds later where a version lacks nothing else to be safe to stop.
    """
    observer = Observer(client, config.deployment.name, supervisor)
    seen = await look(client, config, observer)
    now, target = datetime.now(timezone.utc), config.deployment.target
    if not hinges_on_another_look(seen, target, now):
        return seen
    await asyncio.sleep(APART.total_seconds())
    return await look(client, config, observer)


async def look(client: Client, config: RolloutConfig, observer: Observer) -> Observation:
    """Observe, and where the target is on its way also its gate and its measurements.

    Raises `RPCError` where the deployment cannot be read at all.
    """
    seen = await observer.observe(config.deployment.target)
    target = seen.version(config.deployment.target)
    if seen.current in (None, target.build_id) or target.status == "unregistered":
        return seen
    if seen.ramping:
        return replace(seen, measurements=await _measurements(config, seen, observer))
    return replace(seen, gates=await _gates(client, config, seen))


async def _gates(client: Client, config: RolloutConfig, seen: Observation) -> tuple[GateRun, ...]:
    if config.gate is None:
        return ()
    name, target = seen.deployment, seen.version(config.deployment.target)
    found: list[GateRun] = []
    for task_queue in config.gate.task_queues or (config.deployment.task_queue,):
        found += await read_gate(client, name, target, config.gate, task_queue)
    return tuple(found)


async def _measurements(
    config: RolloutConfig, seen: Observation, observer: Observer
) -> Measurements | None:
    if config.analysis is None or seen.current is None:
        return None
    changed = seen.ramping_changed_at or datetime.now(timezone.utc)
    target, since = config.deployment.target, (datetime.now(timezone.utc) - changed).total_seconds()
    if config.analysis.source == "server":
        counted = await observer.closed_runs.compare(
            target, seen.current, changed, observer.pace.parts
        )
        return await measure_checks(
            prometheus_url(), counted, seen.deployment, config.analysis, since=since
        )
    return await measure(
        prometheus_url(), seen.deployment, target, seen.current, config.analysis, since=since
    )
