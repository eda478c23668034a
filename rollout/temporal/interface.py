"""What the controller and the worker need of whatever routes runs to builds.

Worker deployments do all of it (`rollout.temporal.routing.DeploymentRouting`). Version sets,
where the server routes by itself, can be looked at, and a build can take its place in them
(`rollout.temporal.version_sets.VersionSetRouting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from rollout.core.actions import Action
from rollout.core.observation import Observation
from rollout.temporal.metadata import Metadata

__all__ = ["Observed", "Routing"]

Seen_co = TypeVar("Seen_co", covariant=True)


class Observed(Protocol[Seen_co]):
    """Something that can be looked at."""

    async def observe(self) -> Seen_co:
        """Read everything once; what could not be read is said in its ``problems``."""


class Routing(Observed[Observation], Protocol):
    """The routing of one deployment, read and changed under one identity.

    Every change can be asked for again, so that whoever died half-way can begin again.
    ``token`` is `Observation.conflict_token`: a change that carries one is refused where
    somebody else has changed the routing since; an empty one never is. Each call raises
    `RPCError` with the server's words where it is refused.
    """

    async def is_as_seen(self, seen: Observation) -> bool:
        """Whether nobody has changed the routing since it was ``seen``."""

    async def perform(self, action: Action, seen: Observation) -> None:
        """`change`, planned on what was ``seen``, and tell of it. Raises `Refused`."""

    async def change(self, action: Action, token: bytes) -> None:
        """Carry out one ``action`` that is a change of routing, and tell nobody."""

    async def claim(self, token: bytes = b"") -> None:
        """Become the manager: the only identity that may change the routing."""

    async def set_manager(self, manager: str, token: bytes = b"") -> None:
        """Make ``manager`` the only identity that may change the routing; empty: anybody may."""

    async def annotate(self, build_id: str, entries: Metadata, remove: Sequence[str] = ()) -> None:
        """Write a part of a version's metadata and ``remove`` keys of it; the rest stays."""

    async def join_set(self, build_id: str, version_set: str) -> None:
        """Put a version into a version set."""

    async def set_current(
        self, build_id: str, *, ignore_missing_task_queues: bool = False, token: bytes = b""
    ) -> None:
        """Send all new runs to ``build_id``; empty: to workers without a version."""

    async def set_ramp(
        self,
        build_id: str,
        percentage: float,
        *,
        ignore_missing_task_queues: bool = False,
        token: bytes = b"",
    ) -> None:
        """Send ``percentage`` (0 to 100) of new runs to ``build_id``."""

    async def clear_ramp(self, token: bytes = b"") -> None:
        """Send all new runs to the current version."""

    async def move_runs(self, source: str, target: str) -> None:
        """Let every open run of ``source`` go on with ``target`` at its next task.

        Raises `Refused` where some of them could not be moved.
        """

    async def move_these(self, runs: Sequence[tuple[str, str]], target: str) -> int:
        """`move_runs`, for runs named by workflow and run id; how many of them were still open."""

    async def delete(self, build_id: str) -> None:
        """Delete the server's record of a version. Raises `NotYet` and `Failure`."""
