"""`rollout replay`: be the replay program of a build in Python that has a `main()` of its own."""

from __future__ import annotations

import argparse
import os

from rollout.base import exit as exits
from rollout.base import logs
from rollout.base.names import valid_build_id, valid_deployment
from rollout.replay.python import own_stdout
from rollout.replay.python import replay as replay_all
from rollout.supervision import contract
from rollout.worker import app as apps
from rollout.worker import defaults

__all__ = ["replay"]


def replay(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout replay``."""
    parser.description = (
        "Replay the histories on stdin on this build's code, a verdict a line on stdout. "
        "docs/replay-protocol.md says what stands in a line."
    )
    parser.add_argument(
        "--app",
        default=os.environ.get("APP"),
        metavar="MODULE",
        help="module with the lists WORKFLOWS and ACTIVITIES of the build [APP]",
    )
    _named(parser, "--deployment", contract.DEPLOYMENT, defaults.DEPLOYMENT)
    _named(parser, "--build-id", contract.BUILD_ID, None)
    parser.set_defaults(run=_run)


def _named(parser: argparse.ArgumentParser, flag: str, variable: str, default: str | None) -> None:
    given = os.environ.get(variable) or default
    parser.add_argument(flag, default=given, help=f"as its worker is told it [{variable}]")


async def _run(arguments: argparse.Namespace) -> int:
    if not arguments.app:
        raise exits.Misuse("which workflows? give --app MODULE")
    if not arguments.build_id:
        raise exits.Misuse(f"which build? give --build-id or {contract.BUILD_ID}")
    build_id, deployment = (
        valid_build_id(arguments.build_id),
        valid_deployment(arguments.deployment),
    )
    logs.configure("replay", build_id=build_id, deployment_name=deployment)
    results = own_stdout()  # before anything of the app can print
    return await replay_all(
        apps.load(arguments.app), results, deployment=deployment, build_id=build_id
    )
