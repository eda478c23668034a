"""Start one program of the stack: ``rollout launch [options] COMMAND ...``.

supervisord runs every program through this launcher, which replaces itself
with COMMAND (exec, so that signals reach it). It adds what supervisord lacks:

* ``${NAME:-default}`` in COMMAND stands for the environment variable NAME;
* COMMAND is looked up beside this Python and in the stack's own tools first;
* COMMAND gets SIGTERM when supervisord dies, however it dies (Linux), so that
  a restarted supervisord never runs old and new processes side by side;
* ``--port`` waits until an earlier owner has let go of the port;
* ``--env NAME=VALUE`` sets a variable for COMMAND and its words, expanded likewise;
* ``--then`` runs one more command once COMMAND listens on that port;
* ``--unless-env NAME`` leaves COMMAND out where the variable NAME is set;
* ``--env-file`` reads more variables for COMMAND from a file, now, and copies them nowhere;
* ``--as-is`` leaves COMMAND and PATH as they are, for programs that are not this project's, but
  for ``{metrics_port}``, which stands for ``--port``.

Nothing slow is imported: this runs before every process.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from rollout.base.env_file import read_env_file
from rollout.base.exit import Failure, Misuse, finish
from rollout.base.settings import TOOLS_DIR, metrics_probe_host
from rollout.supervision import contract

__all__ = [
    "NOT_NEEDED",
    "PORT_MARK",
    "expand",
    "filled",
    "launch",
    "main",
    "options",
    "search_path",
    "unneeded",
]

NOT_NEEDED = 77
"""The exit code where COMMAND is left out; automake's for a test that is skipped."""

# supervisord takes an earlier end for a failed start, and tries again.
_LONGER_THAN_STARTSECS = 3.0

PORT_MARK = "{metrics_port}"
"""What stands for the port in the words of a program that is not this project's."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def expand(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """``text`` with ``${NAME}`` and ``${NAME:-default}`` replaced, as a POSIX shell would.

    Raises `KeyError` with the name where there is neither a value nor a default.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = environ.get(name) or default
        if found is None:
            raise KeyError(name)
        return found

    return _VARIABLE.sub(value, text)


def filled(text: str, given: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> str:
    """A word of COMMAND, or a value for it, as it is started. Raises `KeyError` as `expand`."""
    if given.as_is:
        return text.replace(PORT_MARK, given.port or PORT_MARK)
    return expand(text, environ)


def search_path() -> str:
    """Where COMMAND is looked up: beside this Python, in the stack's own tools, then PATH."""
    # Not resolved: a virtual environment's Python may be a link to the system's.
    own = [str(Path(sys.executable).parent), *map(str, sorted(TOOLS_DIR.glob("*/bin")))]
    return os.pathsep.join([*own, os.environ.get("PATH", os.defpath)])


def launch(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout launch``."""
    parser.description = (
        "Become COMMAND, with ${NAME:-default} expanded, tied to supervisord's life."
    )
    parser.epilog = "example: rollout launch --port 9090 prometheus --web.listen-address=:9090"
    parser.add_argument("--port", help="wait until this port is free")
    parser.add_argument("--then", help="a command to run once, when COMMAND listens on --port")
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable for COMMAND, expanded likewise",
    )
    parser.add_argument(
        "--unless-env",
        action="append",
        default=[],
        metavar="NAME",
        help=f"do not start COMMAND where NAME is set, but end with code {NOT_NEEDED} after "
        f"{_LONGER_THAN_STARTSECS:g} s: for a startsecs below, and that code in exitcodes",
    )
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        type=Path,
        help="variables for COMMAND, NAME=value a line; a file of secrets, say",
    )
    parser.add_argument(
        "--as-is",
        action="store_true",
        help=f"expand nothing in COMMAND but {PORT_MARK}, and look it up in PATH alone",
    )
    parser.add_argument("--wait", type=float, default=30.0, help="seconds for --port and --then")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    parser.set_defaults(run=_dispatched)


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The launcher's command line, or that of ``words``; `SystemExit` where it is wrong."""
    parser = argparse.ArgumentParser(prog="rollout launch")
    launch(parser)
    given = parser.parse_args(words)
    if mistake := _mistake(given):
        parser.error(mistake)
    return given


def _mistake(given: argparse.Namespace) -> str | None:
    if not given.command:
        return "COMMAND is missing"
    return "--then needs --port" if given.then and not given.port else None


def unneeded(given: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> str | None:
    """The variable that makes COMMAND superfluous, if one of them is set."""
    return next((name for name in given.unless_env if environ.get(name)), None)


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Parse the command line, wait, and become COMMAND."""
    finish("launch", lambda: _become(options(words)))


def _dispatched(given: argparse.Namespace) -> NoReturn:
    """Become COMMAND after ``rollout --config FILE launch``, which `options` has not read."""
    if mistake := _mistake(given):
        raise Misuse(f"{mistake}; see `rollout launch --help`")
    _become(given)


def _become(given: argparse.Namespace) -> NoReturn:
    _end_with_parent()
    if variable := unneeded(given):
        print(f"launch: {given.command[0]} is not needed: {variable} is set", flush=True)
        time.sleep(_LONGER_THAN_STARTSECS)
        sys.exit(NOT_NEEDED)
    command, port, then = _prepared(given)
    program = shutil.which(command[0])
    if program is None and given.as_is:
        raise Failure(f"{command[0]} is no program that this user may run, seen from {Path.cwd()}")
    if program is None:
        raise Failure(f"{command[0]} is not installed; `make setup` installs it")
    if port is not None:
        _wait_until(lambda: not _listens(port), given.wait, f"port {port} is still taken")
        if then:
            _start_detached(then, port, given.wait)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, command)  # noqa: S606


def _prepared(given: argparse.Namespace) -> tuple[list[str], int | None, list[str]]:
    """The words of COMMAND, its port, and the words of ``--then``; the environment is set."""
    if given.env_file is not None:
        os.environ.update(_secrets(given.env_file))
    if not given.as_is:
        os.environ["PATH"] = search_path()
    try:
        for assignment in given.env:
            name, _, value = assignment.partition("=")
            os.environ[name] = filled(value, given)
        command = [filled(word, given) for word in given.command]
        port = int(expand(given.port)) if given.port else None
        then = shlex.split(expand(given.then)) if given.then else []
    except KeyError as missing:
        raise Failure(f"the environment variable {missing.args[0]} is not set") from missing
    except ValueError as error:
        raise Failure(f"{given.port} is not a port") from error
    return command, port, then


def _secrets(path: Path) -> Mapping[str, str]:
    """What the file at ``path`` sets. It cannot say which version the program runs."""
    found = read_env_file(path)
    if taken := next(filter(found.__contains__, contract.NAMES), None):
        raise Failure(f"{path} cannot set {taken}, which is the program file's own")
    return found


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies; exec keeps the request (prctl(2))."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died between the two calls
        raise Failure("supervisord is gone")


def _listens(port: int) -> bool:
    # Metrics may be served elsewhere; what is not ours listens on loopback.
    return any(_answers(host, port) for host in {"127.0.0.1", metrics_probe_host()})


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=0.5).close()
    except OSError:
        return False
    return True


def _wait_until(condition: Callable[[], bool], seconds: float, failure: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"{failure} after {seconds:g} s")
        time.sleep(0.1)


def _start_detached(then: list[str], port: int, seconds: float) -> None:
    """Leave a grandchild behind that runs ``then`` once the port listens.

    It is forked twice, so that COMMAND never sees a child it did not start, and
    ends with COMMAND, so that stopping the stack leaves nothing behind.
    """
    command = os.getpid()  # this process, which becomes COMMAND
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if os.fork():
        os._exit(0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _lives(command):
        if _listens(port) and not subprocess.call(then, stdout=subprocess.DEVNULL):
            os._exit(0)
        time.sleep(0.2)
    os._exit(1)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
