"""`rollout events`: what happens, by whom it is told, as a log for people."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from rollout.base import settings
from rollout.base.command_line import duration
from rollout.base.exit import Failure
from rollout.commands.looking import look
from rollout.commands.world import is_elsewhere
from rollout.controller.last_good import Followed, follow
from rollout.controller.past import Event
from rollout.controller.timeline import Timeline
from rollout.core.observation import Observation
from rollout.supervision.rpc import Supervisor

__all__ = ["as_line", "events", "object_of"]

_PERIOD = 1.0
_LOOKS_EVERY = 5
"""Of so many periods one looks at the server's times, too."""
_FOLLOW_SINCE = 600.0
"""Seconds of the past that come before what is new, without --since."""


def events(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout events``."""
    parser.add_argument(
        "-f", "--follow", action="store_true", help="the last ten minutes, and on as it happens"
    )
    parser.add_argument("--since", type=duration, metavar="30s|10m|2h", help="only so far back")
    parser.add_argument("--json", action="store_true", help="for scripts: an object a line")
    parser.set_defaults(run=_events)


async def _events(arguments: argparse.Namespace) -> int:
    """Show what has happened, and with ``--follow`` what happens, until Ctrl-C."""
    followed = follow(arguments.config)
    name = followed.config.deployment.name
    # What is logged here tells of no deployment elsewhere.
    folder = settings.LOG_DIR / "elsewhere" if is_elsewhere() else settings.LOG_DIR
    timeline = Timeline(folder, name, None if is_elsewhere() else Supervisor())
    seen, problem = await _look(followed)
    found = await timeline.past(seen)
    for why in (problem, timeline.problem):
        if why:
            print(f"! {why}", file=sys.stderr)
    since = arguments.since or (_FOLLOW_SINCE if arguments.follow else None)
    if since is not None:
        first = datetime.now(timezone.utc) - timedelta(seconds=since)
        found = [event for event in found if event.at >= first]
    width = max([8, *(len(event.build_id or "") for event in found)])
    _print(found, name, width, as_json=arguments.json)
    rounds = 0
    while arguments.follow:
        await asyncio.sleep(_PERIOD)
        rounds += 1
        seen = (await _look(followed))[0] if rounds % _LOOKS_EVERY == 0 else None
        _print(await timeline.news(seen), name, width, as_json=arguments.json)
    return 0


async def _look(followed: Followed) -> tuple[Observation | None, str | None]:
    """The deployment with the times that the server keeps, or why they are not known."""
    try:
        return (await look(followed)).seen, None
    except Failure as failure:
        return None, str(failure)


def _print(found: Sequence[Event], deployment: str, width: int, *, as_json: bool) -> None:
    for event in found:
        line = json.dumps(object_of(event, deployment)) if as_json else as_line(event, width)
        print(line)
    sys.stdout.flush()


def as_line(event: Event, width: int) -> str:
    """One event for a person, in local time; ``width`` is that of the builds' column."""
    local = event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    text = " ".join(event.text.splitlines())
    return f"{local}  {event.source:<11}  {event.build_id or '':<{width}}  {text}"


def object_of(event: Event, deployment: str) -> dict[str, Any]:
    """One event as scripts read it; the time is in RFC 3339, ``name`` is stable."""
    return {
        "at": event.at.isoformat(),
        "name": event.name,
        "deployment": deployment,
        "build_id": event.build_id,
        "source": event.source,
        "who": event.who or None,
        "text": event.text,
    }
