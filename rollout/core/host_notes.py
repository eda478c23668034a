"""Pure: what a host and the controller tell each other on the server, as text, and who is silent.

A host leaves one note, with all that it runs, on one version (`noted_on`), so that what it costs
does not grow with the versions. The controller leaves what it wants there too. Both are kept in
the version's metadata (`rollout.temporal.metadata`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import msgspec

from rollout.core.config import Delay, Deployment, RolloutConfig, Scale, Sunset

__all__ = [
    "EVERY",
    "Beat",
    "Host",
    "Hosts",
    "noted_on",
    "wanted_config",
    "wanted_text",
]

EVERY = 15.0
"""Seconds from one beat of a host to the next."""

_MISSED = 3
"""So many beats that do not come, and the host is silent..."""

_LATE = timedelta(seconds=20)
"""...but for this much more, for our own looks may be as far apart."""

_AHEAD = timedelta(seconds=10)
"""A beat that is further in the future than this, and was not seen to change, proves nothing."""


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """The note that a host leaves again and again."""

    n: int
    """Greater in each: of two notes of a host the greater is the newer."""
    at: datetime
    """By the host's own clock."""
    hostname: str
    """What its workers' heartbeats call it."""
    builds: Mapping[str, str]
    """The state of the programs of each build there, as supervisord calls it."""
    every: float = EVERY
    """Seconds until the next one."""

    def text(self) -> str:
        """It as it is kept."""
        return msgspec.json.encode(self, order="sorted").decode()

    @classmethod
    def read(cls, text: str) -> Beat | None:
        """The beat in ``text``; None where it holds none, as of another version of this."""
        try:
            beat = msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return None
        return beat if beat.at.tzinfo and 0 < beat.every < math.inf else None


@dataclass(frozen=True)
class Host:
    """One host as it was known at a look."""

    name: str
    hostname: str
    builds: Mapping[str, str] = field(default_factory=dict)
    """The state of the programs of each build, as it said last."""
    heard_at: datetime | None = None
    """When its beat was last seen to change, by our clock; before that its own word for it."""
    silent: bool = False
    """Whether that is too long ago: what runs there is then not known."""


@dataclass(frozen=True)
class _Heard:
    beat: Beat
    at: datetime
    confirmed: bool = False

    def is_silent(self, now: datetime) -> bool:
        if not self.confirmed and self.beat.at - now > _AHEAD:
            return True
        return now - self.at > timedelta(seconds=_MISSED * self.beat.every) + _LATE


@dataclass(frozen=True)
class Hosts:
    """All hosts of a deployment, followed from look to look by our own clock."""

    heard: Mapping[str, _Heard] = field(default_factory=dict)
    are_known: bool = False
    """Whether the notes were ever read."""

    def saw(self, notes: Mapping[str, Beat], now: datetime) -> Hosts:
        """The same after the newest note of each host was read; whom nobody notes is gone."""
        return Hosts({name: self._after(name, beat, now) for name, beat in notes.items()}, True)

    def known(self, now: datetime) -> tuple[Host, ...] | None:
        """Each host at ``now``, ordered by name; None where the notes were never read."""
        if not self.are_known:
            return None
        return tuple(
            Host(name, heard.beat.hostname, heard.beat.builds, heard.at, heard.is_silent(now))
            for name, heard in sorted(self.heard.items())
        )

    def _after(self, name: str, beat: Beat, now: datetime) -> _Heard:
        last = self.heard.get(name)
        if last is None:
            return _Heard(beat, min(beat.at, now))
        if beat.n == last.beat.n:
            return replace(last, beat=beat)
        return _Heard(beat, now, confirmed=True)


def noted_on(
    current: str | None, ramping: str | None, created: Mapping[str, datetime | None]
) -> str | None:
    """The version that notes are left on: one that is looked at each time; None: there is none.

    ``created`` has all versions that the server knows.
    """
    newest = [build_id for build_id, _ in sorted(created.items(), key=_by_age)][-1:]
    return next((build_id for build_id in (current, ramping, *newest) if build_id in created), None)


def _by_age(item: tuple[str, datetime | None]) -> tuple[bool, float, str]:
    build_id, at = item
    return at is not None, at.timestamp() if at else 0.0, build_id


class _Wanted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of rollout.toml the hosts need: they have none that counts."""

    target: str
    paused: bool = False
    rollback: str | None = None
    stop: float | None = None
    """Seconds; None: never."""
    delete: float | None = None
    keep: int
    shrink: int | None = None
    """Of `[scale]`: for so many open runs a draining build keeps a process; None: it keeps all."""
    match: bool = False
    """Of `[scale]`: whether the target gets the current build's number of processes."""


def wanted_text(config: RolloutConfig) -> str:
    """What ``config`` asks of the hosts, as it is kept."""
    sunset, scale = config.sunset, config.scale
    wanted = _Wanted(
        target=config.deployment.target,
        paused=config.deployment.paused,
        rollback=config.deployment.rollback,
        stop=float(sunset.stop) if math.isfinite(sunset.stop) else None,
        delete=float(sunset.delete) if math.isfinite(sunset.delete) else None,
        keep=sunset.keep,
        shrink=scale.runs_per_process if scale.draining == "shrink" else None,
        match=scale.target == "match",
    )
    return msgspec.json.encode(wanted, order="sorted").decode()


def wanted_config(deployment: str, text: str | None) -> RolloutConfig | None:
    """The configuration that a host goes by; None where nobody says what is wanted."""
    try:
        wanted = msgspec.json.decode(text or "", type=_Wanted)
    except msgspec.MsgspecError:
        return None
    never = math.inf
    return RolloutConfig(
        deployment=Deployment(
            name=deployment,
            target=wanted.target,
            paused=wanted.paused,
            rollback=wanted.rollback,
        ),
        sunset=Sunset(
            stop=Delay(never if wanted.stop is None else wanted.stop),
            delete=Delay(never if wanted.delete is None else wanted.delete),
            keep=wanted.keep,
        ),
        scale=Scale(
            draining="keep" if wanted.shrink is None else "shrink",
            runs_per_process=wanted.shrink or Scale().runs_per_process,
            target="match" if wanted.match else "keep",
        ),
    )
