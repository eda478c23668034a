"""Pure: what a compatible target takes over from older builds of its set, and what must replay."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.core.actions import MoveRuns, Plan, Verify
from rollout.core.config import RolloutConfig
from rollout.core.observation import Observation, Version

__all__ = ["UNTRIED", "moving", "not_verified", "staying"]

UNTRIED = "untried: "
"""What the outcome of a replay begins with that nothing could be asked for; then comes why."""


def not_verified(config: RolloutConfig, seen: Observation) -> Plan | None:
    """A build gets traffic once the runs of the current one that it will go on with replay on it.

    Those are all of them where it is compatible. Whatever its strategy, auto-upgrade runs move to
    it by themselves.
    """
    if seen.ramping or seen.current is None:
        return None
    target, source = seen.version(config.deployment.target), seen.version(seen.current)
    if target.strategy != "compatible":
        return _moves_by_itself(config, target, source)
    outcome = _replayed(config, target, source.build_id)
    if outcome is None:
        reason = f"replaying runs of {source.build_id} on {target.build_id}"
        actions = (Verify(target.build_id, source.build_id),)
        return Plan("progressing", reason, actions, kind="replay")
    if outcome == "passed":
        return None
    if outcome.startswith(UNTRIED):
        untried = _untried(target.build_id, outcome, "deploy it as incompatible")
        return Plan("blocked", untried, kind="replay")
    mend = f"deploy it as incompatible, or mend it and `rollout retry {target.build_id}`"
    reason = f"{target.build_id} is not compatible: {outcome}; {mend}"
    return Plan("blocked", reason, kind="replay")


def _moves_by_itself(config: RolloutConfig, target: Version, source: Version) -> Plan | None:
    """What the auto-upgrade runs of ``source`` need before ``target`` gets traffic."""
    outcome, number = _replayed(config, target, source.build_id), source.auto_upgrading
    if number == 0 or outcome == "passed":
        return None
    if number is None:
        reason = f"whether {source.build_id} has auto-upgrade runs open could not be counted"
        return Plan("waiting", reason, kind="unreadable")
    runs = f"{number:,} auto-upgrade {'run' if number == 1 else 'runs'}"
    topic = (target.build_id, source.build_id, outcome)
    if outcome is None:
        reason = (
            f"replaying runs of {source.build_id} on {target.build_id}, "
            f"to which its {runs} would move"
        )
        actions = (Verify(target.build_id, source.build_id),)
        return Plan("progressing", reason, actions, topic, kind="replay")
    if outcome.startswith(UNTRIED):
        told = f"{source.build_id} has {runs}, which would move: "
        wait = "let them finish first"
        told += _untried(target.build_id, outcome, wait)
        return Plan("blocked", told, topic=topic, kind="replay")
    return Plan(
        "blocked",
        f"{target.build_id} cannot go on with the {runs} of {source.build_id}: {outcome}; "
        f"let them finish first, or mend it and `rollout retry {target.build_id}`",
        topic=topic,
        kind="replay",
    )


def moving(config: RolloutConfig, seen: Observation) -> Plan | None:
    """What is left of the runs that the current target takes over; None where none is."""
    target = config.deployment.target
    older = _older_runs(config, seen)
    replays = tuple(Verify(target, version.build_id) for version in older.untried[:1])
    if older.movable and not seen.routing_settled:
        on_its_way = f"the change to {target} is on its way to every task queue"
        return Plan("moving", on_its_way, replays, kind="moving")
    if older.movable:
        runs = sum(version.holding or 0 for version in older.movable)
        moves = tuple(MoveRuns(version.build_id, target) for version in older.movable)
        reason = f"{runs} open runs of its set move to {target}"
        return Plan("moving", reason, (*replays, *moves), topic=("moves", target), kind="moving")
    if replays:
        reason = f"replaying runs of {replays[0].source} on {target}, which takes them over"
        return Plan("moving", reason, replays, kind="replay")
    if older.uncounted:
        named = ", ".join(version.build_id for version in older.uncounted)
        return Plan("moving", f"the open runs of {named} cannot be counted", kind="unreadable")
    return None


def staying(config: RolloutConfig, seen: Observation) -> tuple[tuple[Version, str], ...]:
    """Versions whose runs the compatible target cannot take over, and why."""
    return _older_runs(config, seen).staying


@dataclass(frozen=True)
class _OlderRuns:
    """The versions of the target's set that have open runs, by what can become of these."""

    movable: tuple[Version, ...]
    untried: tuple[Version, ...]
    """Not replayed on the target yet."""
    staying: tuple[tuple[Version, str], ...]
    """With what broke in their replay."""
    uncounted: tuple[Version, ...]
    """Whether they have open runs is not known."""


def _older_runs(config: RolloutConfig, seen: Observation) -> _OlderRuns:
    target = seen.version(config.deployment.target)
    older = _older_in_set(seen, target)
    outcomes = [(v, _replayed(config, target, v.build_id)) for v in older if v.holding]
    return _OlderRuns(
        movable=tuple(version for version, outcome in outcomes if outcome == "passed"),
        untried=tuple(version for version, outcome in outcomes if outcome is None),
        staying=tuple(
            (version, why.removeprefix(UNTRIED))
            for version, why in outcomes
            if why is not None and why != "passed"
        ),
        uncounted=tuple(version for version in older if version.holding is None),
    )


def _older_in_set(seen: Observation, target: Version) -> list[Version]:
    """The versions whose runs the compatible ``target`` takes over.

    Only from older to newer: after a rollback the newer build's runs stay,
    because nobody has said that the older build can replay them.
    """
    if target.strategy != "compatible" or target.first_activated_at is None:
        return []
    return [
        other
        for other in seen.versions
        if other.build_id != target.build_id
        and other.version_set is not None
        and other.version_set == target.version_set
        and other.first_activated_at is not None
        and other.first_activated_at < target.first_activated_at
    ]


def _replayed(config: RolloutConfig, target: Version, source: str) -> str | None:
    """What the replay of ``source``'s runs on ``target`` showed; None where it is still to do."""
    if config.verify.compatible == "off":
        return "passed"
    outcome = target.verified.get(source)
    if outcome and outcome.startswith(UNTRIED) and config.verify.without_replay == "warn":
        return "passed"
    return outcome


def _untried(target: str, outcome: str, instead: str) -> str:
    """Why nothing is known of the ``target``, and each way out."""
    return (
        f"{outcome.removeprefix(UNTRIED)}, then `rollout retry {target}`; or {instead}, or set "
        'without_replay = "warn" in [verify]'
    )
