"""What a worker says of its build, as version metadata: strategy, code, versioning behavior."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.client import Client

from rollout.base.exit import Failure
from rollout.temporal.interface import Routing
from rollout.temporal.metadata import Metadata
from rollout.temporal.versions import version_metadata

__all__ = ["Declaration", "admit", "declare"]


_LONGEST_LIST = 4_000
"""Characters: a server takes some 30,000 of metadata in all."""


@dataclass(frozen=True)
class Declaration:
    """A build, as its own worker describes it."""

    deployment: str
    build_id: str
    strategy: str
    fingerprint: str
    behavior: str | None = "pinned"
    """Of workflows that say nothing themselves: ``pinned`` or ``auto-upgrade``; None: not known."""
    exceptions: str | None = ""
    """Workflows that say something else themselves, as in ``Poll auto-upgrade``; None: not known.
    """

    workflows: tuple[str, ...] | None = None
    """What it can run; None: not known."""

    def as_metadata(self) -> Metadata:
        """What of it is kept on the version."""
        return Metadata(
            strategy=self.strategy,
            fingerprint=self.fingerprint,
            behavior=self.behavior,
            behavior_exceptions=self.exceptions,
            workflows=self._listed(),
        )

    def _listed(self) -> str | None:
        """The names as they are kept; empty, which says nothing, where that is not possible."""
        listed = "\n".join(self.workflows or ())
        return "" if len(listed) > _LONGEST_LIST else listed


async def admit(client: Client, build: Declaration, *, allow_changed_code: bool) -> None:
    """Refuse a build id that has come back with different code; call it before polling.

    Runs that are pinned to a build id are replayed on whatever code polls for
    it, so changed code under an old name breaks them. Raises `Failure` with
    both fingerprints.
    """
    known = await version_metadata(client, build.deployment, build.build_id)
    before = known.fingerprint if known else None
    if before not in (None, build.fingerprint) and not allow_changed_code:
        raise Failure(
            f"build {build.build_id} was deployed with code {before}, and this is code "
            f"{build.fingerprint}: give changed code a build id of its own "
            "(--allow-changed-code if replaying its runs on it is known to be safe)"
        )


async def declare(client: Client, build: Declaration, routing: Routing) -> bool:
    """Write the declaration; False where the server does not know the version yet.

    The server learns of a version when its first worker polls.
    """
    known = await version_metadata(client, build.deployment, build.build_id)
    if known is None:
        return False
    wanted = build.as_metadata()
    if not known.says(wanted):
        await routing.annotate(build.build_id, wanted)
    return True
