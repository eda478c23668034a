"""Whether a build that has just been added could pass the gate of rollout.toml."""

from __future__ import annotations

import sys

from temporalio.client import Client
from temporalio.service import RPCError

from rollout.base.waiting import until
from rollout.core.config import RolloutConfig
from rollout.temporal.versions import version_metadata

__all__ = ["warn_of_gate"]

_DECLARING = 5.0
"""Seconds that a worker which polls is given to declare what it can run."""


async def warn_of_gate(
    client: Client, config: RolloutConfig, build_id: str, *, declares: bool = True
) -> None:
    """Say where the gate's workflow is none of those that the build's workers have declared.

    ``declares``: whether they are of a kind that does so, which is waited for. Of another kind the
    gate's first failed task tells (`rollout.temporal.gate`).
    """
    if config.gate is None:
        return

    async def listed() -> tuple[str, ...] | None:
        metadata = await version_metadata(client, config.deployment.name, build_id)
        return metadata.workflow_names if metadata else None

    try:
        known = await until(listed, _DECLARING if declares else 0.0)
    except RPCError:
        return
    if known and config.gate.workflow not in known:
        print(
            f"! the gate will not pass: this build has no workflow {config.gate.workflow} (it has "
            f"{', '.join(known)}); name one that it has in [gate] of rollout.toml",
            file=sys.stderr,
        )
