"""`rollout history`: the times that the server keeps, and the controller's deeds."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any

from rollout.base import settings
from rollout.commands.looking import look
from rollout.commands.world import is_elsewhere
from rollout.controller.last_good import follow
from rollout.controller.past import Event, all_deeds
from rollout.controller.server_times import events_of

__all__ = ["as_json", "as_lines", "history"]


def history(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout history``."""
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(run=_history)


async def _history(arguments: argparse.Namespace) -> int:
    """What has happened to the versions, and what the controller did about it."""
    followed = follow(arguments.config)
    if followed.warning:
        print(f"! {followed.warning}", file=sys.stderr)
    seen = (await look(followed)).seen
    deeds = () if is_elsewhere() else all_deeds(settings.LOG_DIR, seen.deployment)
    events = events_of(seen, deeds)
    if arguments.json:
        print(json.dumps(as_json(events)))
    else:
        print("\n".join(as_lines(events)))
    return 0


def as_json(events: Iterable[Event]) -> list[dict[str, Any]]:
    """The events as scripts read them; times in RFC 3339.

    ``source`` is ``server``, or ``controller`` for what its log tells.
    """
    return [
        {
            "at": event.at.isoformat(),
            "build_id": event.build_id,
            "event": event.text,
            "source": event.source,
        }
        for event in events
    ]


def as_lines(events: Iterable[Event]) -> list[str]:
    """The events for a person, a line each, in local time."""
    told = list(events)
    width = max([len("BUILD"), *(len(event.build_id or "") for event in told)])
    lines = [f"{'TIME':<19}  {'BUILD':<{width}}  EVENT"]
    for event in told:
        local = event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        lines.append(f"{local}  {event.build_id or '':<{width}}  {event.text}")
    return lines
