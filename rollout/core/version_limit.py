"""Pure: how near a deployment is to the server's version limit, and what would make room."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rollout.core.observation import Observation, Version

__all__ = ["deletable", "warning"]

_WARN_FROM = 0.8
_NAMED = 10


def deletable(seen: Observation, target: str, keep: Collection[str] = ()) -> tuple[str, ...]:
    """The versions whose record could be deleted now, oldest first.

    They got no runs or are drained, have no open run and no live worker, and are
    neither routed to, nor the ``target``, nor among those to ``keep``. What could not
    be read speaks against. The server may still ask for patience, for it remembers
    pollers for 5 min.
    """
    routed = {seen.current, seen.ramping.build_id if seen.ramping else None}
    return tuple(
        version.build_id
        for version in seen.versions
        if version.build_id not in {*routed, target, *keep} and _unused(version)
    )


def warning(seen: Observation, limit: int, free: Sequence[str] = ()) -> str | None:
    """A sentence from 80 % of ``limit`` versions on, naming those of `deletable`; None below.

    ``limit`` is the server's versions a deployment, 100 unless its dynamic config
    ``matching.maxVersionsInDeployment`` says otherwise. At the limit the polls of a
    new build's workers fail on the server, and their own log stays silent.
    """
    known = sum(version.status != "unregistered" for version in seen.versions)
    if known < _WARN_FROM * limit:
        return None
    count = f"the server has {known} of at most {limit} versions of {seen.deployment}"
    if known >= limit:
        count += ", so no new build can register"
    return f"{count}; {_room(free)}"


def _unused(version: Version) -> bool:
    never_used = version.first_activated_at is None and version.status in ("inactive", "created")
    counts = (version.open_runs, version.workers)
    known = version.backlog is not None  # of closed runs, where none is open
    return (version.status == "drained" or never_used) and known and counts == (0, 0)


def _room(free: Sequence[str]) -> str:
    if not free:
        return "none can be deleted yet: one has to be drained and its workers stopped first"
    named = ", ".join(free[:_NAMED])
    rest = f" and {len(free) - _NAMED} more" if len(free) > _NAMED else ""
    return f"can be deleted now: {named}{rest}"
