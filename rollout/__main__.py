"""The command ``python -m rollout``: see, steer and run the rollout of a worker deployment."""

from __future__ import annotations

import stack  # noqa: F401  # isort: skip  (its hook for Ctrl-C, before what is slow to import)

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from rollout import changes, controller, reports
from rollout.config import load
from stack import exit as exits
from stack import logs, settings
from stack.command_line import Parser, count, port
from stack.connect import connect_patiently
from stack.signals import stop_on_signals, unless_stopped

log = structlog.get_logger("rollout")

Command = Callable[[argparse.Namespace], Awaitable[int]]

EXAMPLES = """\
examples:
  python -m rollout status              versions, runs, and what may be stopped
  python -m rollout watch               the same, live, until Ctrl-C
  python -m rollout plan                what the controller would do now (exit 3: something)
  python -m rollout add v3 --strategy incompatible --app shop.workflows
  python -m rollout verify v3           would runs of the current build replay on v3?
  python -m rollout to v3               send new runs to v3, as fast as rollout.toml says
  python -m rollout rollback            back to the version before, at once
  python -m rollout retire v2           stop and remove a version that is no longer needed

Inside supervisorctl: `versions` for the status, `rollout COMMAND` for the others.

exit codes: 0 done, 1 failed or refused, 2 wrong call or rollout.toml, 3 `plan` has changes
"""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m rollout",
        description="Move new workflow runs from one build of the workers to the next.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--config", type=Path, default=settings.ROLLOUT_FILE, help="default: rollout.toml"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Command, text: str, example: str = "") -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example: python -m rollout {example or name}",
        )
        made.set_defaults(run=run)
        return made

    _add_reports(command)
    _add_changes(command)
    run = command("run", _run, "run the controller until SIGTERM or Ctrl-C")
    run.add_argument("--metrics-port", type=port, help="serve Prometheus metrics there")
    return parser


AddCommand = Callable[..., argparse.ArgumentParser]


def _add_reports(command: AddCommand) -> None:
    status = command("status", reports.status, "show versions, runs, and what is safe to stop")
    status.add_argument("--json", action="store_true", help="for scripts")
    status.add_argument(
        "--versioning",
        choices=("deployment", "version-sets"),
        default="deployment",
        help="version-sets: the legacy build-id API of old servers",
    )
    status.add_argument("--task-queue", help="for version-sets; default: that of rollout.toml")
    command("watch", reports.watch, "show the rollout live, until Ctrl-C")
    for name, run, text in (
        ("plan", reports.plan, "say what would be done now, and why; exit 3: changes pending"),
        ("history", reports.history, "say what has happened to the versions, and when"),
        ("check", reports.check, "check rollout.toml"),
    ):
        command(name, run, text).add_argument("--json", action="store_true", help="for scripts")


def _add_changes(command: AddCommand) -> None:
    def of_a_build(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        made = command(name, run, text, f"{name} v2")
        made.add_argument("build_id", metavar="BUILD")
        return made

    of_a_build("to", changes.to, "make a build the target of new runs (__unversioned__: none)")
    command("pause", changes.pause, "leave traffic as it is")
    command("resume", changes.resume, "go on after a pause")

    back = command(
        "rollback", changes.rollback, "send new runs back to a version that worked, at once"
    )
    back.add_argument("--to", metavar="BUILD", help="default: the version that was current before")
    back.add_argument(
        "--move-back",
        action="store_true",
        help="also move runs of the bad build, those that replay on the good one",
    )
    of_a_build("retry", changes.retry, "lift a block, and try gate and replay again")

    verify = of_a_build("verify", changes.verify, "replay runs of the current build on another")
    verify.add_argument("--from", dest="source", metavar="BUILD", help="default: the current build")
    verify.add_argument("--sample", type=count, help="how many runs; default: that of rollout.toml")
    verify.add_argument("--json", action="store_true", help="for scripts")

    add = of_a_build("add", changes.add, "start workers of a new build: program file and all")
    add.add_argument(
        "--strategy",
        choices=("compatible", "incompatible", "new-default-set"),
        default="incompatible",
        help="default: incompatible",
    )
    add.add_argument("--app", help="module of the build's workflows; default: workers/builds")
    add.add_argument("--metrics-port", type=port, help="default: the first free one from 9103")
    add.add_argument(
        "flags", nargs="*", metavar="FLAG", help="after --: more for `python -m workers`"
    )

    retire = of_a_build("retire", changes.retire, "stop and remove a version that is safe to stop")
    retire.add_argument("--force", action="store_true", help="even if it is not safe; asks first")
    retire.add_argument("--yes", action="store_true", help="with --force: do not ask")
    command("adopt", changes.adopt, "become the deployment's manager, whoever is")
    command("release", changes.release, "let anybody change the deployment's routing")


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
    stop = stop_on_signals()
    await unless_stopped(stop, _control(arguments.config, metrics))
    log.info("stopped")
    return 0


async def _control(path: Path, metrics: controller.ControllerMetrics) -> None:
    client = await connect_patiently(identity=controller.own_identity())
    await controller.control(client, path, metrics)


async def _main() -> int:
    arguments = _parser().parse_args()
    code: int = await arguments.run(arguments)
    return code


if __name__ == "__main__":
    exits.run("rollout", _main)
