"""`rollout worker`: run one build of the workers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from datetime import timedelta

from rollout.base import exit as exits
from rollout.base import logs
from rollout.base.command_line import Parser, duration, port
from rollout.base.names import valid_build_id, valid_deployment
from rollout.core.observation import STRATEGIES
from rollout.replay.python import own_stdout, replay
from rollout.supervision import contract
from rollout.worker import app as apps
from rollout.worker import defaults
from rollout.worker.host import serve
from rollout.worker.options import Options
from rollout.worker.versioning import BEHAVIORS, VERSIONINGS

EXAMPLES = """\
examples:
  rollout worker --build-id v1 --strategy compatible
  BUILD_ID=v2 STRATEGY=incompatible rollout worker
  rollout worker --build-id 2026-11-22.1 --strategy incompatible --app shop.workflows
  rollout worker --build-id v1 --strategy compatible --versioning version-sets
  rollout worker --build-id v1 --versioning none

strategies (new runs go to the new build with each of them):
  compatible       runs of the current version set move to it at their next task
  incompatible     runs that have begun stay on their build until they are done
  new-default-set  another name of incompatible

versionings:
  deployment       a worker deployment's version; the server needs worker deployments
  version-sets     the older API, the same strategies; off on a server by default
  none             no version: the way in and out; needs no strategy

behaviors of runs, with `deployment`, for workflows that say nothing themselves:
  pinned           a run ends on the build it began on, unless its set has a newer one
  auto-upgrade     a run moves to the build that new runs go to, at its next task

Each option's default comes from the environment variable named beside it; where
Temporal is, from TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY and the like.
After those count what `rollout add` sets: TEMPORAL_DEPLOYMENT_NAME, TEMPORAL_WORKER_BUILD_ID
and, beside these two, ROLLOUT_STRATEGY, ROLLOUT_TASK_QUEUE and ROLLOUT_METRICS_PORT.
"""


def worker(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout worker``."""
    parser.description = (
        "Run a Temporal worker of one build until SIGTERM or Ctrl-C, then drain it."
    )
    parser.epilog = EXAMPLES

    # All of the contract or nothing: a port by that name alone is the controller's.
    program = contract.found_in(os.environ) if contract.names_a_version(os.environ) else {}

    def option(  # noqa: PLR0913 - each is a column of the table below
        flag: str,
        variable: str,
        default: str | None,
        text: str,
        read: Callable[[str], object] = str,
        *,
        told: str = "",
    ) -> None:
        given = os.environ.get(variable) or program.get(told) or default
        parser.add_argument(flag, default=given, type=read, help=f"{text} [{variable}]")

    option("--build-id", "BUILD_ID", None, "the name of this build", told=contract.BUILD_ID)
    option("--strategy", "STRATEGY", None, " | ".join(STRATEGIES), told=contract.STRATEGY)
    option(
        *("--deployment", "DEPLOYMENT", defaults.DEPLOYMENT, "the worker deployment's name"),
        told=contract.DEPLOYMENT,
    )
    option(
        *("--task-queue", "TASK_QUEUE", defaults.TASK_QUEUE, "the task queue to poll"),
        told=contract.TASK_QUEUE,
    )
    option("--app", "APP", None, "module of the build's workflows; default: workers/builds")
    option("--versioning", "VERSIONING", defaults.VERSIONING, " | ".join(VERSIONINGS))
    option("--behavior", "BEHAVIOR", defaults.BEHAVIOR, " | ".join(BEHAVIORS))
    option(
        *("--metrics-port", "METRICS_PORT", None, "serve Prometheus metrics there", port),
        told=contract.METRICS_PORT,
    )
    option("--drain", "DRAIN", defaults.DRAIN, "time for activities to finish on SIGTERM", duration)
    parser.add_argument(
        "--managed",
        action="store_true",
        default=os.environ.get("MANAGED", "") not in ("", "0", "false"),
        help="only declare the strategy, the rollout controller routes [MANAGED]",
    )
    parser.add_argument(
        "--allow-changed-code",
        action="store_true",
        help="start although this build id was deployed with other code before",
    )
    parser.add_argument(
        "--check", action="store_true", help="check the options and the code, and start nothing"
    )
    parser.add_argument(
        "--replay",
        action="store_true",
        help="start nothing: replay the histories on stdin on this build's code, JSON lines out",
    )
    parser.set_defaults(run=_run)


def _options(arguments: argparse.Namespace) -> Options:
    if not arguments.build_id:
        raise exits.Misuse("which build? give --build-id or BUILD_ID")
    _refuse_unknown_words(arguments)
    options = Options(
        build_id=valid_build_id(arguments.build_id),
        strategy=arguments.strategy or "",
        deployment=valid_deployment(arguments.deployment),
        task_queue=arguments.task_queue,
        metrics_port=arguments.metrics_port,
        managed=arguments.managed,
        allow_changed_code=arguments.allow_changed_code,
        drain=timedelta(seconds=arguments.drain),
        versioning=arguments.versioning,
        behavior=arguments.behavior,
    )
    VERSIONINGS[options.versioning].refuse_options(options)
    return options


def _refuse_unknown_words(arguments: argparse.Namespace) -> None:
    """Raise `Misuse` for a word that is none of its option's, and for a strategy that is missing.

    Not argparse's `choices`: they would not check what comes from the environment.
    """
    versioning, strategy = arguments.versioning, arguments.strategy
    if versioning not in VERSIONINGS:
        raise exits.Misuse(f"unknown versioning {versioning!r}: use {', '.join(VERSIONINGS)}")
    if not strategy and VERSIONINGS[versioning].takes_strategy:
        raise exits.Misuse(f"which strategy? give --strategy or STRATEGY: {', '.join(STRATEGIES)}")
    if strategy and strategy not in STRATEGIES:
        raise exits.Misuse(f"unknown strategy {strategy!r}: use {', '.join(STRATEGIES)}")
    if arguments.behavior not in BEHAVIORS:
        raise exits.Misuse(f"unknown behavior {arguments.behavior!r}: use {', '.join(BEHAVIORS)}")


async def _run(arguments: argparse.Namespace) -> int:
    options = _options(arguments)
    logs.configure("worker", build_id=options.build_id, deployment_name=options.deployment)
    results = own_stdout() if arguments.replay else None  # before anything of the app can print
    app = apps.load(arguments.app or apps.demo_module(options.build_id))
    VERSIONINGS[options.versioning].refuse_app(app)
    if arguments.check:
        return 0
    if results:
        return await replay(app, results, deployment=options.deployment, build_id=options.build_id)
    return await serve(app, options)


async def main(prog: str) -> int:
    """`rollout worker`, under another name."""
    parser = Parser(prog=prog)
    worker(parser)
    return await _run(parser.parse_args())
