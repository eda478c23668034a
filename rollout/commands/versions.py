"""`rollout add`, `verify` and `retry`: what is done with one version."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from temporalio.service import RPCError

from rollout.base.command_line import count, port
from rollout.base.connect import connect
from rollout.base.exit import Failure
from rollout.base.names import valid_build_id
from rollout.commands import answers
from rollout.commands.gate_check import warn_of_gate
from rollout.commands.own_workers import add_command, add_options, is_command
from rollout.commands.shared import own, see, written
from rollout.commands.world import refuse_elsewhere
from rollout.core.config_file import load
from rollout.core.observation import STRATEGIES
from rollout.replay.verification import as_json, refusing_drift, render
from rollout.replay.verify import verify_build
from rollout.supervision.fleet.fleet import Fleet
from rollout.supervision.rpc import Supervisor
from rollout.temporal.metadata import BLOCKED, Metadata, Note, verified_key
from rollout.temporal.observer import Observer
from rollout.temporal.routing import DeploymentRouting

__all__ = ["add", "retry", "verify"]


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout add``."""
    parser.add_argument("build_id", metavar="BUILD")
    parser.add_argument(
        "--strategy", choices=STRATEGIES, default="incompatible", help="default: incompatible"
    )
    parser.add_argument("--app", help="module of the build's workflows; default: workers/builds")
    parser.add_argument(
        "--metrics-port",
        type=port,
        help="default: the first free one from 9103; of a command of your own: none",
    )
    parser.add_argument(
        "flags",
        nargs="*",
        metavar="WORD",
        help="after --: a command that is a worker; or more flags for `rollout worker`",
    )
    parser.set_defaults(verbatim="flags")
    add_options(parser)
    parser.set_defaults(run=_add)


def verify(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout verify``."""
    parser.add_argument("build_id", metavar="BUILD")
    parser.add_argument("--from", dest="source", metavar="BUILD", help="default: the current build")
    parser.add_argument("--sample", type=count, help="how many runs; default: that of rollout.toml")
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(run=_verify)


def retry(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout retry``."""
    parser.add_argument("build_id", metavar="BUILD")
    parser.add_argument(
        "--accept-drift",
        action="store_true",
        help="although its code gives runs other arguments and rollout.toml refuses that",
    )
    parser.set_defaults(run=_retry)


async def _retry(arguments: argparse.Namespace) -> int:
    """Give a build another chance: its block, its failed replay and its gate are forgotten."""
    client, seen = await see(load(arguments.config))
    version = seen.version(arguments.build_id)
    if version.status == "unregistered":
        raise Failure(f"the server does not know {arguments.build_id}: has a worker polled?")
    routing = DeploymentRouting(client, seen.deployment, own(seen, version.build_id))
    drift = Note(version.fingerprint, "by rollout retry --accept-drift")
    again = Metadata(
        gate_round=version.gate_round + 1,
        drift_accepted=drift if arguments.accept_drift else None,
    )
    noted = (BLOCKED, *(verified_key(source) for source in version.verified))
    change = routing.annotate(version.build_id, again, remove=noted)
    await written(seen.deployment, change, version.build_id)
    beside = ", whatever arguments it gives to runs" if arguments.accept_drift else ""
    answers.say(
        f"{version.build_id} may be tried again{beside}",
        deployment=seen.deployment,
        build_id=version.build_id,
        was_blocked=version.blocked,
        accept_drift=arguments.accept_drift,
    )
    return 0


async def _verify(arguments: argparse.Namespace) -> int:
    """Replay runs of the current build on another one's code, and say which would break."""
    config = load(arguments.config)
    client, seen = await see(config)
    source = arguments.source or seen.current
    if source is None:
        raise Failure("nothing is current, so there are no runs to replay; name a build: --from")
    if seen.version(source).status == "unregistered":
        raise Failure(f"the server does not know {source}: has a worker polled?")
    sample = arguments.sample or config.verify.sample
    console = Console(stderr=True)
    with console.status(f"replaying up to {sample} runs of {source} on {arguments.build_id}"):
        found = await verify_build(client, seen.deployment, source, arguments.build_id, sample)
    if config.verify.arguments == "refuse":
        found = refusing_drift(found)
    if arguments.json:
        print(json.dumps(as_json(found)))
    else:
        Console(highlight=False).print(render(found))
    if found.untried and config.verify.without_replay == "warn":
        return 0
    return 0 if found.passed else 1


async def _add(arguments: argparse.Namespace) -> int:
    """Write a build's program file, start its worker, and wait until it polls."""
    if is_command(arguments):
        return await add_command(arguments)
    refuse_elsewhere("program")
    config = load(arguments.config)
    name = config.deployment.name
    client = await connect()
    observer = Observer(client, name, at_once=False)

    async def registered() -> bool:
        try:
            return bool(
                (await observer.observe(arguments.build_id)).version(arguments.build_id).workers
            )
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
        await warn_of_gate(client, config, arguments.build_id)
    again = "was added already, and " if added.existed else ""
    answers.say(
        f"{added.name} {again}polls, metrics on port {added.metrics_port}, log {added.log_file}",
        deployment=name,
        build_id=arguments.build_id,
        programs=[added.name],
        changed=not added.existed,
    )
    if not getattr(arguments, "goes_on", False):  # as in `rollout deploy`
        answers.say(f"`rollout to {arguments.build_id}` sends new runs there")
    return 0
