"""The commands that only look: at the rollout, its plan, its past, and its configuration."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import datetime, timezone

from rich.console import Console
from temporalio.service import RPCError

from rollout import history as past
from rollout.config import RolloutConfig, load
from rollout.controller import is_running, last_refusals, own_identity
from rollout.controller_log import all_deeds
from rollout.legacy import version_sets, version_sets_status
from rollout.limits import deletable, warning
from rollout.look import look
from rollout.model import Observation, Plan
from rollout.plan import plan as make_plan
from rollout.status import as_json, as_table
from rollout.sunset import kept
from rollout.watching.watch import watch as watch_rollout
from stack import graphs, settings
from stack.connect import connect
from stack.exit import Failure
from stack.supervisor_rpc import Supervisor

__all__ = ["check", "history", "plan", "status", "watch"]


async def status(arguments: argparse.Namespace) -> int:
    """Versions, their share of new runs, open runs, and what is safe to stop."""
    config = load(arguments.config)
    if arguments.versioning == "version-sets":
        return await _status_of_sets(
            arguments.task_queue or config.deployment.task_queue, arguments
        )
    seen, decided = await _look(config)
    told = list(_warnings(config, seen))
    if arguments.json:
        print(json.dumps(as_json(config, seen, decided, told)))
        return 0
    console = Console(highlight=False)
    console.print(as_table(config, seen, decided, told))
    console.print(f"\ngraphs: {_graphs()}", soft_wrap=True)
    return 0


def _warnings(config: RolloutConfig, seen: Observation) -> Iterator[str]:
    """What stands in the way although the plan does not know of it."""
    name = config.deployment.name
    if not is_running(name) and seen.manager in ("", own_identity()):
        yield "no controller runs here, so nothing is done: `supervisorctl start rollout`"
    else:
        yield from last_refusals(name)
    spare = deletable(seen, config.deployment.target, kept(config, seen))
    if limit := warning(seen, config.limits.versions, spare):
        yield limit


def _graphs() -> str:
    """Grafana where it is installed, else a page of Prometheus with the same main panels."""
    if (settings.TOOLS_DIR / "grafana" / "bin" / "grafana").exists():
        return settings.local_url("GRAFANA_PORT")
    return graphs.switchover_url(settings.prometheus_page())


async def _status_of_sets(task_queue: str, arguments: argparse.Namespace) -> int:
    seen = await version_sets.status(await connect(), task_queue)
    if arguments.json:
        print(json.dumps(version_sets_status.as_json(seen)))
    else:
        Console(highlight=False).print(version_sets_status.render(seen))
    return 0


async def plan(arguments: argparse.Namespace) -> int:
    """What the controller would do now, and why; 3 where that is anything."""
    _, decided = await _look(load(arguments.config))
    actions = [str(action) for action in decided.actions]
    if arguments.json:
        print(json.dumps({"phase": decided.phase, "reason": decided.reason, "actions": actions}))
    else:
        print(f"{decided.phase}: {decided.reason}")
        for action in actions:
            print(f"  would {action}")
    return 3 if actions else 0


async def history(arguments: argparse.Namespace) -> int:
    """What has happened to the versions, and what the controller did about it."""
    seen, _ = await _look(load(arguments.config))
    deeds = all_deeds(settings.LOG_DIR, seen.deployment)
    events = past.history(seen, deeds)
    if arguments.json:
        print(json.dumps(past.as_json(events)))
    else:
        Console(highlight=False).print(past.as_lines(events), soft_wrap=True)
    return 0


async def watch(arguments: argparse.Namespace) -> int:
    """Show the rollout as it goes, until Ctrl-C."""
    return await watch_rollout(arguments.config, Console(highlight=False))


async def check(arguments: argparse.Namespace) -> int:
    """Check rollout.toml."""
    deployment = load(arguments.config).deployment
    if arguments.json:
        baseline = deployment.baseline or deployment.target
        names = {"deployment": deployment.name, "baseline": baseline, "target": deployment.target}
        print(json.dumps(names))
    return 0


async def _look(config: RolloutConfig) -> tuple[Observation, Plan]:
    """Observe once and plan on it, as the controller of this checkout would."""
    client = await connect()
    try:
        seen = await look(client, config, Supervisor())
    except RPCError as error:
        raise Failure(f"the deployment cannot be read: {error.message}") from error
    return seen, make_plan(config, seen, datetime.now(timezone.utc), own_identity())
