"""`rollout retire`: stop and remove a version that nobody needs any more."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import datetime, timezone

from temporalio.client import Client

from rollout.agent.lock import is_worker_host
from rollout.base.connect import connect
from rollout.base.exit import Failure
from rollout.base.server import asked_server
from rollout.commands import answers
from rollout.commands.shared import own, readable, supervisor_here
from rollout.commands.world import is_elsewhere
from rollout.controller.identity import own_identity
from rollout.controller.nudge import nudge
from rollout.core.config import RolloutConfig
from rollout.core.config_file import load
from rollout.core.host_notes import wanted_config
from rollout.core.hosts import others_with, silence
from rollout.core.observation import Observation, Version
from rollout.core.verdict import hinges_on_another_look, queries_hang, safe_to_stop
from rollout.core.zeros import APART
from rollout.supervision.fleet.fleet import Fleet
from rollout.supervision.rpc import Supervisor
from rollout.temporal.deletion import NotYet, delete_version
from rollout.temporal.observer import Observer

__all__ = ["retire"]


def retire(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout retire``."""
    parser.add_argument("build_id", metavar="BUILD")
    parser.add_argument("--force", action="store_true", help="even if it is not safe; asks first")
    parser.add_argument("--yes", action="store_true", help="with --force: do not ask")
    parser.set_defaults(run=_retire)


async def _retire(arguments: argparse.Namespace) -> int:
    """Stop a version's workers, remove its program, and delete the server's record."""
    config, build_id = load(arguments.config), arguments.build_id
    client = await connect(identity=own_identity())
    observer = Observer(client, config.deployment.name, supervisor_here())
    seen = await readable(observer.observe())
    version = seen.version(build_id)
    is_host = not is_elsewhere() and is_worker_host(config.deployment.name)
    if is_host:
        config = wanted_config(seen.deployment, seen.wanted) or config
    else:
        own(seen, build_id)
    answers.note(deployment=seen.deployment, build_id=build_id, changed=False)
    if version.status == "unregistered" and version.process is None and _is_free(config, build_id):
        nobody = "neither the server nor supervisord knows it"
        if is_elsewhere():
            nobody = "the server asked does not know it"
        answers.say(
            f"{build_id} is retired already: {nobody}",
            programs=[],
            forgotten=True,
        )
        return 0
    if version.status == "unregistered":
        _refuse_unknown(config, version, sure=arguments.force and arguments.yes)
    else:
        await _refuse_needed(config, observer, seen, arguments)
    if not is_host:
        _refuse_on_others(seen, build_id)
    await _remove(seen.deployment, build_id)
    if lost := queries_hang(version):
        answers.say(lost)
    if version.status == "unregistered":
        answers.note(forgotten=True)
        return 0
    if is_host:
        answers.say(f"this is a worker host: the server's record of {build_id} is the controller's")
        return 0
    return await _forget(client, seen.deployment, build_id)


def _is_free(config: RolloutConfig, build_id: str) -> bool:
    """Whether rollout.toml names it nowhere."""
    wanted = config.deployment
    return build_id not in (wanted.target, wanted.baseline, wanted.rollback, *wanted.unblock)


def _refuse_on_others(seen: Observation, build_id: str) -> None:
    """Raise `Failure` where another host has a program of it: its worker would bring it back."""
    found = {host.name: host for host in seen.hosts or ()}
    for name in others_with(seen, build_id):
        if found[name].silent:
            raise Failure(f"{silence(found[name])}; `rollout forget-host {name}` if it is gone")
        state = found[name].builds[build_id]
        raise Failure(
            f"{build_id} still has a program on {name} ({state}): run `rollout retire {build_id}` "
            "there, or let [sunset] do it"
        )


def _refuse_unknown(config: RolloutConfig, version: Version, *, sure: bool) -> None:
    """Raise `Failure` where a version that the server does not know is needed all the same.

    Another server may have its runs. ``sure`` is a person who has said so twice; a program that
    runs is not stopped even then.
    """
    build_id, deployment = version.build_id, config.deployment
    server = asked_server()
    unknown = f"the server at {server.address}, namespace {server.namespace}, does not know"
    if version.process is not None and not version.stopped:
        raise Failure(
            f"{unknown} {build_id}, whose process runs here: it may serve runs on another server; "
            "ask that one, or stop the process first with supervisorctl"
        )
    if not _is_free(config, build_id) and not sure:
        named = "is the target" if build_id == deployment.target else "is named"
        raise Failure(
            f"{unknown} {build_id}, which {named} in rollout.toml: ask another server, or change "
            "the file first (--force --yes retires it all the same)"
        )


async def _refuse_needed(
    config: RolloutConfig, observer: Observer, seen: Observation, given: argparse.Namespace
) -> None:
    """Raise `Failure` unless it is safe in two looks, or a person takes it upon himself."""
    build_id = given.build_id
    against = _against(config, seen, build_id)
    if hinges_on_another_look(seen, config.deployment.target, datetime.now(timezone.utc)):
        await asyncio.sleep(APART.total_seconds())
        seen = await readable(observer.observe())
        against = _against(config, seen, build_id)
    if not against:
        return
    if not given.force:
        raise Failure(f"{build_id} is not safe to stop: {'; '.join(against)}")
    _confirm(build_id, seen.version(build_id).open_runs, against, sure=given.yes)
    _against(config, await readable(observer.observe()), build_id)  # it may get new runs by now


def _against(config: RolloutConfig, seen: Observation, build_id: str) -> list[str]:
    """What speaks against stopping it; raises `Failure` where it gets new runs, force or not."""
    target = config.deployment.target
    verdict = safe_to_stop(seen, build_id, target, datetime.now(timezone.utc))
    if verdict.safe_to_stop:
        return []
    if build_id in (seen.current, seen.ramping and seen.ramping.build_id):
        raise Failure(f"{build_id} gets new runs: route them away first with `rollout to`")
    return [point.detail for point in verdict.evidence if not point.ok]


async def _remove(deployment: str, build_id: str) -> None:
    if is_elsewhere():
        answers.say("no program here is touched", programs=[])
        return
    try:
        names = await Fleet(Supervisor(), deployment=deployment).remove(build_id)
    except OSError as error:
        raise Failure(f"could not remove the program of {build_id}: {error}") from error
    nudge(deployment, build_id)
    if names:
        answers.note(changed=True)
    answers.say(
        f"stopped and removed {', '.join(names) or 'no program: there was none here'}",
        programs=list(names),
    )


async def _forget(client: Client, deployment: str, build_id: str) -> int:
    try:
        await delete_version(client, deployment, build_id, own_identity())
    except NotYet as later:
        again = "the controller does it if [sunset] says so, or retire it again then"
        answers.say(f"{later}; {again}", forgotten=False)
        return 0
    nudge(deployment)
    answers.say(f"the server has forgotten {build_id}", forgotten=True, changed=True)
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
