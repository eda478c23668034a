"""`rollout notify`: whether those whom `[notify]` names are really told."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import uuid
from datetime import datetime, timezone

from rollout.base.exit import Misuse
from rollout.controller.channels import Message, Send, channels
from rollout.core.config import RolloutConfig
from rollout.core.config_file import load

__all__ = ["notify"]


def notify(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout notify``."""
    parser.description = (
        "Send one event called `test` to each way of [notify], with this shell's environment, "
        "and say which took it."
    )
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(run=_notify)


async def _notify(arguments: argparse.Namespace) -> int:
    """Tell everybody once; 1 where somebody could not be told."""
    config = load(arguments.config)
    ways = channels(config.notify)
    if not ways:
        raise Misuse("[notify] in rollout.toml names nobody: give command, webhook or apprise")
    message = _test(config)
    errors = await asyncio.gather(*(_error(way, message) for way in ways.values()))
    found = dict(zip(ways, errors, strict=True))
    if arguments.json:
        print(json.dumps({"id": message.id, "ways": found}))
    else:
        for way, error in found.items():
            stream = sys.stderr if error else sys.stdout
            print(f"{way}: {error or 'took it'}", file=stream)
    return 1 if any(errors) else 0


async def _error(send: Send, message: Message) -> str | None:
    """Why it could not be told; None where it was."""
    try:
        await send(message)
    except Exception as error:  # noqa: BLE001 - whatever a service does, the others are tried
        return str(error) or type(error).__name__
    return None


def _test(config: RolloutConfig) -> Message:
    wanted = config.deployment
    return Message(
        id=str(uuid.uuid4()),
        event="test",
        text=f"{wanted.name}: a test of [notify]; nothing has happened",
        at=datetime.now(timezone.utc).isoformat(),
        deployment=wanted.name,
        namespace="",
        build_id=None,
        target=wanted.target,
        current=None,
        ramping=None,
        phase="waiting",
        reason="a test",
    )
