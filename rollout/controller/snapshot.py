"""What a controller saw last, as it serves it, read by those who then need not look themselves.

The JSON of ``GET /api/v1/snapshot`` is for our own readers: `VERSION` changes with it, and a
reader of another version looks for itself. Scripts read ``/api/v1/status``.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from urllib.parse import urlencode, urlsplit

import msgspec

from rollout.base import files
from rollout.base.server import Server
from rollout.controller.nudge import nudged_at
from rollout.controller.places import run_file
from rollout.core.actions import Phase, Plan
from rollout.core.observation import Observation

__all__ = [
    "FRESH",
    "NO_ANSWER",
    "OTHER_VERSION",
    "VERSION",
    "Announcement",
    "Decision",
    "Deed",
    "Snapshot",
    "Unanswered",
    "page_of",
    "read",
]

VERSION = 3

FRESH = 15.0
"""Seconds after which a reader looks for itself, rather than to show what the controller saw."""

NO_ANSWER = "no controller answers here"
OTHER_VERSION = "the controller here is of another version"

_TIMEOUT = 2.0
_AGAIN = 0.1
_MOST_BYTES = 64 * 1024 * 1024


class Decision(msgspec.Struct, frozen=True):
    """A plan as it is told: what would be done stands there as words."""

    phase: Phase
    reason: str
    news: str
    """Equal while the phase and the reason say nothing new."""
    actions: tuple[str, ...] = ()
    target: str = ""
    """The build that was wanted when it was decided: the intent beside it may be newer."""

    @classmethod
    def of(cls, decided: Plan, target: str) -> Decision:
        """What there is to tell of a plan for ``target``."""
        told = tuple(map(str, decided.actions))
        return cls(decided.phase, decided.reason, repr(decided.news), told, target)

    def plan(self) -> Plan:
        """The plan to show; its actions are the controller's, and not to be done again."""
        return Plan(self.phase, self.reason, topic=self.news)


class Deed(msgspec.Struct, frozen=True):
    """Something that the controller did, in one sentence."""

    at: datetime
    text: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a controller. Times are of this machine's clock, in UTC."""

    version: int = VERSION
    pid: int
    identity: str
    address: str
    namespace: str
    made_at: datetime
    """When this answer was made; `observation` has the time at which its look began."""
    observation: Observation | None = None
    """None until a first look has succeeded."""
    decided: Decision | None = None
    unread: str | None = None
    """Why the newest look failed; None where it did not."""
    changed_at: datetime | None = None
    """When the controller last did something that an older look does not show."""
    refusals: tuple[str, ...] = ()
    """What could not be done in the last round."""
    deeds: tuple[Deed, ...] = ()
    """The last things that were done, oldest first."""
    standing: tuple[str, ...] = ()
    """Warnings about this machine, such as program files that supervisord cannot load."""
    config: str = ""
    """The text of the rollout.toml that is followed."""
    config_file: str = ""
    config_problem: str | None = None
    """Why the file as it is now is not followed; None where it is."""

    def is_before(self, moment: datetime | None) -> bool:
        """Whether the look began before ``moment``, or before the controller last did something."""
        changes = [change for change in (moment, self.changed_at) if change is not None]
        return self.observation is not None and self.observation.at < max(
            changes, default=self.observation.at
        )

    @property
    def server(self) -> Server:
        """Which server it asks."""
        return Server(self.address, self.namespace)


class Announcement(msgspec.Struct, frozen=True):
    """Where a controller is found: the content of ``var/run/rollout-DEPLOYMENT.api.json``."""

    url: str
    pid: int
    address: str
    namespace: str
    page: str = ""
    """The address of the live page, of this deployment; empty from one that has none."""

    def leave(self, deployment: str) -> Callable[[], None]:
        """Write the file; what is returned removes it, unless it is another's by then."""
        file = run_file(deployment, "api.json")
        file.parent.mkdir(parents=True, exist_ok=True)
        files.replace(file, msgspec.json.encode(self))

        def remove() -> None:
            if _announced(deployment) == self:
                file.unlink(missing_ok=True)

        return remove


def page_of(deployment: str, server: Server) -> str | None:
    """The address of the live page of ``deployment``; None where no controller here has one.

    Nor is there one for those who ask about another server than it does.
    """
    place = _announced(deployment)
    if place is None or not server.is_same(Server(place.address, place.namespace)):
        return None
    return place.page or None if _lives(place.pid) else None


class Unanswered(Exception):  # noqa: N818 - it is no error to have no controller
    """Why there is no snapshot to rely on, as a few words: "no controller answers here"."""


def read(
    deployment: str, server: Server, now: datetime | None = None, *, patience: float = 0.0
) -> tuple[Snapshot, Observation]:
    """What this checkout's controller tells, and saw of ``deployment`` on ``server`` moments ago.

    Raises `Unanswered` where none answers within 2 s, where it asks another server, or where what
    it saw is older than `FRESH`: whoever wants to know then looks for himself. One who looks once
    has ``patience``: so many seconds for a look that shows what was just done, by the controller,
    a command or supervisord here.
    """
    place = _announced(deployment)
    if place is None:
        raise Unanswered(NO_ANSWER)
    if not server.is_same(Server(place.address, place.namespace)):
        raise Unanswered(f"the controller here asks {place.address}, namespace {place.namespace}")
    snapshot = _asked(place, deployment) if not patience else _settled(place, deployment, patience)
    if not server.is_same(snapshot.server):
        raise Unanswered(f"the controller here asks {snapshot.address}, {snapshot.namespace}")
    seen = snapshot.observation
    if seen is None or seen.deployment != deployment:
        raise Unanswered(snapshot.unread or "the controller here has seen nothing yet")
    age = ((now or datetime.now(timezone.utc)) - seen.at).total_seconds()
    if age > FRESH:
        why = f" ({snapshot.unread})" if snapshot.unread else ""
        raise Unanswered(f"what the controller saw is {age:.0f} s old{why}")
    return snapshot, seen


def _announced(deployment: str) -> Announcement | None:
    try:
        return msgspec.json.decode(run_file(deployment, "api.json").read_bytes(), type=Announcement)
    except (OSError, msgspec.MsgspecError):
        return None


def _settled(place: Announcement, deployment: str, patience: float) -> Snapshot:
    """What the controller tells once it has looked at the last change that is known here."""
    deadline, nudged = time.monotonic() + patience, nudged_at(deployment)
    while (snapshot := _asked(place, deployment)).is_before(nudged):
        if time.monotonic() > deadline:
            raise Unanswered("the controller here has not looked since something was changed")
        time.sleep(_AGAIN)
    return snapshot


def _asked(place: Announcement, deployment: str) -> Snapshot:
    if not place.url.startswith("http://") or not _lives(place.pid):
        raise Unanswered(NO_ANSWER)
    try:
        found = msgspec.json.decode(_body(place.url, deployment), type=Snapshot)
    except msgspec.MsgspecError as error:
        raise Unanswered(OTHER_VERSION) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unanswered(f"the controller here does not answer ({place.url})") from error
    if found.version != VERSION:
        raise Unanswered(OTHER_VERSION)
    return found


def _body(url: str, deployment: str) -> bytes:
    """What is served at ``url``: urllib would import twice as much, and ask a proxy."""
    # One controller may follow several deployments; one that follows one needs no query.
    query = urlencode({"deployment": deployment})
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT)) as connection:
        connection.request("GET", f"/api/v1/snapshot?{query}")
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise OSError(f"it answered {answer.status}")
        return answer.read(_MOST_BYTES)


def _lives(pid: int) -> bool:
    """Whether there is a process with this id, whoever's it is."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0
