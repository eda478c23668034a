"""The command ``python -m rollout``: see what is planned and why, or run the controller."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from rich.console import Console
from temporalio.service import RPCError

from rollout import controller
from rollout.act import describe
from rollout.config import RolloutConfig, edit, load
from rollout.model import Observation, Plan
from rollout.observe import Observer
from rollout.plan import plan
from rollout.status import as_json, as_table
from stack import exit as exits
from stack import graphs, logs, settings
from stack.connect import connect, connect_patiently
from stack.supervisor_rpc import Supervisor

log = structlog.get_logger("rollout")

EXAMPLES = """\
examples:
  python -m rollout status            versions, runs, and what may be stopped
  python -m rollout status --json     the same for a script
  python -m rollout plan              what the controller would do now; exit 3: changes pending
  python -m rollout pause             leave traffic as it is; `resume` goes on
  python -m rollout to v2             make v2 the target in rollout.toml

exit codes: 0 done, 1 failed or refused, 2 wrong call or rollout.toml, 3 `plan` has changes
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rollout",
        description="Move new workflow runs from one build of the workers to the next.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, default=settings.ROLLOUT_FILE, help="default: rollout.toml"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text.capitalize() + ".")

    status = command("status", "versions, shares, open runs, and what is safe to stop")
    status.add_argument("--json", action="store_true", help="for scripts")
    planned = command("plan", "what would be done now, and why; changes nothing (exit 3: pending)")
    planned.add_argument("--json", action="store_true", help="for scripts")
    to = command("to", "make a build the target in rollout.toml")
    to.add_argument("build_id")
    command("pause", "leave traffic as it is: set paused = true in rollout.toml")
    command("resume", "go on: set paused = false in rollout.toml")
    command("check", "check rollout.toml")
    run = command("run", "run the controller until SIGTERM or Ctrl-C")
    run.add_argument("--metrics-port", type=int, help="serve Prometheus metrics there, on loopback")
    return parser


async def _look(config: RolloutConfig) -> tuple[Observation, Plan]:
    """Observe once and plan on it, as the controller of this checkout would."""
    client = await connect()
    try:
        seen = await Observer(client, config.deployment.name, Supervisor()).observe()
    except RPCError as error:
        raise exits.Failure(f"the deployment cannot be read: {error.message}") from error
    return seen, plan(config, seen, datetime.now(timezone.utc), controller.own_identity())


async def _status(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    seen, decided = await _look(config)
    if arguments.json:
        print(json.dumps(as_json(config, seen, decided)))
        return 0
    console = Console(highlight=False)
    console.print(as_table(config, seen, decided))
    console.print(f"\ngraphs: {graphs.switchover_url(settings.prometheus_url())}", soft_wrap=True)
    return 0


async def _plan(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    _, decided = await _look(config)
    actions = [describe(action) for action in decided.actions]
    if arguments.json:
        print(json.dumps({"phase": decided.phase, "reason": decided.reason, "actions": actions}))
    else:
        print(f"{decided.phase}: {decided.reason}")
        for action in actions:
            print(f"  would {action}")
    return 3 if actions else 0


async def _to(arguments: argparse.Namespace) -> int:
    edit(arguments.config, "deployment", target=arguments.build_id)
    print(f"target is {arguments.build_id}; watch it with `python -m rollout status`")
    return 0


async def _pause(arguments: argparse.Namespace) -> int:
    edit(arguments.config, "deployment", paused=True)
    print("paused: traffic stays as it is; `python -m rollout resume` goes on")
    return 0


async def _resume(arguments: argparse.Namespace) -> int:
    edit(arguments.config, "deployment", paused=False)
    print("resumed")
    return 0


async def _check(arguments: argparse.Namespace) -> int:
    load(arguments.config)
    return 0


async def _run(arguments: argparse.Namespace) -> int:
    config = load(arguments.config)
    name = config.deployment.name
    logs.configure("rollout", deployment_name=name)
    controller.only_one(name)
    registry = CollectorRegistry()
    metrics = controller.ControllerMetrics(registry)
    if arguments.metrics_port:
        try:
            start_http_server(
                arguments.metrics_port, addr=settings.metrics_host(), registry=registry
            )
        except OSError as error:
            raise exits.Failure(f"port {arguments.metrics_port} for metrics is taken") from error
    working = asyncio.create_task(_control(arguments.config, metrics))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    try:
        await working
    except asyncio.CancelledError:
        log.info("stopped")
    return 0


async def _control(path: Path, metrics: controller.ControllerMetrics) -> None:
    client = await connect_patiently(identity=controller.own_identity())
    await controller.control(client, path, metrics)


COMMANDS: dict[str, Callable[[argparse.Namespace], Awaitable[int]]] = {
    "status": _status,
    "plan": _plan,
    "to": _to,
    "pause": _pause,
    "resume": _resume,
    "check": _check,
    "run": _run,
}


async def _main() -> int:
    arguments = _parser().parse_args()
    return await COMMANDS[arguments.command](arguments)


if __name__ == "__main__":
    exits.run("rollout", _main)
