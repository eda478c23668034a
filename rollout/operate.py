"""Carries out whatever the controller has planned: on the server, in supervisord, and by replay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from rollout.act import Actor, Refused
from rollout.config import RolloutConfig
from rollout.fleet.fleet import Fleet, delete_version
from rollout.gate import start_gate
from rollout.model import (
    Action,
    Block,
    DeleteVersion,
    Observation,
    RemoveProgram,
    StartGate,
    StartProgram,
    StopProgram,
    Verify,
)
from rollout.observe import note
from rollout.replay.verification import summary
from rollout.replay.verify import verify_build
from stack.exit import Failure
from stack.supervisor_rpc import Supervisor

__all__ = ["Operator"]

log = structlog.get_logger(__name__)

_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 120.0


class Operator:
    """The controller's hands on one deployment."""

    def __init__(self, client: Client, deployment: str, identity: str) -> None:
        self._client = client
        self._deployment = deployment
        self._identity = identity
        self._fleet = Fleet(Supervisor(), deployment=deployment)
        self._pauses: dict[Action, tuple[float, float]] = {}
        """Until when a farewell that failed is let be, and for how long next time."""
        self.actor = Actor(client, deployment, identity)

    async def perform(self, action: Action, config: RolloutConfig, seen: Observation) -> None:
        """Carry out one action. Raises `Refused` where the rollout cannot go on without it.

        What concerns only versions that nobody needs any longer never holds a
        rollout up: it is tried again later, with backoff.
        """
        match action:
            case StartGate(build_id):
                if config.gate is not None:
                    version = seen.version(build_id)
                    gate = start_gate(self._client, self._deployment, version, config.gate, action)
                    await self._say(action, gate)
            case Verify(build_id):
                await self._say(action, self._verify(build_id, config, seen))
            case Block(build_id, reason):
                fingerprint = seen.version(build_id).fingerprint
                blocked = {"blocked": note(fingerprint, reason)}
                log.error("rolling back", build_id=build_id, reason=reason)
                await self._say(action, self.actor.annotate(build_id, blocked))
            case StopProgram(build_id):
                await self._in_time(action, self._stop, build_id)
            case StartProgram(build_id):
                await self._in_time(action, self._fleet.start, build_id)
            case RemoveProgram(build_id):
                await self._in_time(action, self._fleet.remove, build_id)
            case DeleteVersion(build_id):
                await self._in_time(action, self._delete, build_id)
            case _:
                await self.actor.perform(action, seen)

    async def _say(self, action: Action, work: Awaitable[object]) -> None:
        try:
            await work
        except RPCError as error:
            raise Refused(f"to {action} was refused: {error.message}") from error
        log.info("done", action=str(action))

    async def _verify(self, build_id: str, config: RolloutConfig, seen: Observation) -> None:
        """Replay, and note the outcome in the version's metadata: it holds for this code."""
        source = seen.current or ""
        try:
            found = await verify_build(
                self._client, self._deployment, source, build_id, config.verify.sample
            )
        except Failure as failure:  # it may do better next time, so nothing is noted
            raise Refused(
                f"to replay runs of {source} on {build_id} failed: {failure}"
            ) from failure
        outcome = "passed" if found.passed else summary(found)
        log.info("verified", build_id=build_id, source=source, outcome=outcome)
        fingerprint = seen.version(build_id).fingerprint
        await self.actor.annotate(build_id, {"verified": note(fingerprint, f"{source} {outcome}")})

    async def _stop(self, build_id: str) -> None:
        # Not waited for: a drain takes its time, and the rollout goes on meanwhile.
        await self._fleet.stop(build_id, wait=False)

    async def _delete(self, build_id: str) -> None:
        # Mostly nothing is left to remove; a controller killed while it removed left some.
        await self._fleet.remove(build_id)
        await delete_version(self._client, self._deployment, build_id, self._identity)

    async def _in_time(
        self, action: Action, work: Callable[[str], Awaitable[object]], build_id: str
    ) -> None:
        now = asyncio.get_running_loop().time()
        until, pause = self._pauses.get(action, (0.0, _FIRST_PAUSE))
        if now < until:
            return
        try:
            await work(build_id)
        except (Failure, RPCError) as error:
            self._pauses[action] = (now + pause, min(2 * pause, _LONGEST_PAUSE))
            log.info("later", action=str(action), reason=str(error), retry_in_seconds=pause)
            return
        self._pauses.pop(action, None)
        log.info("done", action=str(action))
