"""The commands that change something: intent in rollout.toml, or a version that needs a person."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import TypeVar

from rich.console import Console
from temporalio.client import Client
from temporalio.service import RPCError

from rollout.act import Actor
from rollout.config import UNVERSIONED, RolloutConfig, edit, load, valid_build_id
from rollout.controller import is_running, last_refusals, own_identity
from rollout.fleet.fleet import Fleet, NotYet, delete_version
from rollout.look import look
from rollout.model import Observation, Version
from rollout.observe import VERIFIED, Observer, note
from rollout.replay.verification import as_json, render, summary
from rollout.replay.verify import MOST_RUNS, try_move, verify_build
from rollout.unversioned import without_unversioned_worker
from rollout.verdict import safe_to_stop, warnings
from stack.connect import connect
from stack.exit import Failure
from stack.supervisor_rpc import Supervisor

__all__ = [
    "add",
    "adopt",
    "pause",
    "release",
    "resume",
    "retire",
    "retry",
    "rollback",
    "to",
    "verify",
]

T = TypeVar("T")

_FOLLOWED = 30.0
"""Seconds in which a running controller follows a rollback."""


# --- intent ---


async def to(arguments: argparse.Namespace) -> int:
    """Make a build the target."""
    config = load(arguments.config)
    if arguments.build_id == UNVERSIONED:
        client, seen = await _see(config)
        if missing := await _written(without_unversioned_worker(client, seen)):
            raise Failure(
                f"no worker without a version polls {', '.join(missing)}, and new runs would "
                "wait: start one with `python -m workers --versioning none`"
            )
    else:
        valid_build_id(arguments.build_id)
    edit(arguments.config, "deployment", target=arguments.build_id, rollback=None)
    print(f"target is {arguments.build_id}; `rollout watch` shows how traffic moves to it")
    if arguments.build_id != UNVERSIONED:
        await _warn_of_a_stranger(config, arguments.build_id)
    return 0


async def _warn_of_a_stranger(config: RolloutConfig, build_id: str) -> None:
    """Say so where nobody knows the build; it may still be about to come."""
    try:
        _, seen = await _see(config)
    except Failure:
        return
    version = seen.version(build_id)
    if version.status == "unregistered" and version.process is None:
        print(
            f"no worker of {build_id} has polled, and no program here runs it: "
            f"until one does, traffic stays as it is (`rollout add {build_id}` starts one)",
            file=sys.stderr,
        )


async def pause(arguments: argparse.Namespace) -> int:
    """Leave traffic as it is."""
    edit(arguments.config, "deployment", paused=True)
    print("paused: traffic stays as it is; `rollout resume` goes on")
    return 0


async def resume(arguments: argparse.Namespace) -> int:
    """Go on."""
    edit(arguments.config, "deployment", paused=False)
    print("resumed")
    return 0


# --- back ---


async def rollback(arguments: argparse.Namespace) -> int:
    """Send all new runs back to a version that has worked, and block the one that has not."""
    config = load(arguments.config)
    if config.deployment.pace == "manual":
        raise Failure('pace is "manual" in rollout.toml: route with the `temporal` CLI')
    client, seen = await _see(config)
    bad, good = _bad_and_good(seen, arguments.to)
    # The block first: whatever happens to this command, the bad build gets no more traffic.
    actor = Actor(client, seen.deployment, _own(seen, bad))
    reason = f"rolled back to {good} by command"
    fingerprint = seen.version(bad).fingerprint
    await _written(actor.annotate(bad, {"blocked": note(fingerprint, reason)}))
    edit(arguments.config, "deployment", target=good, rollback=good, paused=False)
    print(f"target is {good}, {bad} is blocked (`rollout retry {bad}` lifts that)")
    observer = Observer(client, seen.deployment)

    def is_back(now: Observation) -> bool:
        return now.current == good and now.ramping is None

    if not await _until(observer, is_back, _FOLLOWED):
        why = "; ".join(last_refusals(seen.deployment))
        if not is_running(seen.deployment):
            why = "no controller runs here (`supervisorctl start rollout`)"
        raise Failure(f"new runs do not go to {good} yet: {why or 'see `rollout status`'}")
    print(f"all new runs go to {good}")
    after = await observer.observe()
    for warning in warnings(after):
        print(f"! {warning}", file=sys.stderr)
    stranded = after.version(bad).open_runs
    if arguments.move_back:
        await _move_back(client, actor, seen.deployment, bad, good)
    elif stranded:
        print(f"{stranded} runs that began on {bad} stay there; --move-back moves those that can")
    return 0


def _bad_and_good(seen: Observation, wanted: str | None) -> tuple[str, str]:
    """The build to leave, and the one to go back to. Raises `Failure` where there is none."""
    if seen.current is None:
        raise Failure("nothing is current yet, so there is nothing to go back from")
    bad = seen.ramping.build_id if seen.ramping else seen.current
    if wanted is None:
        if seen.ramping:
            return bad, seen.current
        former = [v for v in seen.versions if v.build_id != bad and _may_take_over(v) is None]
        former.sort(key=_last_current)
        if not former:
            raise Failure("no other version that was current could take over: see `rollout status`")
        return bad, former[-1].build_id
    if wanted == bad:
        raise Failure(f"{wanted} is what a rollback would leave: name another build")
    if wanted != seen.current and (why := _may_take_over(seen.version(wanted))):
        raise Failure(f"{wanted} {why}")
    return bad, wanted


def _may_take_over(version: Version) -> str | None:
    """Why a version cannot be gone back to; None where it can."""
    if version.last_current_at is None:
        return f"has never been current: go there with `rollout to {version.build_id}`"
    if version.blocked:
        return f"is blocked ({version.blocked}): `rollout retry {version.build_id}` lifts that"
    if version.workers == 0 and not version.stopped:
        return "has no live worker, and no program here that could be started"
    return None


def _last_current(version: Version) -> datetime:
    return version.last_current_at or datetime.min.replace(tzinfo=timezone.utc)


async def _move_back(client: Client, actor: Actor, deployment: str, bad: str, good: str) -> None:
    """Move the runs of the bad build that the good one's code can go on with."""
    found = await try_move(client, deployment, bad, good)
    print(summary(found))
    moved = await _written(actor.move_these(found.movable, good))
    tried = len(found.runs) + len(found.left_out)
    left = tried - len(found.movable)
    print(f"{moved} runs move to {good} at their next task; {left} stay on {bad}")
    if tried >= MOST_RUNS:
        print(f"only the newest {MOST_RUNS} were looked at; the others stay, too")


async def retry(arguments: argparse.Namespace) -> int:
    """Give a build another chance: its block, its failed replay and its gate are forgotten."""
    client, seen = await _see(load(arguments.config))
    version = seen.version(arguments.build_id)
    if version.status == "unregistered":
        raise Failure(f"the server knows no version {arguments.build_id}")
    actor = Actor(client, seen.deployment, _own(seen, version.build_id))
    again = {"gate_round": str(version.gate_round + 1)}
    noted = ("blocked", *(f"{VERIFIED}{source}" for source in version.verified))
    await _written(actor.annotate(version.build_id, again, remove=noted))
    print(f"{version.build_id} may be tried again")
    return 0


async def verify(arguments: argparse.Namespace) -> int:
    """Replay runs of the current build on another one's code, and say which would break."""
    config = load(arguments.config)
    client, seen = await _see(config)
    source = arguments.source or seen.current
    if source is None:
        raise Failure("nothing is current, so there are no runs to replay; name a build: --from")
    if seen.version(source).status == "unregistered":
        raise Failure(f"the server knows no version {source}")
    sample = arguments.sample or config.verify.sample
    console = Console(stderr=True)
    with console.status(f"replaying up to {sample} runs of {source} on {arguments.build_id}"):
        found = await verify_build(client, seen.deployment, source, arguments.build_id, sample)
    if arguments.json:
        print(json.dumps(as_json(found)))
    else:
        Console(highlight=False).print(render(found))
    return 0 if found.passed else 1


# --- versions ---


async def add(arguments: argparse.Namespace) -> int:
    """Write a build's program file, start its worker, and wait until it polls."""
    config = load(arguments.config)
    name = config.deployment.name
    client = await connect()
    observer = Observer(client, name)

    async def registered() -> bool:
        try:
            return bool((await observer.observe()).version(arguments.build_id).workers)
        except RPCError:
            return False

    with Console(stderr=True).status(f"starting a worker of {arguments.build_id}"):
        added = await Fleet(Supervisor(), deployment=name).add(
            valid_build_id(arguments.build_id),
            arguments.strategy,
            app=arguments.app,
            task_queue=config.deployment.task_queue,
            metrics_port=arguments.metrics_port,
            flags=arguments.flags,
            registered=registered,
        )
    print(f"{added.name} polls, metrics on port {added.metrics_port}, log {added.log_file}")
    print(f"`rollout to {arguments.build_id}` sends new runs there")
    return 0


async def retire(arguments: argparse.Namespace) -> int:
    """Stop a version's workers, remove its program, and delete the server's record."""
    config = load(arguments.config)
    client, seen = await _see(config, known=False)
    build_id = arguments.build_id
    version = seen.version(build_id)
    if version.status == "unregistered" and version.process is None:
        raise Failure(f"neither the server nor supervisord knows {build_id}")
    _own(seen, build_id)
    verdict = safe_to_stop(seen, build_id, config.deployment.target)
    against = [point.detail for point in verdict.evidence if not point.ok]
    if not verdict.safe_to_stop and version.status != "unregistered":
        if build_id in (seen.current, seen.ramping and seen.ramping.build_id):
            raise Failure(f"{build_id} gets new runs: route them away first with `rollout to`")
        if not arguments.force:
            raise Failure(f"{build_id} is not safe to stop: {'; '.join(against)}")
        _confirm(build_id, version.open_runs, against, sure=arguments.yes)
    try:
        names = await Fleet(Supervisor(), deployment=seen.deployment).remove(build_id)
    except OSError as error:
        raise Failure(f"the program of {build_id} cannot be removed: {error}") from error
    print(f"stopped and removed {', '.join(names) or 'no program: there was none here'}")
    if version.status == "unregistered":
        return 0
    try:
        await delete_version(client, seen.deployment, build_id, own_identity())
    except NotYet as later:
        print(f"{later}; the controller does it if [sunset] says so, or retire it again then")
        return 0
    print(f"the server has forgotten {build_id}")
    return 0


def _confirm(build_id: str, open_runs: int | None, against: list[str], *, sure: bool) -> None:
    """Say what would be stranded, and ask. Raises `Failure` where the answer is not yes."""
    runs = "an unknown number of" if open_runs is None else str(open_runs)
    print(f"{build_id} is not safe to stop: {'; '.join(against)}", file=sys.stderr)
    print(f"{runs} open runs would wait for a worker that does not come back", file=sys.stderr)
    if sure:
        return
    if not sys.stdin.isatty():
        raise Failure("there is nobody to ask: add --yes to do it all the same")
    try:
        answer = input(f"retire {build_id} all the same? Type its build id: ")
    except EOFError:
        answer = ""
    if answer.strip() != build_id:
        raise Failure("nothing was done")


# --- owners ---


async def adopt(arguments: argparse.Namespace) -> int:
    """Make this checkout's controller the deployment's manager."""
    client, seen = await _see(load(arguments.config))
    await _written(Actor(client, seen.deployment, _writer(seen)).set_manager(own_identity()))
    print(f"{own_identity()} manages {seen.deployment} now (before: {seen.manager or 'nobody'})")
    return 0


async def release(arguments: argparse.Namespace) -> int:
    """Let anybody change the routing."""
    client, seen = await _see(load(arguments.config))
    await _written(Actor(client, seen.deployment, _writer(seen)).set_manager(""))
    print(f"nobody manages {seen.deployment} now (before: {seen.manager or 'nobody'})")
    print("a running controller claims it again when it next has to act: stop or pause it")
    return 0


# --- what they share ---


async def _see(config: RolloutConfig, *, known: bool = True) -> tuple[Client, Observation]:
    """A client and what it sees. Raises `Failure`, also where ``known`` and nothing is there."""
    client = await connect(identity=own_identity())
    try:
        seen = await look(client, config, Supervisor())
    except RPCError as error:
        raise Failure(f"the deployment cannot be read: {error.message}") from error
    if known and not seen.exists:
        raise Failure(f"the server knows no deployment {seen.deployment}: has a worker polled?")
    return client, seen


def _own(seen: Observation, build_id: str) -> str:
    """Our identity, to change something about ``build_id`` with.

    Raises `Failure` where somebody else manages the deployment, or where the
    build's metadata, which the change is about, could not be read.
    """
    if seen.manager not in ("", own_identity()):
        raise Failure(f"{seen.manager} manages {seen.deployment}: `rollout adopt` takes it over")
    if not seen.version(build_id).described:
        raise Failure(f"{build_id} could not be described just now; try again")
    return own_identity()


def _writer(seen: Observation) -> str:
    """The identity to write under: the manager's, if there is one, for a person is above it."""
    return seen.manager or own_identity()


async def _written(change: Awaitable[T]) -> T:
    try:
        return await change
    except RPCError as error:
        raise Failure(f"the server refused: {error.message}") from error


async def _until(observer: Observer, true: Callable[[Observation], bool], seconds: float) -> bool:
    """Whether ``true`` of what is observed within ``seconds``."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        try:
            if true(await observer.observe()):
                return True
        except RPCError:
            pass
        await asyncio.sleep(0.5)
    return False
