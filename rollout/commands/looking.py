"""What a command shows: what the controller here saw moments ago, else a look of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from rollout.base.exit import Misuse
from rollout.base.server import Server, asked_server
from rollout.commands.world import is_elsewhere
from rollout.controller.identity import own_identity
from rollout.controller.last_good import Followed
from rollout.controller.snapshot import Snapshot, Unanswered, page_of, read
from rollout.controller.telling import told_by
from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.config_file import parse
from rollout.core.observation import Observation

__all__ = [
    "Look",
    "from_controller",
    "live_page",
    "look",
    "look_alone",
    "look_here",
    "plan_of",
]

_PATIENCE = 3.0
"""Seconds for which a command waits for the controller's look at what was just changed."""


@dataclass(frozen=True)
class Look:
    """What was seen, by whom, and what is to be said beside it."""

    seen: Observation
    decided: Plan
    server: Server
    source: Literal["controller", "direct"]
    told: tuple[str, ...] = ()
    """Warnings beside those of what was seen, the gravest first."""
    why_direct: str = ""
    """Why no controller told, in a few words."""


async def look(followed: Followed) -> Look:
    """See the deployment. Raises `Failure` where nobody can."""
    import asyncio  # noqa: PLC0415 - `look_here` does without

    try:
        return await asyncio.to_thread(look_here, followed)
    except Unanswered as none:
        return await look_alone(followed, none)


def look_here(followed: Followed) -> Look:
    """See what the controller here tells. Raises `Unanswered` where it cannot be relied on."""
    _refuse_elsewhere()
    config, server = followed.config, asked_server()
    snapshot, seen = read(config.deployment.name, server, patience=_PATIENCE)
    told = tuple(dict.fromkeys((*_first(followed), *told_by(snapshot, config))))
    return Look(seen, plan_of(snapshot, config, seen), server, "controller", told)


async def look_alone(followed: Followed, why: Unanswered) -> Look:
    """See what the server says, because no controller tells. Raises `Failure` where it does not."""
    # What it takes to ask the server is imported only where it is asked.
    from rollout.commands.own_look import own_look  # noqa: PLC0415

    seen, decided, found = await own_look(followed.config)
    return Look(seen, decided, asked_server(), "direct", (*_first(followed), *found), str(why))


async def from_controller(
    deployment: str, server: Server, *, patience: float = 0.0
) -> tuple[Snapshot, Observation]:
    """What the controller here tells and saw; see `read`.

    Raises `Unanswered` where it cannot be relied on.
    """
    import asyncio  # noqa: PLC0415 - `look_here` does without

    _refuse_elsewhere()
    return await asyncio.to_thread(read, deployment, server, patience=patience)


def live_page(deployment: str) -> str | None:
    """The address of the page that the controller here serves; None where there is none."""
    return None if is_elsewhere() else page_of(deployment, asked_server())


def plan_of(snapshot: Snapshot, config: RolloutConfig, seen: Observation) -> Plan:
    """The controller's plan; where rollout.toml has changed since, what it will plan on that."""
    try:
        same = parse(snapshot.config) == config
    except Misuse:
        same = False
    if same and snapshot.decided is not None:
        return snapshot.decided.plan()
    from rollout.core.plan import plan  # noqa: PLC0415 - that a file was just changed is rare

    return plan(config, seen, datetime.now(timezone.utc), own_identity())


def _refuse_elsewhere() -> None:
    if is_elsewhere():
        raise Unanswered("--elsewhere: no controller is asked")


def _first(followed: Followed) -> list[str]:
    return [followed.warning] if followed.warning else []
