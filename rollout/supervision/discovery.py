"""Which supervisord is meant, and which folder it takes program files from.

It is told, or found where supervisorctl itself looks for its configuration.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rollout.base.exit import Failure, Misuse
from rollout.supervision.credentials import find_credentials, plain_options
from rollout.supervision.environments import configuration_of
from rollout.supervision.rpc import NotRunning, Refused, Supervisor

__all__ = ["Found", "find"]

_USUAL = ("supervisord.conf", "etc/supervisord.conf")
_OF_SYSTEM = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")


@dataclass(frozen=True)
class Found:
    """A supervisord, running or not."""

    url: str
    conf: Path
    include: Path
    """The pattern of the files that it includes: a folder, and how their names end."""
    is_running: bool


async def find(
    url: str | None = None, conf: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Found:
    """The supervisord at ``url``, with the file ``conf``, each found out where it is not told.

    Raises `Misuse` or `Failure` that says what to give.
    """
    if not environ.get("SUPERVISOR_ENABLED"):  # else it is that of whoever has started this shell
        url = url or environ.get("SUPERVISOR_SERVER_URL") or None
    _refuse_missing(conf)
    pid = None
    if url and conf is None:
        pid = await _pid(url, None, environ)
        conf = _conf_of(pid) if pid else None
    conf = conf or next(_usual_files(), None)
    if conf is None:
        looked = ", ".join((*(f"./{name}" for name in _USUAL), *_OF_SYSTEM))
        raise Failure(f"no supervisord.conf found ({looked}): name it with --supervisord-conf FILE")
    conf = conf.absolute()
    _refuse_unreadable(conf)
    named = _url_in(conf, environ)
    if url and pid is None and named != url:
        pid = await _pid(url, conf, environ)
        if pid is None or _conf_of(pid) not in (None, conf.resolve()):
            raise Failure(
                f"{conf} is not known to be that of the supervisord at {url}: start that one "
                "first, or name its file with --supervisord-conf FILE"
            )
    url = url or named
    if url is None:
        raise Failure(
            f"{conf} has neither [unix_http_server] nor [inet_http_server], so nobody can talk "
            "to its supervisord: add one of them"
        )
    return Found(url, conf, _include(conf, environ), await _pid(url, conf, environ) is not None)


def _refuse_missing(conf: Path | None) -> None:
    if conf is not None and not conf.is_file():
        raise Misuse(f"there is no {conf}")


def _refuse_unreadable(conf: Path) -> None:
    try:
        conf.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Failure(f"{conf} cannot be read: {error}") from error


async def _pid(url: str, conf: Path | None, environ: Mapping[str, str]) -> int | None:
    """The process id of the supervisord at ``url``; None where none answers."""
    place = conf or Path(os.devnull)
    try:
        return await Supervisor(url, credentials=lambda: find_credentials(place, environ)).pid()
    except NotRunning:
        return None
    except Refused:
        if conf is None:  # the password is in a file that is yet to be found
            return None
        raise


def _conf_of(pid: int) -> Path | None:
    """The file that the supervisord with this process id was started with, where it says so."""
    found = configuration_of(pid)
    return found and found.resolve()


def _usual_files() -> Iterator[Path]:
    for name in (*_USUAL, *_OF_SYSTEM):
        if Path(name).is_file():
            yield Path(name)


def _url_in(conf: Path, environ: Mapping[str, str]) -> str | None:
    """Where ``conf`` says that supervisord is asked."""
    options = plain_options(conf, environ)
    if url := options.get("supervisorctl", {}).get("serverurl"):
        return url
    if socket := options.get("unix_http_server", {}).get("file"):
        return f"unix://{socket}"
    if port := options.get("inet_http_server", {}).get("port"):
        host, _, number = port.rpartition(":")
        return f"http://{'127.0.0.1' if host in ('', '*', '0.0.0.0') else host}:{number}"  # noqa: S104
    return None


def _include(conf: Path, environ: Mapping[str, str]) -> Path:
    """The first of its include patterns that takes any name in a folder."""
    files = plain_options(conf, environ).get("include", {}).get("files", "")
    for word in shlex.split(files):
        pattern = conf.parent / word
        if pattern.stem == "*" and pattern.suffix and "*" not in str(pattern.parent):
            return pattern
    raise Failure(
        f"{conf} includes no folder: add `[include]` with `files = conf.d/*.conf` to it (as "
        "Debian's has), then `supervisorctl reread` must still answer"
    )
