"""`rollout init`: a home for a deployment, under a supervisord that is there already."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from temporalio.service import RPCError

from rollout.base.connect import connect
from rollout.base.exit import Failure, Misuse
from rollout.base.files import replace
from rollout.base.home import HOME_FILE, Home, find_home, home_of
from rollout.base.listeners import is_free
from rollout.base.names import valid_deployment
from rollout.base.server import asked_server
from rollout.base.settings import PORTS
from rollout.commands.first_files import CONTROLLER, EXPORTER, First, is_plain
from rollout.core.config_file import load
from rollout.supervision import conf as supervisor_conf
from rollout.supervision.discovery import Found, find
from rollout.supervision.fleet.program_files import taken_ports
from rollout.supervision.surroundings import World, adopt, is_secret
from rollout.temporal.observer import Observer

__all__ = ["init"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,127}")
_PORT = re.compile(r"^command = .*--port (\d+)$", re.MULTILINE)
_SYSTEM = Path("/etc")
_WORLD = ("TEMPORAL_PORT", "PROMETHEUS_URL", "PROMETHEUS_PORT", "METRICS_HOST")


def init(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout init``."""
    parser.add_argument(
        "-d",
        "--deployment",
        required=True,
        metavar="NAME",
        help="the worker deployment, as in shop",
    )
    parser.add_argument("--task-queue", metavar="NAME", help="default: as the deployment")
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="FOLDER",
        help="the home to make; default: ROLLOUT_HOME, else /etc/rollout for root and "
        "~/.config/rollout for others",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="for logs, locks and scrape targets; default: /var/lib/rollout for a home in /etc, "
        "else var in the home",
    )
    parser.add_argument(
        "--supervisor",
        metavar="URL",
        help="as unix:///run/supervisor.sock or http://127.0.0.1:9001, whose user and password "
        "are in the supervisord.conf or in SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD; default: "
        "SUPERVISOR_SERVER_URL, else as the supervisord.conf says",
    )
    parser.add_argument(
        "--supervisord-conf",
        type=Path,
        metavar="FILE",
        help="default: that of the supervisord that answers, else where supervisorctl looks",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the files, write nothing")
    parser.set_defaults(run=_init)


async def _init(arguments: argparse.Namespace) -> int:
    """Write what is not there yet, and say what to do next."""
    name = valid_deployment(arguments.deployment)
    if not _NAME.fullmatch(name):
        raise Misuse(
            f"deployment {name!r} cannot be the name of a file and of programs: use letters, "
            "digits and _ + - (write its .toml and programs by hand; Temporal allows it)"
        )
    folder = _directory(arguments.directory)
    found = await _supervisord(arguments, home_of(folder))
    current, is_known = await _current(name)
    first = First(
        folder=folder,
        state=_state(arguments.state, folder),
        url=found.url,
        conf=found.conf,
        include=found.include,
        deployment=name,
        task_queue=arguments.task_queue or name,
        current=current,
        is_known=is_known,
        ports=_ports(found),
        environment=_environment(),
    )
    _refuse_odd_paths(first)
    files = first.files()
    new = [file for file in files if not file.exists()]
    if problems := list(_problems(first, files)):
        raise Failure(f"{'; '.join(problems)}: nothing has been written")
    if arguments.dry_run:
        _show(files, new)
        return 0
    _write(first, files, new)
    for file in files:
        print(f"{'wrote' if file in new else 'is there, and stays'}  {file}")
    print("\n" + "\n".join(_next_steps(first, found)))
    return 0


async def _supervisord(arguments: argparse.Namespace, home: Home) -> Found:
    """The one that is meant; that of ``home``, whose server is asked too, where it is set up."""
    url, conf = arguments.supervisor, arguments.supervisord_conf
    if not home.is_set_up:
        return await find(url, conf)
    for told in adopt(World.of(home.environment), os.environ):
        print(f"! {told.replace('the running stack', str(home.folder / HOME_FILE))}: that counts")
    if url is None and conf is None:
        url, conf = home.server, home.supervisord_conf
    return await find(url, conf)


def _directory(told: Path | None) -> Path:
    """The folder of the home, which need not be there."""
    if told is not None:
        return told.absolute()
    if named := os.environ.get("ROLLOUT_HOME"):
        return Path(named).absolute()
    if os.geteuid() == 0:
        return _SYSTEM / "rollout"
    own = os.environ.get("XDG_CONFIG_HOME")
    return (Path(own) if own else Path("~/.config").expanduser()) / "rollout"


def _state(told: Path | None, folder: Path) -> Path:
    if told is not None:
        return told.absolute()
    if (home := home_of(folder)).is_set_up:
        return home.state
    return Path("/var/lib/rollout") if folder.is_relative_to(_SYSTEM) else folder / "var"


async def _current(name: str) -> tuple[str | None, bool]:
    """What is current on the server, and whether that is known: it may be away for now."""
    with suppress(Failure, RPCError):
        seen = await Observer(await connect(identity="rollout init"), name).observe()
        return seen.current, True
    return None, False


def _ports(found: Found) -> Mapping[str, int]:
    """Where the two serve metrics: as their files say already, else the usual ports if free."""
    taken: set[int] = set()
    chosen = {}
    described = supervisor_conf.read(found.conf).programs
    others = taken_ports(p for p in described if p.name not in (CONTROLLER, EXPORTER))
    others -= set(PORTS.values())
    for name, usual in (
        (CONTROLLER, PORTS["ROLLOUT_METRICS_PORT"]),
        (EXPORTER, PORTS["EXPORTER_PORT"]),
    ):
        with suppress(OSError, ValueError):
            file = found.include.parent / f"{name}{found.include.suffix}"
            if said := _PORT.search(file.read_text(encoding="utf-8")):
                chosen[name] = int(said[1])
                continue
        ports = (usual, *range(9194, 10_000))
        free = (port for port in ports if port not in others | taken and is_free(port))
        chosen[name] = next(free, usual)
        taken.add(chosen[name])
    return chosen


def _environment() -> Mapping[str, str]:
    """What of this shell decides which server is asked; no secret."""
    said = {
        name: text
        for name, text in sorted(World.of(os.environ).variables.items())
        if (name.startswith("TEMPORAL_") or name in _WORLD) and not is_secret(name)
        if "\n" not in text and (name not in PORTS or text != str(PORTS[name]))
    }
    if not {"TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"} & set(said):
        server = asked_server()
        said = {
            "TEMPORAL_ADDRESS": server.address,
            "TEMPORAL_NAMESPACE": server.namespace,
            **said,
        }
    return said


def _refuse_odd_paths(first: First) -> None:
    for path in (first.folder, first.state, first.include, Path(sys.executable)):
        if not is_plain(path):
            raise Misuse(f"{path} cannot stand in a program file: choose one without blanks")


def _problems(first: First, files: Mapping[Path, str]) -> Iterator[str]:
    """What is in the way, a sentence each."""
    for file, text in files.items():
        if file.exists() and not _is_same(first, file, text):
            yield f"{file} is there and says something else"
        elif not os.access(_nearest(file), os.W_OK):
            yield f"{_nearest(file)} cannot be written to by this user"
    ours = {file for file in files if file.parent == first.include.parent and file.exists()}
    read = supervisor_conf.read(first.conf)
    for program in read.programs:
        mine = first.include.parent / f"{program.group}{first.include.suffix}"
        if program.group in (CONTROLLER, EXPORTER) and mine not in ours:
            yield f"{first.conf} has another program called {program.group}"
    if read.problems and not read.programs:
        yield f"supervisord could not read its files: {read.problems[0]}"


def _is_same(first: First, file: Path, text: str) -> bool:
    """Whether ``file`` is what would be written, or what its owner has made of that since."""
    try:
        said = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    if said == text:
        return True
    if file.name == HOME_FILE:
        home = home_of(first.folder)
        include = home.programs / f"*{home.program_suffix}"
        mine = (first.state, first.conf, first.include, first.url)
        return (home.state, home.supervisord_conf, include, home.server) == mine
    if file == first.intent:
        with suppress(Misuse):
            wanted = load(file).deployment
            return (wanted.name, wanted.task_queue) == (first.deployment, first.task_queue)
        return False
    return f'ROLLOUT_HOME="{first.folder}"' in said


def _nearest(path: Path) -> Path:
    """``path``, or the nearest folder above it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


def _show(files: Mapping[Path, str], new: list[Path]) -> None:
    for file, text in files.items():
        what = f"would be written:\n\n{text}" if file in new else "is there, and would stay\n"
        print(f"--- {file} {what}")


def _write(first: First, files: Mapping[Path, str], new: list[Path]) -> None:
    """Write ``new``; where that fails, none of them stays."""
    try:
        for folder in (first.folder, first.state / "log", first.state / "run"):
            folder.mkdir(parents=True, exist_ok=True)
        for file in new:
            replace(file, files[file])
    except OSError as error:
        for file in new:
            file.unlink(missing_ok=True)
        raise Failure(f"nothing has been written: {error}") from error


def _next_steps(first: First, found: Found) -> Iterator[str]:
    """What to do now; each command can be typed."""
    ctl = shutil.which("supervisorctl") or str(Path(sys.executable).parent / "supervisorctl")
    conf = shlex.quote(str(found.conf))
    if any(is_secret(name) for name in World.of(os.environ).variables):
        yield "! Secrets of this shell were not written down: put them into a file that only the"
        yield f"  programs' user can read, and its name into {first.folder / HOME_FILE}:"
        yield "  TEMPORAL_CONFIG_FILE = FILE (`temporal config set` writes such a file)"
        yield ""
    yield "Now, each line as it stands:"
    yield ""
    if not found.is_running:
        yield f"  supervisord -c {conf}"
    yield f"  {shlex.quote(ctl)} -c {conf} update {CONTROLLER} {EXPORTER}"
    if _needs_naming(first.folder):
        yield f"  export ROLLOUT_HOME={shlex.quote(str(first.folder))}"
    yield f"  {_rollout()} status -d {first.deployment}"
    yield ""
    if not first.is_known:
        yield f"! {asked_server()} did not answer, so {first.intent.name} says paused = true."
    yield "Then `rollout add BUILD ...` starts workers of a build, and `rollout to BUILD` sends it"
    yield f"new runs; `rollout add --help` has examples. {first.folder / 'prometheus-scrape.yml'}"
    yield "is for your Prometheus. Gate and analysis wait as comments in"
    yield f"{first.intent}."


def _needs_naming(folder: Path) -> bool:
    """Whether a command in another folder would not find the home by itself."""
    environ = {name: text for name, text in os.environ.items() if name != "ROLLOUT_HOME"}
    return find_home(environ).folder != folder or Path.cwd() == folder


def _rollout() -> str:
    beside = str(Path(sys.executable).parent / "rollout")
    return "rollout" if shutil.which("rollout") in (None, beside) else shlex.quote(beside)
