"""The workers of a deployment or a task queue, by what they tell the server in their heartbeats."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import ListWorkersRequest, ListWorkersResponse
from temporalio.client import Client

from rollout.core.liveness import Heartbeat, Liveness, Pulse
from rollout.temporal.programs import NO_PROGRAMS, Programs
from rollout.temporal.rpc import TIMEOUT, patiently, time_of

__all__ = ["Polled", "Workers", "heartbeats", "live_workers", "workers_of"]

_PAGE_SIZE = 500
_PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")
_ENDING = (
    WorkerStatus.WORKER_STATUS_SHUTTING_DOWN,
    WorkerStatus.WORKER_STATUS_SHUTDOWN,
)


@dataclass(frozen=True)
class Polled:
    """The workers of one version."""

    alive: int | None = 0
    """None where they could not be listed."""
    returning: int = 0
    queues: frozenset[str] = frozenset()
    hosts: Mapping[str, int] = field(default_factory=dict)
    """How many live on each machine."""
    pids: frozenset[tuple[str, int | str]] = frozenset()
    """Machine and process of each; one that does not say its process is one by itself."""

    @property
    def processes(self) -> Mapping[str, int]:
        """How many processes that are on each machine."""
        return Counter(host for host, _ in self.pids)


@dataclass(frozen=True)
class Workers:
    """The workers of all versions; ``listed`` is false where they could not be listed."""

    by_build: Mapping[str, Polled] = field(default_factory=dict)
    skewed: tuple[str, ...] = ()
    listed: bool = False

    def of(self, build_id: str) -> Polled:
        """Those of one version."""
        return self.by_build.get(build_id, Polled()) if self.listed else Polled(alive=None)


async def heartbeats(
    client: Client, *, deployment: str | None = None, task_queue: str | None = None
) -> list[Heartbeat]:
    """The last heartbeat of each worker of a deployment, or of a task queue, that is remembered.

    With ``deployment`` only of its own. Raises `RPCError` where the server does not list them:
    old ones cannot.
    """
    query = _query(deployment, task_queue)
    found: list[Heartbeat] = []
    page = b""
    while True:
        reply: ListWorkersResponse = await patiently(
            client.workflow_service.list_workers,
            ListWorkersRequest(
                namespace=client.namespace,
                query=query,
                page_size=_PAGE_SIZE,
                next_page_token=page,
            ),
            timeout=TIMEOUT,
        )
        beats = (_heartbeat(worker.worker_heartbeat) for worker in reply.workers_info)
        found += [
            beat
            for beat in beats
            if beat is not None
            and deployment in (None, beat.deployment)
            and task_queue in (None, beat.task_queue)
        ]
        page = reply.next_page_token
        if not page:
            return found


async def live_workers(client: Client, task_queue: str) -> dict[str, Counter[str]]:
    """How many workers of ``task_queue`` live, by build id and task queue.

    One look alone: it believes what each heartbeat says of its time, unless that lies ahead.
    """
    now = datetime.now(timezone.utc)
    seen = Liveness().saw(await heartbeats(client, task_queue=task_queue), now)
    alive: dict[str, Counter[str]] = {}
    for pulse in seen.alive(now):
        beat = pulse.heartbeat
        alive.setdefault(beat.build_id, Counter())[beat.task_queue] += 1
    return alive


def workers_of(seen: Liveness, programs: Mapping[str, Programs], now: datetime) -> Workers:
    """The live workers by build; one whose process supervisord here says is down is down."""

    def is_down(pulse: Pulse) -> bool:
        beat, mine = pulse.heartbeat, programs.get(pulse.heartbeat.build_id)
        here = beat.host == socket.gethostname()
        return mine is not None and here and not mine.may_run_workers()

    found: dict[str, Polled] = {}
    for pulse in seen.pulses.values():
        known = found.get(pulse.heartbeat.build_id, Polled())
        if pulse.lives(now) and not is_down(pulse):
            queues = known.queues | {pulse.heartbeat.task_queue}
            host = pulse.heartbeat.host
            hosts = {**known.hosts, host: known.hosts.get(host, 0) + 1}
            beat = pulse.heartbeat
            pids = known.pids | {(host, beat.key if beat.pid is None else beat.pid)}
            alive = (known.alive or 0) + 1
            known = replace(known, alive=alive, queues=queues, hosts=hosts, pids=pids)
        found[pulse.heartbeat.build_id] = known
    for pulse in seen.returning(now):
        build_id = pulse.heartbeat.build_id
        if programs.get(build_id, NO_PROGRAMS).is_up or build_id not in programs:
            found[build_id] = replace(found[build_id], returning=found[build_id].returning + 1)
    skewed = {
        pulse.heartbeat.host: pulse.ahead(now)
        for pulse in seen.pulses.values()
        if pulse.is_skewed(now) and not pulse.heartbeat.ending
    }
    return Workers(found, tuple(_skew(host, ahead) for host, ahead in sorted(skewed.items())), True)


def _skew(host: str, ahead: timedelta) -> str:
    seconds = ahead.total_seconds()
    where = "ahead of" if seconds > 0 else "behind"
    return (
        f"the clock of a worker on {host or 'an unknown host'} is {abs(seconds):.0f} s {where} ours"
    )


def _query(deployment: str | None, task_queue: str | None) -> str:
    """The query for the list; empty, for all workers, where a name cannot be asked for.

    Server 1.32 finds nothing by a name with a quote in it, however that is escaped.
    """
    conditions = {"DeploymentName": deployment, "TaskQueue": task_queue}
    asked = {name: text for name, text in conditions.items() if text is not None}
    if not all(_PLAIN.fullmatch(text) for text in asked.values()):
        return ""
    return " AND ".join(f"{name}='{text}'" for name, text in asked.items())


def _heartbeat(beat: WorkerHeartbeat) -> Heartbeat | None:
    beat_at = time_of(beat.heartbeat_time)
    if beat_at is None:
        return None
    pid = beat.host_info.process_id
    return Heartbeat(
        key=beat.worker_instance_key or f"{beat.worker_identity} {beat.task_queue}",
        deployment=beat.deployment_version.deployment_name,
        build_id=beat.deployment_version.build_id,
        task_queue=beat.task_queue,
        beat_at=beat_at,
        ending=beat.status in _ENDING,
        host=beat.host_info.host_name,
        pid=int(pid) if pid.isdecimal() else None,
    )
