"""The notes of worker hosts on a deployment's versions: where they are, read and left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from temporalio.api.deployment.v1 import WorkerDeploymentInfo
from temporalio.client import Client

from rollout.core.host_notes import Beat, noted_on
from rollout.core.observation import Status
from rollout.temporal.rpc import time_of
from rollout.temporal.versions import Described, describe_deployment, status_of

__all__ = ["Glance", "beats_in", "glance", "note_version"]


@dataclass(frozen=True)
class Glance:
    """The least that a host has to know of its deployment."""

    noted: str | None
    """The version that notes are left on; None: no worker has polled yet."""
    statuses: Mapping[str, Status]


async def glance(client: Client, deployment: str) -> Glance:
    """Ask the server one question. Raises `RPCError`."""
    info = (await describe_deployment(client, deployment)).worker_deployment_info
    statuses = {
        summary.deployment_version.build_id: status_of(summary)
        for summary in info.version_summaries
    }
    return Glance(note_version(info), statuses)


def note_version(info: WorkerDeploymentInfo) -> str | None:
    """The version on which hosts leave their notes."""
    routing = info.routing_config
    created = {
        summary.deployment_version.build_id: time_of(summary.create_time)
        for summary in info.version_summaries
    }
    return noted_on(
        routing.current_deployment_version.build_id or None,
        routing.ramping_deployment_version.build_id or None,
        created,
    )


def beats_in(described: Mapping[str, Described]) -> dict[str, Beat]:
    """The newest note of each host: one that moved to another version may have left an old one."""
    found: dict[str, Beat] = {}
    for version in described.values():
        for name, text in version.metadata.hosts.items():
            beat = Beat.read(text)
            if beat is not None and (name not in found or beat.n > found[name].n):
                found[name] = beat
    return found
