"""`rollout status`: versions, their share of new runs, open runs, and what is safe to stop."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from rich.console import Console

from rollout.base import settings
from rollout.base.connect import connect
from rollout.commands import version_sets
from rollout.commands.shared import observe
from rollout.commands.status_table import as_table
from rollout.controller.identity import is_running, own_identity
from rollout.controller.refusals import last_refusals
from rollout.core.config import RolloutConfig
from rollout.core.config_file import load
from rollout.core.observation import Observation
from rollout.core.status_document import status_document
from rollout.core.sunset import kept
from rollout.core.version_limit import deletable, warning
from rollout.prometheus import graphs
from rollout.temporal.version_sets import VersionSetRouting

__all__ = ["status"]


def status(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout status``."""
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.add_argument(
        "--versioning",
        choices=tuple(_SHOWN),
        default="deployment",
        help="version-sets: the legacy build-id API of old servers",
    )
    parser.add_argument("--task-queue", help="for version-sets; default: that of rollout.toml")
    parser.set_defaults(run=_status)


async def _status(arguments: argparse.Namespace) -> int:
    """Versions, their share of new runs, open runs, and what is safe to stop."""
    await _SHOWN[arguments.versioning](load(arguments.config), arguments)
    return 0


async def _of_deployment(config: RolloutConfig, arguments: argparse.Namespace) -> None:
    seen, decided = await observe(config)
    now = datetime.now(timezone.utc)
    told = list(_warnings(config, seen))
    if arguments.json:
        print(json.dumps(status_document(config, seen, decided, now, told)))
        return
    console = Console(highlight=False)
    console.print(as_table(config, seen, decided, now, told))
    console.print(f"\ngraphs: {_graphs()}", soft_wrap=True)


async def _of_sets(config: RolloutConfig, arguments: argparse.Namespace) -> None:
    task_queue = arguments.task_queue or config.deployment.task_queue
    seen = await VersionSetRouting(await connect(), task_queue).observe()
    if arguments.json:
        print(json.dumps(version_sets.as_json(seen)))
    else:
        Console(highlight=False).print(version_sets.render(seen))


_SHOWN: Mapping[str, Callable[[RolloutConfig, argparse.Namespace], Coroutine[Any, Any, None]]] = {
    "deployment": _of_deployment,
    "version-sets": _of_sets,
}
"""How the status of each versioning is shown; without a version there is nothing to show."""


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
