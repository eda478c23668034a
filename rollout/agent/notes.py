"""One host's notes on the server: its beat is left, and what the controller wants is read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from temporalio.client import Client

from rollout.base.logger import get_logger
from rollout.core.host_notes import Beat
from rollout.temporal.hosts import Glance
from rollout.temporal.metadata import Metadata, host_key
from rollout.temporal.routing import DeploymentRouting
from rollout.temporal.versions import version_metadata

__all__ = ["Notes"]

log = get_logger(__name__)


class Notes:
    """The notes of the host ``name``; each call may raise `RPCError`, and can be made again."""

    def __init__(self, client: Client, deployment: str, name: str, hostname: str) -> None:
        self._client = client
        self._deployment = deployment
        self._name = name
        self._hostname = hostname
        self._routing = DeploymentRouting(client, deployment, f"rollout-host@{name}")
        self._n = 0
        self._left: set[str] | None = None
        """The versions that have a note of ours; None: not looked for yet."""

    async def leave(
        self, where: Glance, builds: Mapping[str, str], now: datetime
    ) -> Metadata | None:
        """Leave a beat with the states of ``builds``; the version's metadata, None: there is none.

        A note that was left elsewhere is taken away afterwards: in between the newer one counts.
        """
        if where.noted is None:
            return None
        if self._left is None:
            self._left = await self._find(where)
        found = await self._read(where.noted)
        if found is None:
            return None
        self._look_for_another(found)
        self._n += 1
        beat = Beat(n=self._n, at=now, hostname=self._hostname, builds=dict(builds))
        await self._routing.annotate(where.noted, Metadata(hosts={self._name: beat.text()}))
        self._left.add(where.noted)
        for build_id in sorted(self._left - {where.noted}):
            if build_id in where.statuses:
                key = host_key(self._name)
                await self._routing.annotate(build_id, Metadata(), remove=(key,))
            self._left.discard(build_id)
        return found

    async def _find(self, where: Glance) -> set[str]:
        """Where a process before this one has left notes; the count goes on from there."""
        left: set[str] = set()
        for build_id in where.statuses:
            found = await self._read(build_id)
            if found is not None and self._name in found.hosts:
                left.add(build_id)
                beat = Beat.read(found.hosts[self._name])
                self._n = max(self._n, beat.n if beat else 0)
        return left

    async def _read(self, build_id: str) -> Metadata | None:
        return await version_metadata(self._client, self._deployment, build_id)

    def _look_for_another(self, found: Metadata) -> None:
        beat = Beat.read(found.hosts.get(self._name, ""))
        if beat is not None and beat.n > self._n:
            log.error("another host has this name: give each a --name of its own", host=self._name)
            self._n = beat.n
