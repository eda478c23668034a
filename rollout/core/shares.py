"""Pure: who is meant to get new runs, and who really gets them."""

from __future__ import annotations

from rollout.core.confidence import upper_bound
from rollout.core.observation import Observation

__all__ = ["falls_short", "real_samples", "real_share", "target_share"]

_ERROR = 0.01
"""So rarely a version that gets what it is meant to get is said to fall short, at all looks at
one step together."""

_FAR_BELOW = 0.5
"""A share below this part of what was meant is far below it."""


def target_share(seen: Observation, build_id: str) -> float:
    """The share of new runs, 0 to 1, that the routing gives to ``build_id``."""
    ramped = seen.ramping.percentage / 100 if seen.ramping else 0.0
    if seen.ramping and seen.ramping.build_id == build_id:
        return ramped
    return 1.0 - ramped if seen.current == build_id else 0.0


def real_samples(seen: Observation) -> int | None:
    """How many runs have begun since the routing last changed; None where that is not known."""
    started = [seen.version(build_id).started for build_id in _routed(seen)]
    known = [number for number in started if number is not None]
    return sum(known) if known and len(known) == len(started) else None


def real_share(seen: Observation, build_id: str) -> float | None:
    """The share of them, 0 to 1, that ``build_id`` has got; None where that is not known."""
    total = real_samples(seen)
    if not total or build_id not in _routed(seen):
        return None
    return (seen.version(build_id).started or 0) / total


def falls_short(seen: Observation, build_id: str) -> str | None:
    """Why ``build_id`` gets far fewer new runs than meant, beyond chance; None where it does not.

    Fewer alone prove nothing: runs that continue as new count where they are. Beside it something
    waits for the version's workers, or it is not known whether anything does.
    """
    total, meant = real_samples(seen), target_share(seen, build_id)
    version = seen.version(build_id)
    if not total or not meant or (version.backlog == 0 and seen.unassigned == 0):
        return None
    started = version.started or 0
    if upper_bound(started, total, _ERROR) >= meant * _FAR_BELOW:
        return None
    return (
        f"{build_id} gets {100 * started / total:.0f} % of new runs instead of {100 * meant:g} % "
        f"({started:,} of {total:,}): its workers do not keep up"
    )


def _routed(seen: Observation) -> tuple[str, ...]:
    """The builds that new runs are meant for."""
    ramping = seen.ramping.build_id if seen.ramping else None
    return tuple(build_id for build_id in (seen.current, ramping) if build_id)
