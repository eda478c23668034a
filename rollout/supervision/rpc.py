"""What supervisord says and does for us, over XML-RPC on its unix socket or its TCP port.

Every call opens a connection of its own and ends within its timeout. There are no
threads beneath, so that a call which is cancelled is over at once.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import xmlrpc.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

from rollout.base.exit import Failure, Misuse
from rollout.base.settings import HOME, supervisor_url
from rollout.supervision.credentials import NONE, Credentials, find_credentials
from rollout.supervision.environments import Environments
from rollout.supervision.programs import Program, namespec

__all__ = [
    "Changes",
    "NotRunning",
    "Process",
    "Refused",
    "Supervisor",
    "own_url",
]

# supervisor.xmlrpc.Faults; importing it would cost every command 0.1 s.
_SHUTDOWN_STATE = 6
_BAD_NAME = 10
_ALREADY_STARTED = 60
_NOT_RUNNING = 70
_ALREADY_ADDED = 90
_HAS_ENDED = ("STOPPED", "EXITED")
_OK, _WANTS_PASSWORD = b"200", b"401"


class NotRunning(Failure):
    """Nothing answers on supervisord's socket."""


class Refused(Failure):
    """A supervisord answers, and will not have us."""


@dataclass(frozen=True)
class Process:
    """One process as supervisord sees it now."""

    name: str
    group: str
    state: str
    """One of `rollout.supervision.states.STATES`."""
    pid: int | None
    started_at: datetime | None
    """When it was last started, to the second; None where it never was."""
    exit_status: int | None
    """How it last ended (-1: by a signal); None while it runs, or where nobody knows."""
    spawn_error: str
    """Why it could not be started, or empty."""
    stopped_at: datetime | None = None
    """When it last ended, to the second; None where it never did."""

    @property
    def namespec(self) -> str:
        """What `supervisorctl` calls it: ``name``, or ``group:name``."""
        return namespec(self.group, self.name)


@dataclass(frozen=True)
class Changes:
    """Groups whose configuration on disk differs from what supervisord runs."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def own_url(environ: Mapping[str, str] = os.environ) -> str:
    """Where the supervisord is asked that started this process, else that of this home."""
    return environ.get("SUPERVISOR_SERVER_URL") or supervisor_url(environ)


class Supervisor:
    """The supervisord at ``place``: a socket's path, or a URL; by default that of this home.

    Every method raises `NotRunning` where nothing answers there within
    ``timeout`` seconds, and `Failure` with supervisord's reason where it refuses.
    ``credentials`` are asked for where it wants some, which it says.
    """

    def __init__(
        self,
        place: Path | str | None = None,
        *,
        timeout: float = 5.0,
        conf: Path | None = None,
        credentials: Callable[[], Credentials] = find_credentials,
    ) -> None:
        """``conf``: the file that it was started with; None: as rollout.ini or its process says."""
        self._url = f"unix://{place}" if isinstance(place, Path) else place or supervisor_url()
        self._timeout = timeout
        self._environments = Environments(
            conf or (HOME.supervisord_conf if HOME.is_set_up else None)
        )
        self._find = credentials
        self._credentials = NONE

    async def pid(self) -> int:
        """The process id of supervisord itself."""
        return cast(int, await self._call("getPID"))

    async def processes(self) -> list[Process]:
        """Every loaded process, ordered by group and name."""
        return [_process(info) for info in await self._call("getAllProcessInfo")]

    async def process(self, name: str) -> Process:
        """The process that `supervisorctl` calls ``name``."""
        return _process(await self._call("getProcessInfo", name))

    async def config(self) -> list[Program]:
        """Every configured process, ordered by name, those not loaded included.

        Its environment is that of supervisord's files, where they name a version and can be read.
        """
        programs = [_program(info) for info in await self._call("getAllConfigInfo")]
        return self._environments.complete(programs, await self.pid())

    async def main_log(self, most: int) -> str:
        """The last ``most`` bytes of supervisord's own log, the first line perhaps not whole.

        Raises `Failure` where it keeps none that can be read.
        """
        return cast(str, await self._call("readLog", -most, 0))

    async def start(self, name: str, *, wait: bool = False, timeout: float = 60.0) -> None:
        """Start ``name``; with ``wait`` return once it is RUNNING. Started already is fine."""
        limit = timeout if wait else self._timeout
        await self._call("startProcess", name, wait, accept=_ALREADY_STARTED, timeout=limit)

    async def stop(self, name: str, *, wait: bool = False, timeout: float = 60.0) -> None:
        """Stop ``name``; with ``wait`` return once it has ended. Not running is fine."""
        limit = timeout if wait else self._timeout
        await self._call("stopProcess", name, wait, accept=_NOT_RUNNING, timeout=limit)

    async def reread(self) -> Changes:
        """Read the configuration files again, change nothing, and say what differs."""
        ((added, changed, removed),) = await self._call("reloadConfig")
        return Changes(tuple(added), tuple(changed), tuple(removed))

    async def add_group(self, group: str) -> None:
        """Load ``group`` as the files read last describe it, and start what starts by itself."""
        await self._call("addProcessGroup", group, accept=_ALREADY_ADDED)

    async def remove_group(self, group: str, *, timeout: float = 60.0) -> None:
        """Stop ``group``, all of its processes at once, and unload it."""
        await self._call("stopProcessGroup", group, timeout=timeout)
        await self._call("removeProcessGroup", group)

    async def update(self, group: str, *, timeout: float = 60.0) -> bool:
        """Make ``group`` as the files now describe it, touching no other; False: it was so."""
        changes = await self.reread()
        if group in changes.removed or group in changes.changed:
            await self.remove_group(group, timeout=timeout)
        if group in changes.added or group in changes.changed:
            await self.add_group(group)
        return group in (*changes.added, *changes.changed, *changes.removed)

    async def shutdown(self) -> None:
        """Ask supervisord to stop everything and end; it ends later, by itself."""
        await self._call("shutdown", accept=_SHUTDOWN_STATE)

    async def _call(
        self, method: str, *arguments: str | int, accept: int = 0, timeout: float | None = None
    ) -> Any:  # noqa: ANN401  (as XML-RPC sends it)
        """What supervisord answers; None where it refuses with the fault ``accept``."""
        body = xmlrpc.client.dumps(arguments, f"supervisor.{method}").encode()
        try:
            reply = await asyncio.wait_for(self._post(body), timeout or self._timeout)
            ((value,), _) = xmlrpc.client.loads(reply)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == accept:
                return None
            raise _refusal(fault, arguments) from fault
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise NotRunning(f"supervisord does not answer on {self._shown}") from error
        except PermissionError as error:
            raise Failure(f"supervisord's socket {self._shown} belongs to another user") from error
        except (OSError, ExpatError) as error:
            hint = "" if HOME.is_set_up else "; start it with `make up`"
            raise NotRunning(f"supervisord is not running ({self._shown}){hint}") from error
        return value

    @property
    def _shown(self) -> str:
        url = self._url.removeprefix("unix://")
        return re.sub(r"//[^/]*@", "//", url)  # a password in it is nobody's business

    async def _post(self, body: bytes) -> bytes:
        """What it answers, with a user and a password where it wants them."""
        status, answer = await self._exchange(body)
        if status == _WANTS_PASSWORD:
            self._credentials = self._find()
            if not self._credentials.username:
                raise Refused(
                    f"supervisord at {self._shown} wants a user and a password: set "
                    "SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD, or let this user read "
                    f"[supervisorctl] in {HOME.supervisord_conf}"
                )
            status, answer = await self._exchange(body)
        if status == _WANTS_PASSWORD:
            raise Refused(f"supervisord at {self._shown} refuses this user and password")
        if status != _OK:
            raise OSError(f"supervisord answered {status!r}")
        return answer

    async def _exchange(self, body: bytes) -> tuple[bytes, bytes]:
        """One HTTP/1.0 exchange, status and answer; that ends where supervisord closes."""
        reader, writer = await self._connect()
        try:
            head = f"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}"
            if self._credentials.username:
                basic = base64.b64encode(str(self._credentials).encode()).decode()
                head += f"\r\nAuthorization: Basic {basic}"
            writer.write(head.encode() + b"\r\n\r\n" + body)
            answer = await reader.read()
        finally:
            writer.close()
        line, _, rest = answer.partition(b"\r\n")
        return b"".join(line.split()[1:2]), rest.partition(b"\r\n\r\n")[2]

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._url.startswith("unix://"):
            return await asyncio.open_unix_connection(self._url.removeprefix("unix://"))
        parts = urlsplit(self._url)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if parts.scheme != "http" or not host:
            raise Misuse(
                f"{self._shown!r} is not where a supervisord is: write unix:///run/supervisor.sock "
                "or http://127.0.0.1:9001"
            )
        return await asyncio.open_connection(host, port or 80)


def _refusal(fault: xmlrpc.client.Fault, arguments: tuple[str | int, ...]) -> Failure:
    if fault.faultCode == _SHUTDOWN_STATE:
        return Failure("supervisord is shutting down")
    if fault.faultCode == _BAD_NAME:
        return Failure(f"supervisord has no program named {arguments[0]!r}")
    return Failure(f"supervisord refused: {fault.faultString}")


def _process(info: dict[str, Any]) -> Process:
    # An unset exit status is sent as 0, so it counts only in a state that says it ended.
    ended = info["statename"] in _HAS_ENDED and info["stop"] > 0
    return Process(
        name=info["name"],
        group=info["group"],
        state=info["statename"],
        pid=info["pid"] or None,
        started_at=(
            datetime.fromtimestamp(info["start"], tz=timezone.utc) if info["start"] else None
        ),
        exit_status=info["exitstatus"] if ended else None,
        spawn_error=info["spawnerr"],
        stopped_at=datetime.fromtimestamp(info["stop"], tz=timezone.utc) if info["stop"] else None,
    )


def _program(info: dict[str, Any]) -> Program:
    logs = (info["stdout_logfile"], info["stderr_logfile"])
    return Program(
        name=info["name"],
        group=info["group"],
        command=info["command"],
        loaded=info["inuse"],
        autostart=info["autostart"],
        log_file=next((Path(log) for log in logs if log.startswith("/")), None),
        directory=Path(info["directory"]) if info["directory"] != "none" else None,
        from_files=False,
    )
