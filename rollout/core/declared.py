"""Pure: what the programs of a version say of it where its workers say nothing themselves.

A worker that knows nothing of this project cannot declare its strategy and its code. Whoever added
its program did, in the program's environment; the controller writes it on the version, where
everybody finds it, also when the program is gone. So a worker that was written by hand, or whose
`rollout add` was killed after its first poll, is declared as any other.
"""

from __future__ import annotations

from rollout.core.actions import Declare
from rollout.core.observation import Observation, Version

__all__ = ["declarations", "is_being_declared", "other_code"]


def declarations(seen: Observation) -> tuple[Declare, ...]:
    """What is to be written on the versions that the server knows."""
    return tuple(
        Declare(version.build_id, version.told.strategy, _new_code(version))
        for version in seen.versions
        if is_being_declared(version)
    )


def is_being_declared(version: Version) -> bool:
    """Whether the version lacks something that its programs say.

    A strategy that was told anew counts, as one that a worker declares anew does. Code does not:
    runs that are pinned to the version would be replayed on it.
    """
    if version.status == "unregistered" or not version.described:
        return False
    return version.told.strategy not in (None, version.strategy) or bool(_new_code(version))


def other_code(version: Version) -> str | None:
    """That its programs run other code than the version was deployed with; None: they do not."""
    told, known = version.told.fingerprint, version.fingerprint
    if not version.described or None in (told, known) or told == known:
        return None
    return (
        f"{version.build_id} was deployed with code {known}, and its program here says code "
        f"{told}: give changed code a build id of its own"
    )


def _new_code(version: Version) -> str | None:
    return version.told.fingerprint if version.fingerprint is None else None
