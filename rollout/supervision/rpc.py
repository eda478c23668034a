"""What supervisord says and does for us, over XML-RPC on its unix socket.

Every call opens a connection of its own and ends within its timeout. There are no
threads beneath, so that a call which is cancelled is over at once.
"""

from __future__ import annotations

import asyncio
import os
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast
from xml.parsers.expat import ExpatError

from rollout.base.exit import Failure
from rollout.base.settings import SOCKET
from rollout.supervision.environments import Environments
from rollout.supervision.programs import Program, namespec

__all__ = [
    "STATES",
    "Changes",
    "NotRunning",
    "Process",
    "Supervisor",
    "socket_path",
]

STATES = (
    "STOPPED",
    "STARTING",
    "RUNNING",
    "BACKOFF",
    "STOPPING",
    "EXITED",
    "FATAL",
    "UNKNOWN",
)
"""Every state a process can be in (http://supervisord.org/subprocess.html#process-states)."""

# supervisor.xmlrpc.Faults; importing it would cost every command 0.1 s.
_SHUTDOWN_STATE = 6
_BAD_NAME = 10
_ALREADY_STARTED = 60
_NOT_RUNNING = 70
_ALREADY_ADDED = 90
_HAS_ENDED = ("STOPPED", "EXITED")


class NotRunning(Failure):
    """Nothing answers on supervisord's socket."""


@dataclass(frozen=True)
class Process:
    """One process as supervisord sees it now."""

    name: str
    group: str
    state: str
    """One of `STATES`."""
    pid: int | None
    started_at: datetime | None
    """When it was last started, to the second; None where it never was."""
    exit_status: int | None
    """How it last ended (-1: by a signal); None while it runs, or where nobody knows."""
    spawn_error: str
    """Why it could not be started, or empty."""

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


def socket_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The socket of the supervisord that started this process, else of this stack's own."""
    url = environ.get("SUPERVISOR_SERVER_URL", "")
    return Path(url.removeprefix("unix://")) if url.startswith("unix://") else SOCKET


class Supervisor:
    """The supervisord behind the socket ``path``.

    Every method raises `NotRunning` where nothing answers there within
    ``timeout`` seconds, and `Failure` with supervisord's reason where it refuses.
    """

    def __init__(
        self, path: Path = SOCKET, *, timeout: float = 5.0, conf: Path | None = None
    ) -> None:
        """``conf``: the file that it was started with; None: as its command line says."""
        self._path = path
        self._timeout = timeout
        self._environments = Environments(conf)

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
        self, method: str, *arguments: str | bool, accept: int = 0, timeout: float | None = None
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
            raise NotRunning(f"supervisord does not answer on {self._path}") from error
        except PermissionError as error:
            raise Failure(f"supervisord's socket {self._path} belongs to another user") from error
        except (OSError, ExpatError) as error:
            raise NotRunning(
                f"supervisord is not running ({self._path}); start it with `make up`"
            ) from error
        return value

    async def _post(self, body: bytes) -> bytes:
        """One HTTP/1.0 exchange: the answer ends where supervisord closes the connection."""
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            head = f"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}"
            writer.write(head.encode() + b"\r\n\r\n" + body)
            answer = await reader.read()
        finally:
            writer.close()
        status, _, rest = answer.partition(b"\r\n")
        if b" 200 " not in status:
            raise OSError(f"supervisord answered {status!r}")
        return rest.partition(b"\r\n\r\n")[2]


def _refusal(fault: xmlrpc.client.Fault, arguments: tuple[str | bool, ...]) -> Failure:
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
