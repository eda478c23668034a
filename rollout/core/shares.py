"""Pure: who really gets new runs, beside who is meant to."""

from __future__ import annotations

from rollout.core.observation import Observation

__all__ = ["real_samples", "real_share"]


def real_share(seen: Observation, build_id: str) -> float | None:
    """The part, 0 to 1, of the runs begun since the routing last changed that ``build_id`` got.

    None where they were not counted, or none has begun.
    """
    started, samples = seen.version(build_id).started, real_samples(seen)
    return None if started is None or not samples else started / samples


def real_samples(seen: Observation) -> int | None:
    """How many runs began since the routing last changed; None where that is not known.

    Only those on versions that get new runs are counted, each of which must be known.
    """
    routed = {seen.current, seen.ramping.build_id if seen.ramping else None} - {None}
    counts = [seen.version(build_id).started for build_id in routed if build_id]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None
