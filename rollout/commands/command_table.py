"""Every command: its name, where it is, and what it is for. A command is imported when it is used.

A command is a function that adds its arguments to a parser and sets ``run``, what is done with
them: a coroutine or a plain function, which returns the exit code. A new command is a line here.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rollout import __version__
from rollout.base.command_line import Parser
from rollout.base.exit import Failure, Misuse
from rollout.base.settings import ROLLOUT_FILE
from rollout.commands.answers import answered

__all__ = ["COMMANDS", "Command", "command_parser", "dispatch"]

_LOOK, _STEER, _VERSIONS, _RUN = "look", "steer", "versions", "run"


@dataclass(frozen=True)
class Command:
    """One command of ``rollout``."""

    group: str
    module: str
    """Where the function is that adds its arguments: of its name, with ``_`` for ``-``."""
    text: str
    """What it is for, for the list of all and as its own help's first sentence."""
    examples: str = ""
    """For its help, a line each, without the word ``rollout``; the function may have its own."""
    reads_config: bool = True
    """Whether ``--config`` may stand behind its name, too."""
    of_several: bool = False
    """Whether it is about all deployments of the home, where ``-d`` names none."""
    asks_server: bool = False
    """Whether it asks a Temporal server, which is that of the stack that runs here."""
    answers: bool = True
    """Whether it ends with an answer, which is JSON with ``--json``."""

    @property
    def changes(self) -> bool:
        """Whether it changes anything, and not only looks."""
        return self.group in (_STEER, _VERSIONS)


def _look(module: str, text: str, examples: str, **more: bool) -> Command:
    return Command(_LOOK, f"rollout.{module}", text, examples, **more)


def _steer(module: str, text: str, examples: str) -> Command:
    return Command(_STEER, f"rollout.commands.{module}", text, examples, asks_server=True)


def _version(module: str, text: str, examples: str) -> Command:
    return Command(_VERSIONS, f"rollout.commands.{module}", text, examples, asks_server=True)


def _run(module: str, text: str, examples: str = "", **more: bool) -> Command:
    return Command(_RUN, f"rollout.{module}", text, examples, answers=False, **more)


COMMANDS: Mapping[str, Command] = {
    "status": _look(
        "commands.status",
        "show versions, runs, and what is safe to stop",
        "status\nstatus --json | jq .phase\nstatus --versioning version-sets --task-queue orders",
        asks_server=True,
    ),
    "watch": _look(
        "commands.watch.live", "show the rollout live, until Ctrl-C", "watch", asks_server=True
    ),
    "plan": _look(
        "commands.plan",
        "say what would be done now; exit 3: changes pending",
        "plan\nplan --json",
        asks_server=True,
    ),
    "history": _look(
        "commands.history", "say what has happened, and when", "history --json", asks_server=True
    ),
    "events": _look(
        "commands.events",
        "follow what happens, by whom it is told",
        "events --since 2h\nevents -f\nevents --json | jq -c 'select(.source == \"person\")'",
        asks_server=True,
    ),
    "report": _look(
        "commands.report",
        "make a page of the last rollout, to read, to keep and to print",
        "report\nreport --since 2h -o report.html\nreport --json | jq .figures",
        asks_server=True,
    ),
    "list": _look(
        "commands.list",
        "show every deployment of the home, a line each",
        "list\nlist --json | jq -r '.deployments[].phase'",
        asks_server=True,
        of_several=True,
    ),
    "logs": _look(
        "commands.logs", "show every process's log, merged by time", "logs -f", reads_config=False
    ),
    "check": _look(
        "stack.check",
        "find what is wrong before anything is started",
        "check --json",
        of_several=True,
    ),
    "notify": _look(
        "commands.notify", "try out whether those are told whom [notify] names", "notify"
    ),
    "completion": _look(
        "commands.completion",
        "print what a shell needs to complete all this",
        "completion bash",
        reads_config=False,
        answers=False,
    ),
    "deploy": _steer(
        "deploy",
        "add a build, make it the target, and wait for it",
        "deploy v3 --strategy incompatible --app shop.workflows\n"
        "deploy v3 --app shop.workflows --timeout 1h --json",
    ),
    "to": _steer(
        "intent", "make a build the target of new runs", "to v3\nto v3 --wait --timeout 30m"
    ),
    "pause": _steer("intent", "leave traffic as it is", "pause"),
    "resume": _steer("intent", "go on after a pause", "resume"),
    "promote": _steer(
        "promote",
        "go one step on although the ramp is held",
        "promote\npromote --full",
    ),
    "rollback": _steer(
        "rollback",
        "send new runs back, at once",
        "rollback\nrollback --to v1\nrollback --move-back",
    ),
    "abort": _steer("abort", "end what is on its way; no build is blocked", "abort\nabort v3"),
    "add": _version(
        "versions",
        "start workers of a new build",
        "add v3 --strategy incompatible --app shop.workflows\n"
        "add v3.1 --strategy compatible -- --drain 30s\n"
        "add 3f9c2ab --directory /srv/shop/releases/3f9c2ab --metrics-port 9201 "
        "-- .venv/bin/python -m shop.worker",
    ),
    "scale": _version("own_workers", "change how many processes a build has", "scale 3f9c2ab 2"),
    "verify": _version(
        "versions",
        "replay the current build's runs on another",
        "verify v3\nverify v3 --from v1 --sample 100 --json",
    ),
    "retry": _version("versions", "lift a block; try gate and replay again", "retry v3"),
    "retire": _version(
        "retire",
        "stop and remove what is safe to stop",
        "retire v1\nretire v1 --force --yes",
    ),
    "forget-host": _version(
        "forget_host", "wait no longer for a host that is gone for good", "forget-host web-2"
    ),
    "adopt": _version("owners", "become the deployment's manager", "adopt"),
    "release": _version("owners", "let anybody change the routing", "release"),
    "init": _run(
        "commands.init",
        "make a home for a deployment, under your own supervisord",
        "init --deployment shop --task-queue shop --dry-run\n"
        "init --deployment shop --supervisor unix:///run/supervisor.sock\n"
        "init --deployment shop --directory ~/rollout --supervisord-conf ~/supervisord.conf",
        reads_config=False,
    ),
    "run": _run(
        "commands.run", "run the controller until SIGTERM or Ctrl-C", "run", of_several=True
    ),
    "host": _run(
        "commands.host",
        "run the agent of a worker host; it routes nothing",
        "host\nhost --deployment shop --name web-2 --bind 10.0.0.12",
        reads_config=False,
    ),
    "worker": _run("commands.worker", "run a worker of one build", reads_config=False),
    "replay": _run(
        "commands.replay",
        "say of each history on stdin whether a build's code fits",
        "replay --app shop.workflows --build-id v2",
        reads_config=False,
    ),
    "exporter": _run(
        "commands.exporter", "serve processes and versions as metrics", reads_config=False
    ),
    "launch": _run(
        "supervision.launch", "start a program, tied to supervisord's life", reads_config=False
    ),
    "stack": _run("stack.command", "set up, start and stop the demo stack", reads_config=False),
}

_TITLES = {
    _LOOK: "to look",
    _STEER: "to steer",
    _VERSIONS: "versions and their owners",
    _RUN: "to run, mostly under supervisord",
}

_EXAMPLES = """\
examples:
  rollout status              versions, runs, and what may be stopped
  rollout watch               the same, live, until Ctrl-C
  rollout add v3 --strategy incompatible --app shop.workflows
  rollout verify v3           would runs of the current build replay on v3?
  rollout to v3               send new runs to v3, as fast as rollout.toml says
  rollout rollback            back to the version before, at once
  rollout retire v2           stop and remove a version that is no longer needed

`rollout COMMAND --help` says more. Inside supervisorctl: `versions` for the status,
`rollout COMMAND` for the others. `python -m rollout` is the same command.

exit codes: 0 done, 1 failed or refused, 2 wrong call or rollout.toml, 3 `plan` has changes,
4 rolled back or blocked, 5 still going when the time was up, 130 Ctrl-C
"""


def dispatch(words: Sequence[str]) -> int:
    """Run the command that ``words`` begin with, and return its exit code."""
    given = _parser().parse_args(words)
    if given.command is None:
        raise Misuse("which command? `rollout --help` lists them")
    if given.command not in COMMANDS:
        raise Misuse(_unknown(given.command))
    command = command_parser(given.command)
    arguments = _arguments(COMMANDS[given.command], command, given)
    as_json = getattr(arguments, "is_answered", False) and arguments.json
    return answered(
        given.command, lambda: _perform(given.command, given.rest, arguments), as_json=as_json
    )


def _perform(name: str, words: Sequence[str], arguments: argparse.Namespace) -> int:
    if COMMANDS[name].asks_server:
        from rollout.commands import world  # noqa: PLC0415 - not every command needs it

        world.enter(elsewhere=arguments.elsewhere, changes=COMMANDS[name].changes)
        if COMMANDS[name].group == _STEER:
            world.refuse_worker_host(arguments.config)
    if not COMMANDS[name].changes or getattr(arguments, "elsewhere", False):
        return _run_to_its_end(name, arguments)
    from rollout.commands.audit import noted  # noqa: PLC0415 - only what changes something

    with noted(name, words, _deployment_of(arguments)) as codes:
        codes.append(_run_to_its_end(name, arguments))
    return codes[0]


def _run_to_its_end(name: str, arguments: argparse.Namespace) -> int:
    with _telling_what_is_missing(name):
        outcome = arguments.run(arguments)
        if isinstance(outcome, Coroutine):
            outcome = _awaited(outcome)
    code: int = outcome
    return code


def _deployment_of(arguments: argparse.Namespace) -> str | None:
    """Which deployment a command is about; None where nobody can know."""
    from rollout.core.config_file import load  # noqa: PLC0415

    try:
        return load(arguments.config).deployment.name
    except (Failure, OSError):
        return getattr(arguments, "deployment", None)


def _awaited(outcome: Coroutine[Any, Any, int]) -> int:
    """What a command that asks the server ends with. Raises `Failure` where it got no answer."""
    import asyncio  # noqa: PLC0415 - not every command needs it

    try:
        return asyncio.run(outcome)
    except Exception as error:
        # Whoever has not loaded it has asked no server.
        client = sys.modules.get("temporalio.service")
        if client is None or not isinstance(error, client.RPCError):
            raise
        from rollout.temporal.rpc import sentence  # noqa: PLC0415 - it was loaded already

        raise Failure(sentence(error)) from error


def _arguments(
    command: Command, parser: argparse.ArgumentParser, given: argparse.Namespace
) -> argparse.Namespace:
    """Those of ``command``; its ``config`` is the file of the one deployment that it is about."""
    if not command.reads_config:
        arguments = parser.parse_args(given.rest, argparse.Namespace(config=given.config))
        if given.deployment is not None:
            if not hasattr(arguments, "deployment"):
                raise Misuse(f"`rollout {given.command}` is about no deployment: leave -d out")
            arguments.deployment = arguments.deployment or given.deployment
        return arguments
    before = argparse.Namespace(config=given.config, deployment=given.deployment)
    arguments = parser.parse_args(given.rest, before)
    if arguments.deployment is not None or not command.of_several:
        from rollout.core.config_folder import choose  # noqa: PLC0415 - a worker reads no such file

        arguments.config = choose(arguments.config, arguments.deployment)
    return arguments


def command_parser(name: str, prog: str | None = None) -> Parser:
    """The parser of one command, with its arguments; ``prog`` where another name leads to it."""
    command = COMMANDS[name]
    lines = command.examples.splitlines()
    parser = Parser(
        prog=prog or f"rollout {name}",
        description=f"{command.text[0].upper()}{command.text[1:]}.",
        epilog="\n  rollout ".join([f"example{'s' if len(lines) > 1 else ''}:", *lines]),
    )
    getattr(_imported(name), name.replace("-", "_"))(parser)
    if command.answers and parser.get_default("json") is None:
        parser.add_argument("--json", action="store_true", help="answer with JSON, for scripts")
        parser.set_defaults(is_answered=True)
    if command.reads_config:
        _add_config(parser, default=argparse.SUPPRESS)
        _add_deployment(parser, default=argparse.SUPPRESS)
    if command.asks_server:
        parser.add_argument(
            "--elsewhere",
            action="store_true",
            help="ask the server that this shell names, not the running stack's; "
            "no process here is shown or touched",
        )
    return parser


def _imported(name: str) -> ModuleType:
    """The module of a command."""
    with _telling_what_is_missing(name):
        return importlib.import_module(COMMANDS[name].module)


@contextmanager
def _telling_what_is_missing(name: str) -> Iterator[None]:
    """A worker's environment has the packages of some commands alone; they import them as needed.

    Raises `Failure` that names the extra with what is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "rollout").partition(".")[0]
        if missing == "rollout":
            raise
        extra = "worker" if name in ("worker", "replay") else "control"
        raise Failure(
            f"`rollout {name}` needs {missing}, which is not installed beside {sys.executable}: "
            f"pip install 'temporal-worker-rollout[{extra}]'"
        ) from error


def _add_config(parser: argparse.ArgumentParser, default: Any) -> None:  # noqa: ANN401 - argparse's
    parser.add_argument(
        "--config", type=Path, default=default, metavar="FILE", help="default: rollout.toml"
    )


def _add_deployment(parser: argparse.ArgumentParser, default: Any) -> None:  # noqa: ANN401
    parser.add_argument(
        "-d", "--deployment", default=default, metavar="NAME", help="default: the only one"
    )


def _unknown(name: str) -> str:
    import difflib  # noqa: PLC0415 - mistakes are rare

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean `rollout {near[0]}`?" if near else "`rollout --help` lists them"
    return f"{name!r} is not a command; {hint}"


def _parser() -> Parser:
    width = max(map(len, COMMANDS)) + 2
    groups = "\n\n".join(
        f"{title}:\n"
        + "\n".join(
            f"  {name:<{width}}{command.text}"
            for name, command in COMMANDS.items()
            if command.group == group
        )
        for group, title in _TITLES.items()
    )
    parser = Parser(
        prog="rollout",
        usage="%(prog)s [-h] [--version] [--config FILE] [-d NAME] COMMAND ...",
        description=f"Move new workflow runs from build to build.\n\n{groups}",
        epilog=_EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"rollout {__version__}")
    _add_config(parser, default=ROLLOUT_FILE)
    _add_deployment(parser, default=None)
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of the above")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="its own arguments")
    return parser
