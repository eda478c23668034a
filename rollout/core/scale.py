"""Pure: how many processes a build has here, where ``[scale]`` of rollout.toml says.

A draining build only ever gets fewer, and a target only more: so no two looks undo each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from rollout.core.actions import Action, ScaleProgram, StartProgram
from rollout.core.config import RolloutConfig
from rollout.core.hosts import hosts_of
from rollout.core.observation import Observation, Version
from rollout.core.verdict import AHEAD, STALE

__all__ = ["lacks_processes", "scaled"]

_MORE = 1.25
"""For so many times its open runs a draining build keeps processes: a count that is a little too
low, as between two runs of a chain, and a burst of timers, take none that is needed."""


def scaled(
    config: RolloutConfig, seen: Observation, now: datetime, others: Sequence[Action]
) -> tuple[Action, ...]:
    """``others``, what is to be done with programs in any case, and what `[scale]` asks for.

    A build of which more is to be done is left alone. But what is stopped of one that shrinks, and
    not removed yet, is not started again.
    """
    asked = [_scale(config, seen, version, now) for version in seen.versions]
    found = {action.build_id: action for action in asked if action is not None}
    shrink = found.keys() - {config.deployment.target}
    stay = [a for a in others if not (isinstance(a, StartProgram) and a.build_id in shrink)]
    busy = {build_id for action in stay for build_id in action.builds}
    more = (action for build_id, action in found.items() if build_id not in busy)
    return (*stay, *more)


def lacks_processes(config: RolloutConfig, seen: Observation, target: Version) -> str | None:
    """What the target lacks of the current build's number of processes; None: nothing.

    Here supervisord is asked, and on each machine the workers' heartbeats; on which machines the
    target has to be at all is not decided here.
    """
    if config.scale.target != "match" or seen.current is None:
        return None
    current = seen.version(seen.current)
    for version in (current, target):
        if version.workers is None:
            return f"the workers of {version.build_id} cannot be counted"
    running = target.processes.running if target.processes else 0
    wanted = current.processes.up if current.processes else 0
    if target.processes and running < wanted:
        by_hand = "" if target.processes.scalable else ", and its programs are yours to scale"
        return f"{_number(target, running)} running here, {current.build_id} has {wanted}{by_hand}"
    for machine, wanted in sorted(current.worker_processes.items()):
        polling = target.worker_processes.get(machine, 0)
        if 0 < polling < wanted:
            there = f"polling on {machine}" if machine else "polling"
            return f"{_number(target, polling)} {there}, {current.build_id} has {wanted}"
    return None


def _scale(
    config: RolloutConfig, seen: Observation, version: Version, now: datetime
) -> ScaleProgram | None:
    here = version.processes
    if config.deployment.paused or here is None or here.changing or not here.scalable:
        return None
    if version.build_id == config.deployment.target:
        wanted = _grown_to(config, seen, version)
        grows = wanted is not None and here.total < wanted
        return ScaleProgram(version.build_id, wanted) if wanted is not None and grows else None
    fewer = _shrunk_to(config, seen, version, now)
    # Of those that stay each has to run: supervisord, not the plan, brings back what has crashed.
    if fewer is None or not fewer <= here.running or here.total <= fewer:
        return None
    return ScaleProgram(version.build_id, fewer)


def _grown_to(config: RolloutConfig, seen: Observation, target: Version) -> int | None:
    """How many processes the target has here at least; None: as many as it has.

    One that is stopped or blocked is a person's.
    """
    if config.scale.target != "match" or seen.current in (None, target.build_id):
        return None
    if target.blocked or target.processes is None or not target.processes.running:
        return None
    current = seen.version(seen.current or "").processes
    return current.up if current else None


def _shrunk_to(
    config: RolloutConfig, seen: Observation, version: Version, now: datetime
) -> int | None:
    """How many processes of a draining version are enough here; None: it keeps what it has.

    What could not be read, or too long ago, takes none away; nor does a server that is behind
    with its work, or a routing that may yet bring runs.
    """
    if config.scale.draining != "shrink" or version.status not in ("draining", "drained"):
        return None
    routed = {seen.current, seen.ramping and seen.ramping.build_id}
    if version.build_id in routed or version.gate_only or not seen.routing_settled:
        return None
    if version.holding is None or version.backlog != 0 or not _is_fresh(seen, version, now):
        return None
    if seen.stuck != 0 or seen.hosts is None:
        return None
    silent = {host.name for host in seen.hosts if host.silent}
    states = hosts_of(seen, version.build_id).items()
    serving = [name for name, state in states if state == "RUNNING" and name not in silent]
    wanted = math.ceil(version.holding * _MORE / config.scale.runs_per_process)
    return max(1, math.ceil(wanted / max(1, len(serving))))


def _is_fresh(seen: Observation, version: Version, now: datetime) -> bool:
    parts = (seen.oldest, version.counted_at, version.described_at)
    read = [at for at in parts if at is not None]
    return now - min(read) <= STALE and now - max(read) >= -AHEAD


def _number(version: Version, processes: int) -> str:
    return f"{version.build_id} has {processes} process{'' if processes == 1 else 'es'}"
