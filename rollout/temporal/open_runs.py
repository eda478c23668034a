"""The running workflows of each version, counted by visibility, and what the counts leave out.

The number of questions a look does not grow with the number of versions: a server answers 10 a
second by default (dynamic config `frontend.namespaceRPS.visibility`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from temporalio.client import Client
from temporalio.service import RPCError

from rollout.core.observation import Status
from rollout.temporal.rpc import TIMEOUT
from rollout.temporal.visibility import (
    RUNNING,
    count,
    is_countable,
    not_on,
    of_deployment,
    open_runs_query,
)

__all__ = ["OpenRuns", "count_open_runs"]

_WITHOUT_RUNS: tuple[Status, ...] = ("created", "inactive", "drained")

_MOST_BY_NAME = 6
"""So many versions are counted one by one in one look; the others are known together."""

_MOST_LISTED = 200
"""So many runs are looked at one by one where the counts leave some out."""


@dataclass(frozen=True)
class OpenRuns:
    """Running workflows by build id; None, or missing, where they could not be counted."""

    total: Mapping[str, int | None] = field(default_factory=dict)
    pinned: Mapping[str, int | None] = field(default_factory=dict)
    """Of those the ones that cannot go on elsewhere."""
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    """On versions of the deployment that were not asked for, such as the server has forgotten."""


async def count_open_runs(
    client: Client, deployment: str, statuses: Mapping[str, Status], problems: list[str]
) -> OpenRuns:
    """Count the runs of the builds in ``statuses``; what failed is added to ``problems``.

    Those that should have none are counted together, and by name only where they have some
    after all. What is on none of them is looked at run by run: it is on a version that the
    server has forgotten, or on one that the server counts wrongly (`is_countable`).
    """
    if not is_countable(deployment):
        problems.append(f"the server cannot count the runs of a deployment called {deployment!r}")
        return OpenRuns()
    counting = _Counting(client, deployment, problems)
    rest = await counting.rest(statuses)
    total = await counting.totals(statuses)
    for build_id in statuses:
        if rest is None or not is_countable(build_id):
            total[build_id] = None if rest is None else rest.pop(build_id, 0)
    return OpenRuns(total, await counting.pinned(total, statuses), rest or {})


@dataclass
class _Counting:
    client: Client
    deployment: str
    problems: list[str]

    async def totals(self, statuses: Mapping[str, Status]) -> dict[str, int | None]:
        countable = [build_id for build_id in statuses if is_countable(build_id)]
        idle = [build_id for build_id in countable if statuses[build_id] in _WITHOUT_RUNS]
        counts: dict[str, int | None] = {}
        if idle and await self._count(open_runs_query(self.deployment, *idle), idle) == 0:
            counts = dict.fromkeys(idle, 0)
        by_name = [build_id for build_id in countable if build_id not in counts]
        by_name.sort(key=lambda build_id: _matters(statuses[build_id]))
        found = await asyncio.gather(
            *(
                self._count(open_runs_query(self.deployment, build_id), [build_id])
                for build_id in by_name[:_MOST_BY_NAME]
            )
        )
        return {
            **dict.fromkeys(statuses),
            **counts,
            **dict(zip(by_name[:_MOST_BY_NAME], found, strict=True)),
        }

    async def pinned(
        self, total: Mapping[str, int | None], statuses: Mapping[str, Status]
    ) -> dict[str, int | None]:
        auto = f"{of_deployment(self.deployment)} AND {RUNNING} AND {_AUTO_UPGRADE}"
        if await self._count(auto, ["auto-upgrade workflows"]) == 0:
            return dict(total)
        with_runs = [build_id for build_id, number in total.items() if number]
        with_runs.sort(key=lambda build_id: _matters(statuses[build_id]))
        found = await asyncio.gather(
            *(
                self._count(
                    f"{open_runs_query(self.deployment, build_id)} AND {_PINNED}", [build_id]
                )
                for build_id in with_runs[:_MOST_BY_NAME]
            )
        )
        known: dict[str, int | None] = {
            build_id: 0 if number == 0 else None for build_id, number in total.items()
        }
        counted = dict(zip(with_runs[:_MOST_BY_NAME], found, strict=True))
        # A server that counts a build wrongly counts its pinned runs wrongly as well.
        return known | {b: number for b, number in counted.items() if is_countable(b)}

    async def rest(self, statuses: Mapping[str, Status]) -> dict[str, int] | None:
        """By build id, the runs on none of the versions; None where that could not be found out."""
        query = f"{not_on(self.deployment, statuses)} AND {RUNNING}"
        number = await self._count(query, ["all versions"])
        if not number:
            return None if number is None else {}
        if number > _MOST_LISTED:
            self.problems.append(f"{number} runs are open on versions that cannot be counted")
            return None
        found: Counter[str] = Counter()
        try:
            async for run in self.client.list_workflows(
                query, limit=_MOST_LISTED, rpc_timeout=TIMEOUT
            ):
                version = run.search_attributes.get("TemporalWorkerDeploymentVersion", [""])[0]
                found[str(version).removeprefix(f"{self.deployment}:")] += 1
        except RPCError as error:
            self.problems.append(f"the runs of unknown versions cannot be listed: {error.message}")
            return None
        return dict(found)

    async def _count(self, query: str, of: Sequence[str]) -> int | None:
        try:
            return await count(self.client, query)
        except RPCError as error:
            named = ", ".join(of)
            self.problems.append(f"the open runs of {named} could not be counted: {error.message}")
            return None


_PINNED = "TemporalWorkflowVersioningBehavior='Pinned'"
_AUTO_UPGRADE = "TemporalWorkflowVersioningBehavior='AutoUpgrade'"


def _matters(status: Status) -> int:
    """Where a version comes among those that are counted: of 90 new builds none is of interest."""
    if status in ("current", "ramping"):
        return 0
    return 2 if status in ("created", "inactive") else 1
