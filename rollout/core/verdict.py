"""Pure judgements on an observation: what may be stopped, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.base.names import UNVERSIONED
from rollout.core.hosts import silence
from rollout.core.observation import STUCK, Observation, Version
from rollout.core.shares import target_share
from rollout.core.warned import warnings
from rollout.core.zeros import APART

__all__ = [
    "AHEAD",
    "STALE",
    "Evidence",
    "Verdict",
    "hinges_on_another_look",
    "queries_hang",
    "safe_to_stop",
    "target_share",
    "version_set_of",
    "warnings",
]

STALE = timedelta(seconds=30)
"""An observation, or a server's check of a draining version, that is older proves nothing."""

AHEAD = timedelta(seconds=5)
"""Nor does one from further in the future: a clock was set, and nobody knows how old it is."""


@dataclass(frozen=True)
class Evidence:
    """One point of a verdict."""

    check: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Verdict:
    """Whether a version's workers may be stopped, and why."""

    build_id: str
    evidence: tuple[Evidence, ...]

    @property
    def safe_to_stop(self) -> bool:
        """True where every point holds; anything unknown is a point that does not."""
        return bool(self.evidence) and all(point.ok for point in self.evidence)


def version_set_of(seen: Observation, build_id: str) -> str:
    """The version set of a build: as written on the server, else what it would join."""
    version = seen.version(build_id)
    if version.version_set:
        return version.version_set
    if version.strategy == "compatible" and seen.current and seen.current != build_id:
        return seen.version(seen.current).version_set or seen.current
    return build_id


def safe_to_stop(seen: Observation, build_id: str, target: str | None, now: datetime) -> Verdict:
    """Whether the workers of ``build_id`` may be stopped without a run waiting for them.

    ``target`` is the build that is wanted, from rollout.toml, and ``now`` the real time, by
    which an old observation proves nothing. Every point needs a known value: what could not
    be read speaks against.
    """
    version = seen.version(build_id)
    return Verdict(
        build_id,
        (
            _routing(seen, build_id, target),
            _settled(seen),
            _server_status(version),
            _fresh(seen, version, now),
            _open_runs(seen, version),
            _backlog(version),
            _new_runs(seen),
            _replacement(seen, build_id, target),
            *_hosts(seen),
        ),
    )


def queries_hang(version: Version) -> str | None:
    """What stops with the version's workers although no run waits; None where it had no runs."""
    if version.first_activated_at is None:
        return None
    return f"queries to runs of {version.build_id}, closed ones too, hang while it is stopped"


def hinges_on_another_look(seen: Observation, target: str | None, now: datetime) -> bool:
    """Whether a version lacks nothing but a second look at its open runs to be safe to stop."""
    for version in seen.versions:
        verdict = safe_to_stop(seen, version.build_id, target, now)
        against = [point.check for point in verdict.evidence if not point.ok]
        if against == ["open_runs"] and version.holding == 0:
            return True
    return False


def _routing(seen: Observation, build_id: str, target: str | None) -> Evidence:
    share = target_share(seen, build_id)
    if seen.current == build_id or share > 0:
        return Evidence("routing", False, f"{share:.0%} of new runs go to {build_id}")
    if target == build_id:
        return Evidence("routing", False, f"{build_id} is the target in rollout.toml")
    return Evidence("routing", True, f"no new runs go to {build_id}")


def _settled(seen: Observation) -> Evidence:
    if seen.routing_settled:
        return Evidence("routing_settled", True, "the last routing change is everywhere")
    return Evidence("routing_settled", False, "a routing change is still on its way")


def _server_status(version: Version) -> Evidence:
    if version.status == "drained":
        since = f" since {version.drained_since:%H:%M:%S} UTC" if version.drained_since else ""
        why = f"the server says drained{since}"
        if version.gate_only:
            why += ", and nothing but its gate has run on it"
        return Evidence("server_status", True, why)
    if version.status == "inactive" and version.first_activated_at is None:
        return Evidence("server_status", True, "it never got any runs")
    return Evidence("server_status", False, f"the server says {version.status}")


def _fresh(seen: Observation, version: Version, now: datetime) -> Evidence:
    """Everything that the verdict relies on is as old as its oldest part.

    The server stops checking a version once it is drained, and its queues get nothing new from
    then on: what was read of them later than that does not age.
    """
    age = now - min(seen.oldest, version.counted_at or seen.oldest)
    told = f"read {_seconds(age)} s ago"
    if version.status == "draining" and version.drainage_checked_at:
        checked = now - version.drainage_checked_at
        told = f"read {_seconds(max(age, checked))} s ago"
        age = max(age, checked)
    if version.described_at is not None and version.described_at < seen.oldest:
        described = now - version.described_at
        told += f", its queues {_seconds(described)} s ago"
        closed_at = version.drained_since if version.status == "drained" else None
        if closed_at is None or version.described_at <= closed_at:
            age = max(age, described)
    return Evidence("fresh", now - seen.at >= -AHEAD and age <= STALE, told)


def _open_runs(seen: Observation, version: Version) -> Evidence:
    if version.open_runs is None or version.holding is None:
        return Evidence("open_runs", False, "the open runs could not be counted")
    name, number = version.build_id, version.holding
    elsewhere = max(0, version.open_runs - number)
    if number:
        runs = "run is" if number == 1 else "runs are"
        beside = f", beside {elsewhere:,} that can go on elsewhere" if elsewhere else ""
        return Evidence("open_runs", False, f"{number:,} {runs} open on {name}{beside}")
    told = f"no run is open on {name}"
    if elsewhere:
        runs = "run" if elsewhere == 1 else "runs"
        told = (
            f"no pinned run is open on {name}; "
            f"{elsewhere:,} auto-upgrade {runs} go on elsewhere at their next task"
        )
    if version.zero_since is None or seen.oldest - version.zero_since < APART:
        once = f"{told}, but that was seen only once, and a chain of runs may just go on"
        return Evidence("open_runs", False, once)
    return Evidence("open_runs", True, told)


def _new_runs(seen: Observation) -> Evidence:
    """What waits for its first task may yet have to go back to the version."""
    if seen.stuck is None:
        return Evidence("new_runs", False, "whether new runs wait for a worker is not known")
    if seen.stuck:
        runs = "new run waits" if seen.stuck == 1 else "new runs wait"
        told = f"{seen.stuck:,} {runs} for a worker for more than {STUCK:.0f} s"
        return Evidence("new_runs", False, told)
    return Evidence("new_runs", True, "no new run waits for a worker")


def _backlog(version: Version) -> Evidence:
    if version.backlog is None:
        return Evidence("backlog", False, "the backlog could not be read")
    if version.backlog == 0:
        return Evidence("backlog", True, "no task waits for it")
    if (version.status, version.open_runs, version.workers) == ("drained", 0, 0):
        return Evidence("backlog", True, "what waits for it are tasks of closed runs")
    tasks = "task waits" if version.backlog == 1 else "tasks wait"
    return Evidence("backlog", False, f"{version.backlog} {tasks} for it")


def _replacement(seen: Observation, build_id: str, target: str | None) -> Evidence:
    if seen.current is None and target == UNVERSIONED:
        return Evidence("replacement", True, "new runs go to workers without a version")
    if seen.current is None or seen.current == build_id:
        return Evidence("replacement", False, "no other version takes the new runs")
    workers = seen.version(seen.current).workers
    if workers is None:
        return Evidence("replacement", False, f"the workers of {seen.current} are not known")
    if workers == 0:
        return Evidence("replacement", False, f"{seen.current} has no live worker")
    plural = "worker" if workers == 1 else "workers"
    return Evidence("replacement", True, f"{seen.current} has {workers} live {plural}")


def _hosts(seen: Observation) -> tuple[Evidence, ...]:
    """Nothing is known of a silent host, so that it makes nothing safe; without hosts no point."""
    if seen.hosts is None:
        return (Evidence("hosts", False, "which hosts there are is not known"),)
    if not seen.hosts:
        return ()
    if silent := [host for host in seen.hosts if host.silent]:
        return (Evidence("hosts", False, "; ".join(map(silence, silent))),)
    number = len(seen.hosts)
    told = f"all {number} hosts have been heard" if number > 1 else "the one host has been heard"
    return (Evidence("hosts", True, told),)


def _seconds(age: timedelta) -> str:
    return f"{max(0.0, age.total_seconds()):.0f}"
