"""`rollout add` for a worker of any command, and `rollout scale`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from temporalio.client import Client
from temporalio.service import RPCError

from rollout.base.command_line import count, duration
from rollout.base.connect import connect
from rollout.base.exit import Failure, Misuse
from rollout.base.names import valid_build_id
from rollout.base.settings import HOME
from rollout.base.waiting import until
from rollout.commands import answers
from rollout.commands.gate_check import warn_of_gate
from rollout.commands.shared import written
from rollout.commands.world import refuse_elsewhere
from rollout.controller.identity import own_identity
from rollout.controller.nudge import nudge
from rollout.core.config import RolloutConfig
from rollout.core.config_file import load
from rollout.supervision.fleet.command_addition import refuse_command, warnings_about
from rollout.supervision.fleet.command_worker import CommandWorker
from rollout.supervision.fleet.fleet import AddedProgram, Fleet
from rollout.supervision.fleet.python_worker import (
    found_python,
    is_runner,
    refuse_code,
    release_of,
    runner_words,
)
from rollout.supervision.fleet.release_folder import folder_fingerprint
from rollout.supervision.rpc import Supervisor
from rollout.temporal.pollers import polled_at
from rollout.temporal.routing import DeploymentRouting
from rollout.worker.declaration import Declaration, admit, declare

__all__ = ["add_command", "add_options", "is_command", "scale"]

_DECLARING = 30.0
"""Seconds that the server may take to know a version whose worker has polled."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``rollout add`` that are for workers of any command."""
    group = parser.add_argument_group("a worker of your own, of any command, given after --")
    group.add_argument(
        "--python",
        metavar="PYTHON",
        help="instead of a command: what runs --app, such as releases/3f9c2ab/.venv/bin/python",
    )
    group.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="where it runs: the folder of this release; of a --python: around its environment",
    )
    group.add_argument(
        "--env", action="append", default=[], metavar="K=V", help="a variable for it"
    )
    group.add_argument(
        "--env-file",
        type=Path,
        metavar="FILE",
        help="more variables, secrets say: read at each start, and copied nowhere",
    )
    group.add_argument("--user", help="whom it runs as; supervisord must be root's")
    group.add_argument(
        "--processes",
        type=count,
        default=1,
        metavar="N",
        help="how many; each has the next metrics port, {metrics_port} in COMMAND and --env",
    )
    group.add_argument("--task-queue", help="default: that of rollout.toml")
    group.add_argument(
        "--fingerprint", help="of its code, such as a commit id; default: of the files in DIR"
    )
    group.add_argument(
        "--replay", metavar="COMMAND", help="what replays histories on its code, run in DIR"
    )
    group.add_argument(
        "--stop-wait",
        type=duration,
        default=20.0,
        metavar="TIME",
        help="how long it may take to end before it is killed; default: 20s",
    )
    group.add_argument(
        "--allow-changed-code",
        action="store_true",
        help="although this build id was deployed with other code before",
    )


def is_command(arguments: argparse.Namespace) -> bool:
    """Whether the worker is one of any command, and not one that this folder's own code runs."""
    own = ("python", "directory", "env", "env_file", "user", "fingerprint", "replay", "task_queue")
    told = any(getattr(arguments, name) for name in own) or arguments.processes > 1
    return told or _is_program(arguments.flags)


async def add_command(arguments: argparse.Namespace) -> int:
    """Write its program files, wait until it polls, and declare on the server what it cannot."""
    refuse_elsewhere("program")
    config = load(arguments.config)
    worker = _worker(arguments, config)
    refuse_command(worker)
    if is_runner(worker.words):
        await refuse_code(worker)
    for warning in warnings_about(worker):
        print(f"! {warning}", file=sys.stderr)
    client = await connect(identity=own_identity())
    build = Declaration(
        worker.deployment,
        worker.build_id,
        worker.strategy,
        worker.fingerprint or "",
        behavior=None,
        exceptions=None,
    )
    asked = (client, worker.deployment, worker.build_id, worker.task_queue)
    try:
        if not is_runner(worker.words):  # which sees to it itself, as to its declaration
            await admit(client, build, allow_changed_code=arguments.allow_changed_code)
        before = await polled_at(*asked)
    except RPCError as error:
        raise Failure(f"could not read the version: {error.message}") from error

    async def polled_for(started: bool) -> bool:
        try:
            now = await polled_at(*asked)
        except RPCError:
            return False
        return now is not None and (not started or before is None or now > before)

    with Console(stderr=True).status(f"starting a worker of {worker.build_id}"):
        added = await Fleet(Supervisor(), deployment=worker.deployment).add_command(
            worker, registered=polled_for
        )
        if not is_runner(worker.words):  # which declares itself
            await _declare(client, build)
        declares = is_runner(worker.words)
        await warn_of_gate(client, config, worker.build_id, declares=declares)
    for program in added:
        answers.say(_said(program))
    answers.note(
        deployment=worker.deployment,
        build_id=worker.build_id,
        programs=[program.name for program in added],
        changed=not all(program.existed for program in added),
    )
    if not getattr(arguments, "goes_on", False):  # as in `rollout deploy`
        answers.say(f"`rollout to {worker.build_id}` sends new runs there")
    return 0


def scale(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout scale``."""
    parser.add_argument("build_id", metavar="BUILD")
    parser.add_argument("processes", type=count, metavar="N")
    parser.set_defaults(run=_scale)


async def _scale(arguments: argparse.Namespace) -> int:
    refuse_elsewhere("program")
    deployment = load(arguments.config).deployment.name
    build_id, wanted = valid_build_id(arguments.build_id), arguments.processes
    with Console(stderr=True).status(f"bringing {build_id} to {wanted}"):
        scaled = await Fleet(Supervisor(), deployment=deployment).scale(build_id, wanted)
        nudge(deployment, build_id)
    changes = [
        f"{word} {', '.join(names)}"
        for word, names in (("started", scaled.added), ("stopped and removed", scaled.removed))
        if names
    ]
    number = f"{wanted} process{'' if wanted == 1 else 'es'}"
    answers.say(
        f"{build_id} has {number}{': ' if changes else ' already'}{'; '.join(changes)}",
        deployment=deployment,
        build_id=build_id,
        processes=wanted,
        changed=bool(changes),
    )
    return 0


def _worker(arguments: argparse.Namespace, config: RolloutConfig) -> CommandWorker:
    """The worker as it was told. Raises `Misuse` where that is none."""
    python = found_python(arguments.python, arguments.directory) if arguments.python else None
    around = release_of(python) if python else None
    directory = (arguments.directory or around or Path.cwd()).resolve()
    if not directory.is_dir():
        raise Misuse(f"{directory} is not a folder")
    words = _runner(python, arguments, config) if python else _command(arguments)
    fingerprint = arguments.fingerprint
    if not is_runner(words):
        fingerprint = fingerprint or folder_fingerprint(directory)
    elif fingerprint:
        raise Misuse("`rollout worker` knows its code: name FINGERPRINT in the build's module")
    env_file = arguments.env_file
    return CommandWorker(
        build_id=valid_build_id(arguments.build_id),
        strategy=arguments.strategy,
        deployment=config.deployment.name,
        words=words,
        directory=directory,
        variables=_variables(arguments.env),
        env_file=None if env_file is None else env_file.absolute(),
        user=arguments.user,
        processes=arguments.processes,
        metrics_port=arguments.metrics_port,
        needs_port=python is not None,
        task_queue=arguments.task_queue or config.deployment.task_queue,
        fingerprint=fingerprint,
        replay=arguments.replay,
        stop_seconds=max(1, round(arguments.stop_wait)),
        home=HOME.folder if HOME.is_set_up else None,
    )


def _command(arguments: argparse.Namespace) -> tuple[str, ...]:
    if not _is_program(arguments.flags):
        raise Misuse("which command? give it after --, as in: -- .venv/bin/python -m shop.worker")
    if arguments.app:
        raise Misuse("give either a command after --, or --app, and not both")
    return tuple(arguments.flags)


def _runner(python: Path, arguments: argparse.Namespace, config: RolloutConfig) -> tuple[str, ...]:
    if not arguments.app:
        raise Misuse("which workflows? give --app MODULE")
    if _is_program(arguments.flags):
        raise Misuse("give either a command after --, or --python, and not both")
    allowed = ["--allow-changed-code"] if arguments.allow_changed_code else []
    return runner_words(
        python,
        app=arguments.app,
        build_id=arguments.build_id,
        strategy=arguments.strategy,
        deployment=config.deployment.name,
        task_queue=arguments.task_queue or config.deployment.task_queue,
        more=[*allowed, *arguments.flags],
    )


def _is_program(words: list[str]) -> bool:
    return bool(words) and not words[0].startswith("-")


def _variables(assignments: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise Misuse(f"--env {assignment}: give NAME=value")
        found[name] = value
    return found


async def _declare(client: Client, build: Declaration) -> None:
    routing = DeploymentRouting(client, build.deployment, own_identity())

    async def declared() -> bool:
        return await declare(client, build, routing)

    if not await written(build.deployment, until(declared, _DECLARING), build.build_id):
        raise Failure(f"the server does not know {build.build_id} yet: add it once more")


def _said(program: AddedProgram) -> str:
    metrics = f"metrics on port {program.metrics_port}" if program.metrics_port else "no metrics"
    there = ", as it was added before" if program.existed else ""
    return f"{program.name} polls{there}, {metrics}, log {program.log_file}"
