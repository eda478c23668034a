"""`rollout status`: versions, their share of new runs, open runs, and what is safe to stop."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from rollout.base import settings
from rollout.commands.looking import Look, live_page, look_alone, look_here
from rollout.controller.last_good import Followed, follow
from rollout.controller.snapshot import Unanswered
from rollout.core.config import RolloutConfig
from rollout.core.status_document import Source, status_document

__all__ = ["status"]

_Outcome = int | Coroutine[Any, Any, int]

_JUST_NOW = 3.0
"""Seconds; what is older than that is said to be so."""


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


def _status(arguments: argparse.Namespace) -> _Outcome:
    """Versions, their share of new runs, open runs, and what is safe to stop."""
    return _SHOWN[arguments.versioning](follow(arguments.config), arguments)


def _of_deployment(followed: Followed, arguments: argparse.Namespace) -> _Outcome:
    try:
        found = look_here(followed)
    except Unanswered as none:
        return _alone(followed, arguments, none)
    return _told(followed.config, arguments, found)


async def _alone(followed: Followed, arguments: argparse.Namespace, why: Unanswered) -> int:
    return _told(followed.config, arguments, await look_alone(followed, why))


def _told(config: RolloutConfig, arguments: argparse.Namespace, found: Look) -> int:
    now = datetime.now(timezone.utc)
    if arguments.json:
        source = Source(found.source, found.server.address, found.told)
        print(json.dumps(status_document(config, found.seen, found.decided, now, source)))
    else:
        _show(config, found, now)
    return 0


def _show(config: RolloutConfig, found: Look, now: datetime) -> None:
    # A script has no use for tables, and should not wait for what draws them.
    from rich.console import Console  # noqa: PLC0415

    from rollout.commands.status_table import as_table  # noqa: PLC0415

    console = Console(highlight=False)
    console.print(as_table(config, found.seen, found.decided, now, found.told))
    if said := _source(found, now):
        console.print(f"\n{said}", soft_wrap=True)
    console.print()
    for place in _places(config.deployment.name):
        console.print(place, soft_wrap=True)


def _source(found: Look, now: datetime) -> str | None:
    """Who looked and when, where that is not the controller just now."""
    if found.source == "direct":
        return f"read from the server by this command: {found.why_direct}"
    age = (now - found.seen.oldest).total_seconds()
    return f"as the controller saw it {age:.0f} s ago" if age > _JUST_NOW else None


async def _of_sets(followed: Followed, arguments: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415

    from rollout.base.connect import connect  # noqa: PLC0415
    from rollout.commands import version_sets  # noqa: PLC0415
    from rollout.temporal.version_sets import VersionSetRouting  # noqa: PLC0415

    task_queue = arguments.task_queue or followed.config.deployment.task_queue
    seen = await VersionSetRouting(await connect(), task_queue).observe()
    if arguments.json:
        print(json.dumps(version_sets.as_json(seen)))
    else:
        Console(highlight=False).print(version_sets.render(seen))
    return 0


_SHOWN: Mapping[str, Callable[[Followed, argparse.Namespace], _Outcome]] = {
    "deployment": _of_deployment,
    "version-sets": _of_sets,
}
"""How the status of each versioning is shown; without a version there is nothing to show."""


def _places(deployment: str) -> Iterator[str]:
    """Where there is more to be seen: the live page, and Grafana, or else Prometheus."""
    if page := live_page(deployment):
        yield f"live page: {page}"
    grafana = settings.TOOLS_DIR / "grafana" / "bin" / "grafana"
    if not settings.HOME.is_set_up and grafana.exists():
        yield f"Grafana: {settings.local_url('GRAFANA_PORT')}"
    else:
        yield f"Prometheus: {settings.prometheus_page()}"
