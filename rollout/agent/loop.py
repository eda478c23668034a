"""The agent's loop: tell what runs here, and do here what the controller's rules ask for.

It keeps no state that it would need. It reads what is wanted from the server, where the controller
has left it, and asks nobody for permission: what is safe to stop is so by the same pure rules.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from temporalio.client import Client
from temporalio.service import RPCError

from rollout.agent.notes import Notes
from rollout.base.exit import Failure
from rollout.base.logger import get_logger
from rollout.controller.loop import carry_out
from rollout.controller.operator import Operator
from rollout.controller.refusals import Refusals
from rollout.core.actions import (
    Plan,
    RemoveProgram,
    ScaleProgram,
    StartProgram,
    StopProgram,
)
from rollout.core.config import RolloutConfig
from rollout.core.host_notes import EVERY, wanted_config
from rollout.core.hosts import may_act
from rollout.core.observation import Observation
from rollout.core.plan import plan
from rollout.core.verdict import hinges_on_another_look
from rollout.supervision.programs import Program
from rollout.supervision.rpc import Supervisor
from rollout.temporal.hosts import glance
from rollout.temporal.observer import Observer
from rollout.temporal.programs import programs_by_build

__all__ = ["Telling", "follow", "local_plan"]

log = get_logger("rollout.host")

_GLANCE = 2.0
"""Seconds in which a change of a program here is noticed, and then told at once."""

_LOOK = 30.0
"""Seconds between two whole looks, some ten questions, where there may be something to do."""


@dataclass(frozen=True)
class Telling:
    """Who hears of it: called with what supervisord here has, and after each beat."""

    programs: Callable[[list[Program]], None]
    beat: Callable[[], None]


async def follow(client: Client, deployment: str, name: str, telling: Telling) -> None:
    """Beat, and start and retire this host's programs, until cancelled."""
    agent = _Agent(client, deployment, name, telling)
    trouble = ""
    while True:
        try:
            await agent.round()
            said = ""
        except (RPCError, Failure) as error:
            # Without a beat this host is soon unknown, which is what it is.
            said = str(getattr(error, "message", "") or error)
        except Exception as error:  # noqa: BLE001 - it may be over in the next round
            said = f"{type(error).__name__}: {error}"
        if said != trouble:
            log.warning("no beat", error=said) if said else log.info("beats again")
        trouble = said
        await asyncio.sleep(_GLANCE)


def local_plan(config: RolloutConfig, seen: Observation, now: datetime) -> Plan:
    """What of the manager's plan is to be done here; ``seen`` has this host's own processes."""
    mine = (StartProgram, StopProgram, ScaleProgram, RemoveProgram)
    decided = plan(config, seen, now, seen.manager or None)
    if not seen.manager:
        return replace(decided, actions=())
    return replace(decided, actions=tuple(a for a in decided.actions if isinstance(a, mine)))


class _Agent:
    """One host, from round to round."""

    def __init__(self, client: Client, deployment: str, name: str, telling: Telling) -> None:
        self._client = client
        self._deployment = deployment
        self._telling = telling
        self._supervisor = Supervisor()
        self._notes = Notes(client, deployment, name, socket.gethostname())
        self._observer = Observer(client, deployment, self._supervisor, at_once=False, here=name)
        identity = f"rollout-host@{name}"
        self._operator = Operator(
            client, deployment, identity, lambda action: self._observer.expire(*action.builds)
        )
        self._refusals = Refusals(deployment)
        self._told: Mapping[str, str] | None = None
        self._beat_at = -EVERY
        self._look_at = 0.0
        """When the next whole look may come."""

    async def round(self) -> None:
        """Tell what is here, where that is news or time, and look whether something is to be done.

        Raises `RPCError` and `Failure`.
        """
        builds = await self._builds()
        if builds == self._told and time.monotonic() - self._beat_at < EVERY:
            return
        where = await glance(self._client, self._deployment)
        found = await self._notes.leave(where, builds, datetime.now(timezone.utc))
        self._told, self._beat_at = builds, time.monotonic()
        if found is None:
            return
        self._telling.beat()
        config = wanted_config(self._deployment, found.wanted)
        if config is not None and may_act(config, builds, where.statuses):
            await self._act(config)

    async def _builds(self) -> Mapping[str, str]:
        """The state of each build's programs here."""
        self._telling.programs(await self._supervisor.config())
        problems: list[str] = []
        found = await programs_by_build(self._supervisor, self._deployment, problems)
        if problems:
            raise Failure(problems[0])
        return {build_id: mine.state for build_id, mine in found.items() if mine.state}

    async def _act(self, config: RolloutConfig) -> None:
        if time.monotonic() < self._look_at:
            return
        target = config.deployment.target
        seen = await self._observer.observe(target)
        now = datetime.now(timezone.utc)
        decided = local_plan(config, seen, now)
        again = decided.actions or hinges_on_another_look(seen, target, now)
        self._look_at = time.monotonic() + (0.0 if again else _LOOK)
        self._operator.drop(decided.actions)
        await carry_out(decided, self._operator, config, seen, self._refusals)
