"""The running workflows of each version, counted by visibility, and what the counts leave out.

The number of questions a look does not grow with the number of versions.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from temporalio.client import Client
from temporalio.service import RPCError

from rollout.core.observation import Status
from rollout.core.turns import Turn, in_turn
from rollout.temporal.rpc import TIMEOUT
from rollout.temporal.visibility import (
    RUNNING,
    count,
    is_countable,
    not_on,
    of_deployment,
    open_runs_query,
)

__all__ = ["Counted", "OpenRunCounts", "OpenRuns"]

_ROUTED: tuple[Status, ...] = ("current", "ramping")
_WITHOUT_RUNS: tuple[Status, ...] = ("created", "inactive", "drained")

_BY_NAME = 2
"""So many versions are counted by name in one look beside the routed ones; the others keep what was
counted of them until their turn."""

_MOST_LISTED = 200
"""So many runs are looked at one by one where the counts leave some out."""


@dataclass(frozen=True)
class Counted:
    """The running workflows of one version; None where they could not be counted."""

    total: int | None = None
    pinned: int | None = None
    """Of those the ones that cannot go on elsewhere."""
    at: datetime | None = None
    """Before which nothing of this was read; None: never."""


@dataclass(frozen=True)
class OpenRuns:
    """Running workflows by build id."""

    versions: Mapping[str, Counted] = field(default_factory=dict)
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    """On versions of the deployment that were not asked for, such as the server has forgotten."""

    def of(self, build_id: str) -> Counted:
        """Those of one version."""
        return self.versions.get(build_id, Counted())


class OpenRunCounts:
    """Counts the open runs of one deployment's versions, again and again.

    Those that had none are counted together, by what is on none of the others. Where that finds
    some after all they are looked at run by run: they are on one of these versions, on one that
    the server has forgotten, or on one that it counts wrongly (`is_countable`). The versions with
    runs are counted by name, the routed ones each time and the others in turn.
    """

    def __init__(self, client: Client, deployment: str, *, at_once: bool) -> None:
        self._client = client
        self._deployment = deployment
        self._at_once = at_once
        self._known: dict[str, Counted] = {}

    async def look(self, statuses: Mapping[str, Status], problems: list[str]) -> OpenRuns:
        """Count the runs of the builds in ``statuses``; what failed is added to ``problems``."""
        if not is_countable(self._deployment):
            problems.append(
                f"the server cannot count the runs of a deployment called {self._deployment!r}"
            )
            return OpenRuns()
        began = datetime.now(timezone.utc)
        with_runs = [build_id for build_id in statuses if self._may_have_runs(build_id, statuses)]
        chosen = self._in_turn(with_runs, statuses)
        asked = _Asked(self._client, self._deployment, problems)
        rest, totals, auto = await asyncio.gather(
            asked.rest(with_runs), asked.totals(chosen), asked.auto_upgrade()
        )
        known = {b: self._known.get(b, Counted()) for b in with_runs}
        for build_id, total in totals.items():
            known[build_id] = Counted(total, total if auto == 0 else None, began)
        if auto != 0:
            some = [build_id for build_id in chosen if totals[build_id]]
            pinned = await asked.pinned(some) if auto else {}
            for build_id in chosen:
                of_none = 0 if totals[build_id] == 0 else None
                known[build_id] = replace(known[build_id], pinned=pinned.get(build_id, of_none))
        for build_id in statuses.keys() - known.keys():
            # What the server counts wrongly it lists rightly, and its pinned runs as well.
            on_it = None if rest is None else rest.pop(build_id, _Runs())
            known[build_id] = Counted(None, None, began)
            if on_it is not None:
                known[build_id] = Counted(on_it.total, on_it.pinned, began)
        self._contradicted(known, rest or {}, problems)
        self._known = known
        elsewhere = {b: runs.total for b, runs in (rest or {}).items() if b not in statuses}
        return OpenRuns(known, elsewhere)

    def _may_have_runs(self, build_id: str, statuses: Mapping[str, Status]) -> bool:
        """Whether a version is counted by name."""
        if not is_countable(build_id):
            return False
        if statuses[build_id] in _ROUTED:
            return True
        known = self._known.get(build_id)
        if known is None or known.at is None:
            return statuses[build_id] not in _WITHOUT_RUNS
        return known.total != 0

    def _in_turn(self, with_runs: Collection[str], statuses: Mapping[str, Status]) -> list[str]:
        """Those that are counted by name this time."""
        if self._at_once:
            return list(with_runs)

        def turn(build_id: str) -> Turn:
            at = self._known.get(build_id, Counted()).at
            return Turn(statuses[build_id] in _ROUTED, is_news=at is None, asked_at=at)

        return in_turn({build_id: turn(build_id) for build_id in with_runs}, _BY_NAME)

    def _contradicted(
        self, known: dict[str, Counted], rest: Mapping[str, _Runs], problems: list[str]
    ) -> None:
        """What is on a version by one answer of the server's, and not by another, is not known."""
        for build_id in known.keys() & rest.keys():
            problems.append(f"the server's counts of {build_id} contradict each other")
            known[build_id] = replace(known[build_id], total=None, pinned=None)


@dataclass
class _Runs:
    """Runs that were looked at one by one."""

    total: int = 0
    pinned: int = 0


@dataclass
class _Asked:
    """The single questions."""

    client: Client
    deployment: str
    problems: list[str]

    async def totals(self, build_ids: Collection[str]) -> dict[str, int | None]:
        """Counted one by one."""
        return await self._each(build_ids, "")

    async def pinned(self, build_ids: Collection[str]) -> dict[str, int | None]:
        """Of those the pinned ones."""
        return await self._each(build_ids, f" AND {_PINNED}")

    async def auto_upgrade(self) -> int | None:
        """How many can go on elsewhere, of all versions together."""
        auto = f"{of_deployment(self.deployment)} AND {RUNNING} AND {_AUTO_UPGRADE}"
        return await self._count(auto, "auto-upgrade workflows")

    async def rest(self, build_ids: Collection[str]) -> dict[str, _Runs] | None:
        """By build id, the runs on none of ``build_ids``; None where that was not found out."""
        query = f"{not_on(self.deployment, build_ids)} AND {RUNNING}"
        number = await self._count(query, "all other versions" if build_ids else "all versions")
        if not number:
            return None if number is None else {}
        if number > _MOST_LISTED:
            self.problems.append(
                f"{number:,} runs are open on versions that should have none: too many to look at "
                "one by one"
            )
            return None
        versions: Counter[str] = Counter()
        pinned: Counter[str] = Counter()
        try:
            async for run in self.client.list_workflows(
                query, limit=_MOST_LISTED, rpc_timeout=TIMEOUT
            ):
                attributes = run.search_attributes
                version = str(attributes.get("TemporalWorkerDeploymentVersion", [""])[0])
                build_id = version.removeprefix(f"{self.deployment}:")
                versions[build_id] += 1
                behavior = attributes.get("TemporalWorkflowVersioningBehavior", ["Pinned"])[0]
                pinned[build_id] += behavior != "AutoUpgrade"
        except RPCError as error:
            self.problems.append(f"the runs of unknown versions cannot be listed: {error.message}")
            return None
        return {build_id: _Runs(n, pinned[build_id]) for build_id, n in versions.items()}

    async def _each(self, build_ids: Collection[str], condition: str) -> dict[str, int | None]:
        found = await asyncio.gather(
            *(
                self._count(open_runs_query(self.deployment, build_id) + condition, build_id)
                for build_id in build_ids
            )
        )
        return dict(zip(build_ids, found, strict=True))

    async def _count(self, query: str, of: str) -> int | None:
        try:
            return await count(self.client, query)
        except RPCError as error:
            self.problems.append(f"the open runs of {of} could not be counted: {error.message}")
            return None


_PINNED = "TemporalWorkflowVersioningBehavior='Pinned'"
_AUTO_UPGRADE = "TemporalWorkflowVersioningBehavior='AutoUpgrade'"
