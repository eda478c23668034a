"""Version sets, the older API of Temporal: what was read of them, and what is safe to stop.

The server itself keeps the sets, a list a task queue: the last set is the default and
gets new runs; the last build of a set gets every task of the set's runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rollout.core.verdict import Evidence, Verdict

__all__ = ["Build", "Place", "VersionSets", "safe_to_stop"]

Place = Literal[
    "default",  # gets new runs, and every task of its own set
    "set-default",  # gets every task of its own set
    "superseded",  # gets nothing, once the newer build of its set polls
]


@dataclass(frozen=True)
class Build:
    """One build of a version set."""

    build_id: str
    place: Place
    open_runs: int | None
    """Running workflows whose last task it completed; None where the count failed."""
    workers: int | None
    """Worker processes with a fresh heartbeat; None where the server cannot list workers."""


@dataclass(frozen=True)
class VersionSets:
    """The version sets of one task queue, oldest first: the last one is the default."""

    namespace: str
    task_queue: str
    sets: tuple[tuple[Build, ...], ...] = ()
    """The builds of each set, oldest first: the last one takes the set's tasks."""
    not_begun: int | None = 0
    """Running workflows of which no build has completed a task; None where the count failed."""
    problems: tuple[str, ...] = ()
    """What could not be read, a sentence each."""

    @property
    def builds(self) -> tuple[Build, ...]:
        """Every build, in the order of `sets`."""
        return tuple(build for version_set in self.sets for build in version_set)

    @property
    def default(self) -> str | None:
        """The build that gets new runs; None before the first."""
        return self.sets[-1][-1].build_id if self.sets else None


def safe_to_stop(seen: VersionSets, build_id: str) -> Verdict:
    """Whether the workers of ``build_id`` may be stopped without a run waiting for them.

    Every point needs a known value: what could not be read speaks against.
    """
    own_set = next(ids for ids in seen.sets if any(b.build_id == build_id for b in ids))
    build = next(b for b in own_set if b.build_id == build_id)
    if build.place == "default":
        return Verdict(build_id, (Evidence("routing", False, f"new runs go to {build_id}"),))
    if build.place == "superseded":
        heir = own_set[-1]
        moved = f"the tasks of its set go to {heir.build_id}"
        return Verdict(build_id, (Evidence("routing", True, moved), _alive(heir)))
    return Verdict(
        build_id,
        (
            Evidence("routing", True, f"no new runs go to {build_id}"),
            _none_open(own_set),
            _all_begun(seen.not_begun),
            _alive(seen.sets[-1][-1]),
        ),
    )


def _none_open(version_set: tuple[Build, ...]) -> Evidence:
    counts = [build.open_runs for build in version_set]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return Evidence("open_runs", False, "the open runs of its set could not be counted")
    if not sum(known):
        return Evidence("open_runs", True, "no run of its set is open")
    runs = "run is" if sum(known) == 1 else "runs are"
    return Evidence("open_runs", False, f"{sum(known)} {runs} open in its set")


def _all_begun(not_begun: int | None) -> Evidence:
    """A run waits for the set that was the default at its start, and does not say which it was."""
    if not_begun is None:
        return Evidence("not_begun", False, "the runs that have not begun could not be counted")
    if not_begun == 0:
        return Evidence("not_begun", True, "every run has begun")
    runs = "1 run has" if not_begun == 1 else f"{not_begun} runs have"
    return Evidence("not_begun", False, f"{runs} not begun and may be for its set")


def _alive(build: Build) -> Evidence:
    if build.workers is None:
        return Evidence("replacement", False, f"the workers of {build.build_id} are not known")
    if build.workers == 0:
        return Evidence("replacement", False, f"{build.build_id} has no live worker")
    plural = "worker" if build.workers == 1 else "workers"
    return Evidence("replacement", True, f"{build.build_id} has {build.workers} live {plural}")
