"""Carries out whatever the controller has planned: on the server, in supervisord, and by replay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from functools import partial
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from rollout.controller.background import Background
from rollout.core.actions import (
    Action,
    Block,
    DeleteVersion,
    LiftBlock,
    MoveRuns,
    RemoveProgram,
    StartGate,
    StartProgram,
    StopProgram,
    Verify,
)
from rollout.core.config import RolloutConfig
from rollout.core.observation import Observation
from rollout.replay.verification import summary
from rollout.replay.verify import verify_build
from rollout.supervision.fleet.fleet import Fleet
from rollout.supervision.rpc import Supervisor
from rollout.temporal.deletion import delete_version
from rollout.temporal.gate import start_gate
from rollout.temporal.metadata import BLOCKED, Metadata, Note
from rollout.temporal.routing import DeploymentRouting, Refused

__all__ = ["Operator"]

log = structlog.get_logger(__name__)


class Operator:
    """The controller's hands on one deployment."""

    def __init__(self, client: Client, deployment: str, identity: str) -> None:
        self._client = client
        self._deployment = deployment
        self._identity = identity
        self._fleet = Fleet(Supervisor(), deployment=deployment)
        self._background = Background()
        self._batch = asyncio.Lock()
        self.actor = DeploymentRouting(client, deployment, identity)

    async def perform(self, action: Action, config: RolloutConfig, seen: Observation) -> None:
        """Carry out one action, or begin to: what takes long goes on beside the loop.

        Ask for the same action again to hear how it went. Raises `Refused` where it failed;
        what takes long is then let be for a while, longer each time.
        """
        if work := self._lasting(action, config, seen):
            await self._background.perform(action, work)
            return
        match action:
            case StartGate(build_id):
                if config.gate is not None:
                    version = seen.version(build_id)
                    gate = start_gate(self._client, self._deployment, version, config.gate, action)
                    await self._say(action, gate)
            case Block(build_id, reason):
                blocked = Metadata(blocked=Note(seen.version(build_id).fingerprint, reason))
                log.error("rolling back", build_id=build_id, reason=reason)
                await self._say(action, self.actor.annotate(build_id, blocked))
            case LiftBlock(build_id):
                once = Note(seen.version(build_id).fingerprint, "by rollout.toml")
                lifted = self.actor.annotate(build_id, Metadata(unblocked=once), remove=(BLOCKED,))
                await self._say(action, lifted)
            case _:
                await self.actor.perform(action, seen)

    def _lasting(
        self, action: Action, config: RolloutConfig, seen: Observation
    ) -> Callable[[], Coroutine[Any, Any, object]] | None:
        """The work of an action that may take long; None for any other."""
        work: Callable[[], Coroutine[Any, Any, object]] | None = None
        match action:
            case Verify(build_id, source):
                fingerprint = seen.version(build_id).fingerprint
                work = partial(self._verify, build_id, source, fingerprint, config.verify.sample)
            case MoveRuns(source, target):
                work = partial(self._move, source, target)
            case StopProgram(build_id):
                # Not waited for: a drain takes its time, and its state says how far it is.
                work = partial(self._fleet.stop, build_id, wait=False)
            case StartProgram(build_id):
                work = partial(self._fleet.start, build_id)
            case RemoveProgram(build_id):
                work = partial(self._fleet.remove, build_id)
            case DeleteVersion(build_id):
                work = partial(self._delete, build_id)
        return work

    def drop(self, planned: Collection[Action]) -> None:
        """Forget in time what is no longer ``planned``; call it with the plan of each round."""
        self._background.drop(planned)

    async def _say(self, action: Action, work: Awaitable[object]) -> None:
        try:
            await work
        except RPCError as error:
            raise Refused(f"to {action} was refused: {error.message}") from error
        log.info("done", action=str(action))

    async def _verify(
        self, build_id: str, source: str, fingerprint: str | None, sample: int
    ) -> None:
        """Replay, and note the outcome in the version's metadata: it holds for this code."""
        found = await verify_build(self._client, self._deployment, source, build_id, sample)
        outcome = "passed" if found.passed else summary(found)
        log.info("verified", build_id=build_id, source=source, outcome=outcome)
        noted = Metadata(verified={source: Note(fingerprint, outcome)})
        await self.actor.annotate(build_id, noted)

    async def _move(self, source: str, target: str) -> None:
        async with self._batch:  # by default a server runs one a namespace
            await self.actor.move_runs(source, target)

    async def _delete(self, build_id: str) -> None:
        # Mostly nothing is left to remove; a controller killed while it removed left some.
        await self._fleet.remove(build_id)
        await delete_version(self._client, self._deployment, build_id, self._identity)
