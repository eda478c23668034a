"""`rollout history`: the times that the server keeps, and the controller's deeds."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from rollout.base import settings
from rollout.commands.shared import observe
from rollout.commands.world import is_elsewhere
from rollout.controller.past import Event, all_deeds
from rollout.controller.server_times import events_of
from rollout.core.config_file import load

__all__ = ["as_json", "as_lines", "history"]


def history(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout history``."""
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(run=_history)


async def _history(arguments: argparse.Namespace) -> int:
    """What has happened to the versions, and what the controller did about it."""
    seen, _ = await observe(load(arguments.config))
    deeds = () if is_elsewhere() else all_deeds(settings.LOG_DIR, seen.deployment)
    events = events_of(seen, deeds)
    if arguments.json:
        print(json.dumps(as_json(events)))
    else:
        Console(highlight=False).print(as_lines(events), soft_wrap=True)
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


def as_lines(events: Iterable[Event]) -> Text:
    """The events for a person, a line each, in local time."""
    told = list(events)
    width = max([len("BUILD"), *(len(event.build_id or "") for event in told)])
    lines = [Text(f"{'TIME':<19}  {'BUILD':<{width}}  EVENT", "dim")]
    for event in told:
        local = event.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        lines.append(Text(f"{local}  {event.build_id or '':<{width}}  {event.text}"))
    return Text("\n").join(lines)
