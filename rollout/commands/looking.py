"""What a command shows: what the controller here saw moments ago, else a look of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from rollout.agent.lock import is_worker_host
from rollout.base.exit import Misuse
from rollout.base.server import Server, asked_server
from rollout.commands.world import is_elsewhere
from rollout.controller.identity import is_running, own_identity
from rollout.controller.last_good import Followed
from rollout.controller.publishing import limit_warnings, told_by
from rollout.controller.refusals import last_refusals
from rollout.controller.snapshot import Snapshot, Unanswered, page_of, read
from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.config_file import parse
from rollout.core.host_notes import wanted_config
from rollout.core.observation import Observation
from rollout.core.plan import plan
from rollout.supervision.survey import Surveyor

__all__ = ["Look", "from_controller", "live_page", "look", "plan_of"]

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
    config, server = followed.config, asked_server()
    try:
        snapshot, seen = await from_controller(config.deployment.name, server, patience=_PATIENCE)
    except Unanswered as none:
        # What it takes to ask the server is imported only where it is asked.
        from rollout.commands.shared import observe  # noqa: PLC0415

        seen, decided = await observe(config)
        decided = _as_host(config, seen, decided)
        told = (*_first(followed), *_own_warnings(config, seen))
        return Look(seen, decided, server, "direct", told, str(none))
    told = tuple(dict.fromkeys((*_first(followed), *told_by(snapshot, config))))
    decided = plan_of(snapshot, config, seen)
    return Look(seen, decided, server, "controller", told)


async def from_controller(
    deployment: str, server: Server, *, patience: float = 0.0
) -> tuple[Snapshot, Observation]:
    """What the controller here tells and saw; see `read`.

    Raises `Unanswered` where it cannot be relied on.
    """
    if is_elsewhere():
        raise Unanswered("--elsewhere: no controller is asked")
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
    return plan(config, seen, datetime.now(timezone.utc), own_identity())


def _as_host(config: RolloutConfig, seen: Observation, decided: Plan) -> Plan:
    """On a worker host: who decides, and what is wanted. Its own rollout.toml does not count."""
    if is_elsewhere() or not is_worker_host(config.deployment.name):
        return decided
    wanted = wanted_config(seen.deployment, seen.wanted)
    target = f" and wants {wanted.deployment.target}" if wanted else ""
    who = f"{seen.manager} decides{target}" if seen.manager else "nobody decides yet"
    return Plan("waiting", f"{who}; this is a worker host, which routes nothing")


def _first(followed: Followed) -> list[str]:
    return [followed.warning] if followed.warning else []


def _own_warnings(config: RolloutConfig, seen: Observation) -> Iterator[str]:
    """What stands in the way although the plan does not know of it."""
    name = config.deployment.name
    if not is_elsewhere():
        yield from Surveyor().look()
        if is_worker_host(name):
            yield from last_refusals(name)
        elif not is_running(name) and seen.manager in ("", own_identity()):
            yield "no controller runs here, so nothing is done: `supervisorctl start rollout`"
        else:
            yield from last_refusals(name)
    yield from limit_warnings(config, seen)
