"""`rollout forget-host`: a host that died for good is waited for no longer."""

from __future__ import annotations

import argparse

from temporalio.client import Client

from rollout.base.connect import connect
from rollout.base.exit import Failure
from rollout.base.server import asked_server
from rollout.commands.looking import from_controller
from rollout.commands.shared import readable, supervisor_here, written
from rollout.controller.identity import own_identity
from rollout.controller.last_good import follow
from rollout.controller.snapshot import Unanswered
from rollout.core.host_notes import Host
from rollout.temporal.hosts import glance
from rollout.temporal.metadata import Metadata, host_key
from rollout.temporal.observer import Observer
from rollout.temporal.routing import DeploymentRouting
from rollout.temporal.versions import version_metadata

__all__ = ["forget_host"]


def forget_host(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout forget-host``."""
    parser.description = (
        "Take a host's notes from the server, so that it is waited for no longer. One that still "
        "beats is refused: its `rollout host` would only leave new ones; stop that first."
    )
    parser.add_argument("name", metavar="NAME", help="as `rollout status` calls it")
    parser.set_defaults(run=_forget_host)


async def _forget_host(arguments: argparse.Namespace) -> int:
    deployment, name = follow(arguments.config).config.deployment.name, arguments.name
    client = await connect(identity=own_identity())
    hosts = {host.name: host for host in await _hosts(client, deployment)}
    if name not in hosts:
        known = ", ".join(hosts) or "none"
        raise Failure(f"{name!r} is not a host of {deployment}; there is {known}")
    if not hosts[name].silent:
        raise Failure(
            f"{name} has been heard less than a minute or so ago: stop its `rollout host` first, "
            "and wait until `rollout status` calls it silent"
        )
    await written(deployment, _take_away(client, deployment, name))
    print(f"{name} is forgotten: it counts no longer, until a `rollout host` of that name beats")
    return 0


async def _hosts(client: Client, deployment: str) -> tuple[Host, ...]:
    """As the controller here follows them, else by what each says of its own time."""
    try:
        _, seen = await from_controller(deployment, asked_server())
    except Unanswered:
        seen = await readable(Observer(client, deployment, supervisor_here()).observe())
    if seen.hosts is None:
        raise Failure(f"the hosts are not known just now: {'; '.join(seen.problems)}")
    return seen.hosts


async def _take_away(client: Client, deployment: str, name: str) -> None:
    """From every version: one that the host had moved from may still have an old note."""
    routing = DeploymentRouting(client, deployment, own_identity())
    for build_id in (await glance(client, deployment)).statuses:
        found = await version_metadata(client, deployment, build_id)
        if found is not None and name in found.hosts:
            await routing.annotate(build_id, Metadata(), remove=(host_key(name),))
