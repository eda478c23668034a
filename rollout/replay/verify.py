"""Pre-flight: the histories of real runs replayed on the code that is to take them over.

A replay tells whether the code would have done what each run did so far: the same
activities, timers and children, in the same order and with the same arguments.
https://docs.temporal.io/develop/python/testing-suite#replay
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, fields
from datetime import timedelta
from itertools import chain, zip_longest
from typing import Any

from temporalio.client import Client, WorkflowExecution, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.exit import Failure
from rollout.replay.drift import UNNOTICED
from rollout.replay.process import NoReplay, ReplayCommand, replay_command, run_replay
from rollout.replay.verification import Replayed, Verification, refusing_drift
from rollout.temporal.visibility import open_runs_query

__all__ = ["MOST_RUNS", "movable_runs", "replayed", "try_move", "verify", "verify_build"]

MAX_EVENTS = 10_000
"""Longer histories are left out: the server warns at this length, and each takes seconds."""

MOST_RUNS = 1000
"""So many of the running runs are tried, the newest, before they are moved."""

_CANDIDATES = 200
_DOWNLOADS = 4
_RPC_TIMEOUT = timedelta(seconds=10)


async def verify_build(
    client: Client, deployment: str, source: str, target: str, sample: int
) -> Verification:
    """`verify` with the command of the target's own program on this machine.

    Where its program names none, the outcome is that it could not be tried.
    """
    try:
        command = await replay_command(deployment, target)
    except NoReplay as error:
        return Verification(source, target, (), untried=str(error))
    return await verify(client, deployment, source, command, sample)


async def try_move(
    client: Client, deployment: str, source: str, target: str, limit: int = MOST_RUNS
) -> Verification:
    """`movable_runs` with the command of the target's own program on this machine."""
    command = await replay_command(deployment, target)
    return await movable_runs(client, deployment, source, command, limit)


async def verify(
    client: Client, deployment: str, source: str, command: ReplayCommand, sample: int
) -> Verification:
    """Replay up to ``sample`` runs of ``source``, half running and half closed ones.

    Each half is spread over the workflow types, and for each type over its newest
    runs. Raises `Failure` where the runs cannot be read or the replay cannot be tried.
    """
    running = await _list(client, open_runs_query(deployment, source), _CANDIDATES)
    closed = await _list(client, _closed_runs_query(deployment, source), _CANDIDATES)
    from_closed = min(len(closed), max(sample // 2, sample - len(running)))
    chosen = [*_spread(running, sample - from_closed), *_spread(closed, from_closed)]
    return await _replay(client, source, chosen, command)


async def movable_runs(
    client: Client, deployment: str, source: str, command: ReplayCommand, limit: int
) -> Verification:
    """Which of the running runs of ``source`` can go on with the code of ``command``.

    One run of each workflow type is tried first; where it breaks, the others of its
    type are left out. Move exactly `Verification.movable`, and at once: the runs go
    on meanwhile. At most ``limit`` runs, the newest, are looked at.
    """
    running = await _list(client, open_runs_query(deployment, source), limit)
    probes = [runs[0] for runs in _by_type(running)]
    # Strict whatever rollout.toml says: nobody looks at each run that is moved.
    first = refusing_drift(await _replay(client, source, probes, command))
    breaking = {run.workflow_type for run in first.broken}
    others = [run for run in running if run not in probes]
    rest = [run for run in others if run.workflow_type not in breaking]
    then = refusing_drift(await _replay(client, source, rest, command))
    spared = tuple(
        f"{run.id} ({run.workflow_type}): another run of its type breaks"
        for run in others
        if run.workflow_type in breaking
    )
    return Verification(
        source,
        command.build_id,
        first.runs + then.runs,
        first.left_out + then.left_out + spared,
    )


def _closed_runs_query(deployment: str, build_id: str) -> str:
    version = f"{deployment}:{build_id}"
    return f"TemporalWorkerDeploymentVersion='{version}' AND ExecutionStatus!='Running'"


async def _list(client: Client, query: str, limit: int) -> list[WorkflowExecution]:
    """The runs that ``query`` finds, the newest first, ``limit`` at most."""
    found = client.list_workflows(
        query, page_size=min(limit, _CANDIDATES), limit=limit, rpc_timeout=_RPC_TIMEOUT
    )
    try:
        return [run async for run in found]
    except RPCError as error:
        raise Failure(f"the runs to replay cannot be listed: {error.message}") from error


def _by_type(runs: Iterable[WorkflowExecution]) -> list[list[WorkflowExecution]]:
    by_type: dict[str, list[WorkflowExecution]] = defaultdict(list)
    for run in runs:
        by_type[run.workflow_type].append(run)
    return list(by_type.values())


def _spread(runs: Sequence[WorkflowExecution], count: int) -> list[WorkflowExecution]:
    """``count`` of ``runs``: in turn one of each type, from all over the list of its type.

    The newest alone would all have got to about the same step.
    """
    turns: list[list[WorkflowExecution]] = []
    for each in _by_type(runs):
        step = max(1, len(each) // max(1, count))
        evenly = each[::step]
        turns.append([*evenly, *(run for run in each if run not in evenly)])
    in_turn = chain.from_iterable(zip_longest(*turns))
    return [run for run in in_turn if run is not None][:count]


async def _replay(
    client: Client,
    source: str,
    chosen: Sequence[WorkflowExecution],
    command: ReplayCommand,
) -> Verification:
    if not chosen:
        return Verification(source, command.build_id, ())
    downloads = _Downloads(client, chosen)
    async with aclosing(downloads.lines()) as lines:
        outcomes = await run_replay(command, lines)
    tried = [outcome for outcome in outcomes if not outcome.get("left_out")]
    not_tried = [
        f"{outcome['workflow_id']} ({outcome['workflow_type']}): {outcome['left_out']}"
        for outcome in outcomes
        if outcome.get("left_out")
    ]
    left_out = (*downloads.left_out, *not_tried)
    return Verification(source, command.build_id, tuple(map(replayed, tried)), left_out)


def replayed(outcome: Mapping[str, Any]) -> Replayed:
    """The outcome in a line of the replay's output, by whichever version of it that was written."""
    known = {each.name for each in fields(Replayed)}
    told = {key: value for key, value in outcome.items() if key in known}
    error = told.get("error")
    if isinstance(error, str) and error.endswith(UNNOTICED) and not told.get("drift"):
        # Before there was a word for it, it was an error like any other.
        told |= {"ok": True, "error": None, "drift": error}
    return Replayed(**told)


@dataclass
class _Downloads:
    """The histories of ``chosen``, a few of them read at a time."""

    client: Client
    chosen: Sequence[WorkflowExecution]
    left_out: list[str] = field(default_factory=list)

    async def lines(self) -> AsyncGenerator[dict[str, Any], None]:
        """Each history as a line of the replay's input, in the order of ``chosen``."""
        waiting = list(self.chosen)
        under_way: list[asyncio.Task[dict[str, Any] | None]] = []
        try:
            while waiting or under_way:
                while waiting and len(under_way) < _DOWNLOADS:
                    under_way.append(asyncio.create_task(self._line(waiting.pop(0))))
                if (line := await under_way.pop(0)) is not None:
                    yield line
        finally:
            for task in under_way:
                task.cancel()

    async def _line(self, run: WorkflowExecution) -> dict[str, Any] | None:
        name = f"{run.id} ({run.workflow_type})"
        handle = self.client.get_workflow_handle(run.id, run_id=run.run_id)
        events = []
        try:
            async for event in handle.fetch_history_events(rpc_timeout=_RPC_TIMEOUT):
                events.append(event)
                if len(events) > MAX_EVENTS:
                    self.left_out.append(f"{name}: longer than {MAX_EVENTS} events")
                    return None
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:  # its retention has ended meanwhile
                self.left_out.append(f"{name}: its history is gone")
                return None
            raise Failure(f"the history of {name} cannot be read: {error.message}") from error
        history = WorkflowHistory(run.id, events)
        return {
            "workflow_id": run.id,
            "run_id": run.run_id,
            "namespace": run.namespace,
            "history": await asyncio.to_thread(history.to_json_dict),
        }
