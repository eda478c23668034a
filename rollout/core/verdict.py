"""Pure judgements on an observation: who gets new runs, and what may be stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from rollout.base.names import UNVERSIONED
from rollout.core.observation import Observation, Version

__all__ = ["Evidence", "Verdict", "safe_to_stop", "target_share", "version_set_of", "warnings"]

STALE = timedelta(seconds=30)
"""An observation, or a server's check of a draining version, that is older proves nothing."""


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


def target_share(seen: Observation, build_id: str) -> float:
    """The share of new runs, 0 to 1, that the routing gives to ``build_id``."""
    ramped = seen.ramping.percentage / 100 if seen.ramping else 0.0
    if seen.ramping and seen.ramping.build_id == build_id:
        return ramped
    return 1.0 - ramped if seen.current == build_id else 0.0


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
            _open_runs(version),
            _backlog(version),
            _replacement(seen, build_id, target),
        ),
    )


def warnings(seen: Observation) -> tuple[str, ...]:
    """What an operator should know although no plan waits for it, a sentence each."""
    return tuple(chain.from_iterable(_waiting(seen, version) for version in seen.versions))


def _waiting(seen: Observation, version: Version) -> Iterator[str]:
    """Which runs wait for a worker of ``version``."""
    share = target_share(seen, version.build_id)
    if version.workers == 0:
        if share > 0:
            yield f"{version.build_id} has no live worker: its {share:.0%} of new runs wait for one"
        if version.open_runs:
            runs = "run waits" if version.open_runs == 1 else "runs wait"
            yield f"{version.open_runs} {runs} for a worker of {version.build_id}"
    elif share > 0 and version.queues is not None:
        others = [v.queues or frozenset() for v in seen.versions if v.first_activated_at]
        for queue in sorted(frozenset().union(*others) - version.queues):
            yield (
                f"{version.build_id} has no live worker on task queue {queue}, where others have: "
                f"its {share:.0%} of new runs there wait for one"
            )


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
        return Evidence("server_status", True, f"the server says drained{since}")
    if version.status == "inactive" and version.first_activated_at is None:
        return Evidence("server_status", True, "it never got any runs")
    return Evidence("server_status", False, f"the server says {version.status}")


def _fresh(seen: Observation, version: Version, now: datetime) -> Evidence:
    """The server stops checking a version once it is drained, so then only our reading ages."""
    age = now - seen.at
    if version.status == "draining" and version.drainage_checked_at:
        age = max(age, now - version.drainage_checked_at)
    seconds = max(0.0, age.total_seconds())
    return Evidence("fresh", age <= STALE, f"read {seconds:.0f} s ago")


def _open_runs(version: Version) -> Evidence:
    if version.open_runs is None:
        return Evidence("open_runs", False, "the open runs could not be counted")
    if version.open_runs == 0:
        return Evidence("open_runs", True, f"no run is open on {version.build_id}")
    runs = "run is" if version.open_runs == 1 else "runs are"
    return Evidence("open_runs", False, f"{version.open_runs} {runs} open on {version.build_id}")


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
