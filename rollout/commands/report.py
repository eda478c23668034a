"""`rollout report`: one rollout as a page that needs nothing else, or as JSON."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path

import msgspec
from temporalio.client import Client

from rollout.base.command_line import duration
from rollout.base.connect import connect
from rollout.base.exit import Failure
from rollout.base.files import replace
from rollout.commands.looking import look
from rollout.commands.world import refuse_elsewhere
from rollout.controller.last_good import follow
from rollout.controller.report.folder import keep
from rollout.controller.report.page import page
from rollout.controller.report.reporter import report_now

__all__ = ["report"]


def report(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout report``."""
    parser.add_argument(
        "--since",
        type=duration,
        metavar="30m|2h",
        help="of so long; default: of the last rollout to the target",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write the page there, in place of var"
    )
    parser.add_argument("--json", action="store_true", help="print the figures; write no page")
    parser.set_defaults(run=_report)


async def _report(arguments: argparse.Namespace) -> int:
    """Write the page, and print where it is."""
    refuse_elsewhere("report")
    followed = follow(arguments.config)
    config = followed.config
    found = await look(followed)
    client: Client | None = None
    with suppress(Failure):  # said in the report: what the server alone knows is missing
        client = await connect()
    reason = found.decided.reason
    made = await report_now(config, found.seen, reason, client, arguments.since)
    if arguments.json:
        print(msgspec.json.encode(made).decode())
        return 0
    try:
        if arguments.output is None:
            file = keep(made)
        else:
            file = arguments.output
            replace(file, page(made).encode())
    except OSError as error:
        raise Failure(f"could not write the report: {error}") from error
    print(file)
    return 0
