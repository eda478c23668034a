"""Pure: what an operator should know although no plan waits for it, a sentence each."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rollout.core.declared import other_code
from rollout.core.hosts import silence
from rollout.core.observation import STUCK, Observation, Version
from rollout.core.shares import falls_short, target_share
from rollout.core.takeover import UNTRIED

__all__ = ["new_runs_wait", "warnings"]


def warnings(seen: Observation) -> tuple[str, ...]:
    """What speaks of trouble in ``seen``; what could not be read is in its `problems`."""
    return tuple(_warnings(seen))


def new_runs_wait(seen: Observation) -> str | None:
    """How many new runs wait for a worker, for how long, and of what; None where none does.

    Those that began moments ago are on their way.
    """
    if not seen.stuck:
        return None
    routed = _routed(seen)
    for_whom = " or ".join(version.build_id for version in routed)
    one = seen.stuck == 1
    runs = f"{seen.stuck:,} new {'run' if one else 'runs'}"
    if not routed:
        return f"{runs} {'waits' if one else 'wait'}: nothing is current"
    if all(version.workers and version.backlog == 0 for version in routed):
        begun = "its first task has" if one else "their first tasks have"
        return (
            f"{runs} on {for_whom} {'has' if one else 'have'} not begun for more than "
            f"{STUCK:.0f} s: {begun} been taken, and not completed"
        )
    # The server says of a queue how long its oldest task waits, approximately.
    age = max(version.waiting_age or 0.0 for version in routed)
    long = f"the oldest for about {age:.0f} s" if age > STUCK else f"for more than {STUCK:.0f} s"
    return f"{runs} {'waits' if one else 'wait'} for a worker of {for_whom}, {long}"


def _warnings(seen: Observation) -> Iterator[str]:
    if waiting := new_runs_wait(seen):
        yield waiting
    for version in seen.versions:
        yield from _waiting(seen, version)
        if changed := other_code(version):
            yield changed
        if short := falls_short(seen, version.build_id):
            yield short
        yield from _untried(seen, version)
    for build_id, number in seen.elsewhere.items():
        yield (
            f"{_wait(number)} on {build_id}, which the server has forgotten: start a worker of "
            f"{build_id}, or move each to a build that can go on with it: `{_moves(seen)}`"
        )
    yield from (silence(host) for host in seen.hosts or () if host.silent)
    yield from seen.skewed
    if seen.throttled:
        yield "the server refused some questions, because it is asked too often"


def _wait(runs: int) -> str:
    """That so many wait, with the verb that fits."""
    return "1 run waits" if runs == 1 else f"{runs:,} runs wait"


def _untried(seen: Observation, version: Version) -> Iterator[str]:
    """Whose runs ``version`` goes on with although nobody has tried whether it can."""
    if not version.first_activated_at:
        return
    for source, outcome in version.verified.items():
        if outcome.startswith(UNTRIED) and seen.version(source).holding != 0:
            yield f"runs of {source} were not replayed: {outcome.removeprefix(UNTRIED)}"


def _moves(seen: Observation) -> str:
    """The command that moves one run to the current build."""
    return (
        "temporal workflow update-options --workflow-id ID --versioning-override-behavior one_time "
        f"--versioning-override-deployment-name {shlex.quote(seen.deployment)} "
        f"--versioning-override-build-id {shlex.quote(seen.current or 'BUILD')}"
    )


def _routed(seen: Observation) -> list[Version]:
    """The versions that a new run may wait for."""
    return [
        version
        for version in seen.versions
        if version.build_id == seen.current or target_share(seen, version.build_id) > 0
    ]


def _waiting(seen: Observation, version: Version) -> Iterator[str]:
    """Which runs wait for a worker of ``version``."""
    share, name = target_share(seen, version.build_id), version.build_id
    if version.workers == 0:
        back = ", which is on its way back" if version.returning else ""
        if share > 0:
            yield f"{name} has no live worker: its {share:.0%} of new runs wait for one{back}"
        # Elsewhere those that are pinned alone wait for it.
        if number := version.open_runs if share > 0 else version.holding:
            yield f"{_wait(number)} for a worker of {name}{back}"
    elif share > 0 and version.queues is not None:
        others = [v.queues or frozenset() for v in seen.versions if v.first_activated_at]
        for queue in sorted(frozenset().union(*others) - version.queues):
            yield (
                f"{name} has no live worker on task queue {queue}, where others have: "
                f"its {share:.0%} of new runs there wait for one"
            )
    if version.workers and version.backlog and (version.waiting_age or 0.0) > STUCK:
        tasks = "task waits" if version.backlog == 1 else "tasks wait"
        yield (
            f"about {version.backlog:,} {tasks} for the workers of {name}, "
            f"the oldest for about {version.waiting_age:.0f} s"
        )
