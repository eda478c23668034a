"""Performs whatever has been planned: on the server, in supervisord, and by replay."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from rollout.base.exit import Failure
from rollout.controller import events
from rollout.controller.background import Background
from rollout.core.actions import (
    Action,
    Block,
    ClaimManager,
    ClearRamp,
    Declare,
    DeleteVersion,
    JoinSet,
    LiftBlock,
    MoveRuns,
    RemoveProgram,
    ScaleProgram,
    SetCurrent,
    SetRamp,
    StartGate,
    StartProgram,
    StopProgram,
    TellHosts,
    Verify,
)
from rollout.core.config import RolloutConfig
from rollout.core.observation import Observation
from rollout.core.takeover import UNTRIED
from rollout.replay.verification import refusing_drift, summary
from rollout.replay.verify import verify_build
from rollout.supervision.fleet.fleet import Fleet
from rollout.supervision.rpc import Supervisor
from rollout.temporal.deletion import NotYet
from rollout.temporal.gate import start_gate
from rollout.temporal.interface import Routing
from rollout.temporal.metadata import BLOCKED, Metadata, Note
from rollout.temporal.routing import DeploymentRouting, Overtaken, Refused, not_done
from rollout.temporal.versions import version_metadata

__all__ = ["Operator"]

Work = Callable[[Any, RolloutConfig, Observation], Awaitable[object]]


class Operator:
    """The controller's hands on one deployment: it performs each action, and tells of it once."""

    def __init__(
        self, client: Client, deployment: str, identity: str, changed: Callable[[Action], None]
    ) -> None:
        """``changed`` is called with what was done, or may have been."""
        self._client = client
        self._changed = changed
        self._deployment = deployment
        self._routing: Routing = DeploymentRouting(client, deployment, identity)
        self._fleet = Fleet(Supervisor(), deployment=deployment)
        self._background = Background()
        self._batch = asyncio.Lock()
        self.work: Mapping[type[Action], Work] = {
            ClaimManager: self._route,
            Declare: self._declare,
            JoinSet: self._route,
            SetCurrent: self._route,
            SetRamp: self._route,
            ClearRamp: self._route,
            MoveRuns: self._move,
            StartGate: self._start_gate,
            Verify: self._verify,
            Block: self._block,
            LiftBlock: self._lift_block,
            TellHosts: self._tell_hosts,
            StopProgram: self._stop,
            StartProgram: self._start,
            ScaleProgram: self._scale,
            RemoveProgram: self._remove,
            DeleteVersion: self._delete,
        }
        """What is done for each class of actions."""

    async def perform(self, action: Action, config: RolloutConfig, seen: Observation) -> None:
        """Carry out one action, planned on what was ``seen``; what lasts is only begun here.

        Ask for the same action again to hear how it went. Raises `Refused` where it failed;
        what lasts is then let be for a while, longer each time.
        """
        work = partial(self._perform, action, config, seen)
        if action.lasts:
            await self._background.perform(action, work)
        else:
            await work()

    def drop(self, planned: Collection[Action]) -> None:
        """Forget in time what is no longer ``planned``; call it with the plan of each round."""
        self._background.drop(planned)

    async def _perform(self, action: Action, config: RolloutConfig, seen: Observation) -> None:
        """Do it and tell: the loop may not ask again, where it has seen what became of it."""
        try:
            await self.work[type(action)](action, config, seen)
        except NotYet as later:
            raise Refused(str(later)) from later
        except RPCError as error:
            self._changed(action)
            raise Refused(not_done(action, error)) from error
        except (Failure, OSError) as error:
            raise Refused(f"could not {action}: {str(error) or type(error).__name__}") from error
        self._changed(action)
        events.log_done(action)

    async def _route(self, action: Action, _config: RolloutConfig, seen: Observation) -> None:
        """By the observation's token, so that it is refused where somebody came in between."""
        await self._routing.change(action, seen.conflict_token)

    async def _declare(self, action: Declare, _config: RolloutConfig, _seen: Observation) -> None:
        said = Metadata(strategy=action.strategy, fingerprint=action.fingerprint)
        await self._routing.annotate(action.build_id, said)

    async def _still(self, seen: Observation) -> None:
        """Raise `Overtaken` where the routing has changed since it was ``seen``.

        What is not a change of routing carries no token by which the server would refuse it.
        """
        if not await self._routing.is_as_seen(seen):
            raise Overtaken("the routing has changed meanwhile; the next look decides anew")

    async def _move(self, action: MoveRuns, _config: RolloutConfig, seen: Observation) -> None:
        await self._still(seen)
        async with self._batch:  # by default a server runs one a namespace
            await self._routing.move_runs(action.source, action.target)

    async def _start_gate(
        self, action: StartGate, config: RolloutConfig, seen: Observation
    ) -> None:
        if config.gate is not None:
            version = seen.version(action.build_id)
            await start_gate(self._client, self._deployment, version, config.gate, action)

    async def _verify(self, action: Verify, config: RolloutConfig, seen: Observation) -> None:
        """Replay, and note the outcome in the version's metadata: it holds for this code."""
        build_id, source = action.build_id, action.source
        sample = config.verify.sample
        found = await verify_build(self._client, self._deployment, source, build_id, sample)
        accepted = ""
        if config.verify.arguments == "refuse" and found.drifted:
            known = await version_metadata(self._client, self._deployment, build_id)
            accepted = known.of_this_code(known.drift_accepted) or "" if known else ""
            found = found if accepted else refusing_drift(found)
        outcome = "passed" if found.passed else summary(found)
        if found.untried:
            outcome = f"{UNTRIED}{found.untried}"
        told = summary(found) if found.drifted else outcome
        events.log_verified(build_id, source, f"{told}; accepted {accepted}" if accepted else told)
        noted = {source: Note(seen.version(build_id).fingerprint, outcome)}
        await self._routing.annotate(build_id, Metadata(verified=noted))

    async def _block(self, action: Block, _config: RolloutConfig, seen: Observation) -> None:
        events.log_rolling_back(action.build_id, action.reason)
        why = Note(seen.version(action.build_id).fingerprint, action.reason)
        await self._routing.annotate(action.build_id, Metadata(blocked=why))

    async def _lift_block(
        self, action: LiftBlock, _config: RolloutConfig, seen: Observation
    ) -> None:
        once = Note(seen.version(action.build_id).fingerprint, "by rollout.toml")
        entries = Metadata(unblocked=once)
        await self._routing.annotate(action.build_id, entries, remove=(BLOCKED,))

    async def _tell_hosts(
        self, action: TellHosts, _config: RolloutConfig, _seen: Observation
    ) -> None:
        await self._routing.annotate(action.build_id, Metadata(wanted=action.wanted))

    async def _stop(self, action: StopProgram, _config: RolloutConfig, seen: Observation) -> None:
        await self._still(seen)
        # Not waited for: a drain takes its time, and its state says how far it is.
        await self._fleet.stop(action.build_id, wait=False)

    async def _start(
        self, action: StartProgram, _config: RolloutConfig, _seen: Observation
    ) -> None:
        await self._fleet.start(action.build_id)

    async def _scale(self, action: ScaleProgram, _config: RolloutConfig, seen: Observation) -> None:
        await self._still(seen)
        await self._fleet.scale(action.build_id, action.processes)

    async def _remove(
        self, action: RemoveProgram, _config: RolloutConfig, seen: Observation
    ) -> None:
        await self._still(seen)
        await self._fleet.remove(action.build_id)

    async def _delete(
        self, action: DeleteVersion, _config: RolloutConfig, seen: Observation
    ) -> None:
        await self._still(seen)
        # Mostly nothing is left to remove; a controller killed while it removed left some.
        await self._fleet.remove(action.build_id)
        await self._routing.delete(action.build_id)
