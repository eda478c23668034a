"""The one place that says where everything is: intent, state, program files, supervisord.

A *home* is a folder. In a checkout it is the checkout, and all is where the demo has it. Anywhere
else `rollout init` leaves a `rollout.ini` in it, which names the supervisord, the folder that it
includes program files from, and where state goes. It is an ini file, for whoever runs
Supervisor reads and writes those all day, and no deployment's `*.toml`, for it is of all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from rollout.base.exit import Misuse

__all__ = ["HOME_FILE", "Home", "find_home", "home_of"]

HOME_FILE = "rollout.ini"
_CHECKOUT = Path(__file__).resolve().parents[2]
_KEYS = ("supervisor", "supervisord_conf", "programs", "state")


@dataclass(frozen=True)
class Home:
    """Where things are. None of the folders need exist: who writes there makes it."""

    folder: Path
    """That with rollout.toml, or a file for each deployment, in it."""
    state: Path
    """Locks, last good editions, logs, scrape targets."""
    supervisord_conf: Path
    programs: Path
    """Where program files go, in a folder that the supervisord.conf includes."""
    program_suffix: str = ".ini"
    """What the names of files there must end with to be included."""
    server: str | None = None
    """The URL of supervisord's XML-RPC, as in SUPERVISOR_SERVER_URL; None: nothing names one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What every process of ours finds in its environment, unless it is set already."""
    is_set_up: bool = False
    """Whether `rollout init` has made it: its programs are then named by their deployment."""

    @property
    def logs(self) -> Path:
        """Where the programs' logs are."""
        return self.state / "log"

    @property
    def config(self) -> Path:
        """The rollout.toml; in a home that was set up, the folder with a file a deployment."""
        return self.folder if self.is_set_up else self.folder / "rollout.toml"

    def enter(self, environ: MutableMapping[str, str] = os.environ) -> None:
        """Set what `environment` says and ``environ`` does not."""
        for name, value in self.environment.items():
            environ.setdefault(name, value)


def find_home(environ: Mapping[str, str] = os.environ) -> Home:
    """The home of this process.

    It is ROLLOUT_HOME; else the current folder with a rollout.ini; else the checkout that this
    package lies in; else the current folder with a rollout.toml; else the first of
    ~/.config/rollout and /etc/rollout with a rollout.ini; else the current folder. Raises `Misuse`
    where its rollout.ini is wrong.
    """
    if named := environ.get("ROLLOUT_HOME"):
        return home_of(Path(named).resolve())
    if (here := Path.cwd() / HOME_FILE).is_file():
        return home_of(here.parent)
    if (_CHECKOUT / "supervisord.conf").is_file():
        return home_of(_CHECKOUT)
    return home_of(next(_usual_homes(environ), Path.cwd()))


def _usual_homes(environ: Mapping[str, str]) -> Iterator[Path]:
    here = Path.cwd()
    if (here / "rollout.toml").is_file():
        yield here
    own = (
        environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".config"
    )
    for folder in (Path(own) / "rollout", Path("/etc/rollout")):
        if (folder / HOME_FILE).is_file():
            yield folder


def home_of(folder: Path) -> Home:
    """The home at ``folder``: as its rollout.ini says, else as a checkout has it."""
    file = folder / HOME_FILE
    if not file.is_file():
        return Home(
            folder,
            folder / "var",
            folder / "supervisord.conf",
            folder / "workers" / "programs",
        )
    said, environment = _read(file)
    pattern = folder / said.get("programs", "programs/*.ini")
    if "*" not in pattern.name or "*" in str(pattern.parent):
        raise Misuse(f"{file}: programs: {pattern} is not a pattern such as /etc/supervisor/*.conf")
    return Home(
        folder,
        folder / said.get("state", "var"),
        folder / said.get("supervisord_conf", "supervisord.conf"),
        pattern.parent,
        pattern.suffix,
        said.get("supervisor"),
        environment,
        is_set_up=True,
    )


def _read(file: Path) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Its [rollout] and its [environment]."""
    import configparser  # noqa: PLC0415 - the launcher imports this before every process

    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error) as error:
        raise Misuse(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    for section in parser.sections():
        if section not in ("rollout", "environment"):
            raise Misuse(f"{file}: [{section}] is not a section of it: rollout, environment")
    said = dict(parser.items("rollout")) if parser.has_section("rollout") else {}
    if unknown := next((key for key in said if key not in _KEYS), None):
        raise Misuse(f"{file}: {unknown} is not one of {', '.join(_KEYS)}")
    told = dict(parser.items("environment")) if parser.has_section("environment") else {}
    return said, told
