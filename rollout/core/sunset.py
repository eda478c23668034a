"""Pure: what becomes of versions that are no longer needed, and of those needed again."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from rollout.core.actions import Action, DeleteVersion, RemoveProgram, StartProgram, StopProgram
from rollout.core.config import RolloutConfig
from rollout.core.hosts import others_with
from rollout.core.observation import Observation, Version
from rollout.core.verdict import safe_to_stop

__all__ = ["kept", "sunset"]


def sunset(config: RolloutConfig, seen: Observation, now: datetime) -> tuple[Action, ...]:
    """The actions that ``[sunset]`` asks for now, one a version at the most.

    With ``stop = "manual"`` processes are a person's: none is stopped, and none that
    somebody has stopped is started. While the rollout is paused, only what runs
    need is done.
    """
    actions: list[Action] = []
    spared = kept(config, seen)
    for version in seen.versions:
        action: Action | None = None
        if _needed_again(version) and math.isfinite(config.sunset.stop):
            action = StartProgram(version.build_id)
        elif not config.deployment.paused and version.build_id not in spared:
            action = _farewell(config, seen, version, now)
        if action is not None:
            actions.append(action)
    return tuple(actions)


def kept(config: RolloutConfig, seen: Observation) -> frozenset[str]:
    """The builds that stay: wanted, routed to, or among the last `keep` that were current."""
    wanted = {config.deployment.target, seen.current, seen.ramping and seen.ramping.build_id}
    former = [
        version
        for version in seen.versions
        if version.last_current_at is not None
        and version.build_id not in wanted
        and not version.blocked
    ]
    former.sort(key=lambda version: (version.last_current_at, version.build_id), reverse=True)
    warm = {version.build_id for version in former[: config.sunset.keep]}
    return frozenset(build_id for build_id in {*wanted, *warm} if build_id)


def _needed_again(version: Version) -> bool:
    """Whether runs that need it are open on a version whose workers have been stopped.

    A blocked build is a person's, who may have good reason to keep it down.
    """
    down = version.stopped or version.partly_stopped
    return bool(version.holding) and down and not version.blocked


def _farewell(
    config: RolloutConfig, seen: Observation, version: Version, now: datetime
) -> Action | None:
    """The next step of stop, remove and delete, where its time has come."""
    idle_since = _idle_since(config, seen, version)
    verdict = safe_to_stop(seen, version.build_id, config.deployment.target, now)
    if idle_since is None or not verdict.safe_to_stop:
        return None
    if version.process in ("STOPPING", "UNKNOWN"):
        return None
    if version.process is not None and not version.stopped:
        due = _due(idle_since, config.sunset.stop, now)
        return StopProgram(version.build_id) if due else None
    if not _due(idle_since, config.sunset.delete, now):
        return None
    if version.process is not None:
        return RemoveProgram(version.build_id)
    # Its program is gone from here; elsewhere one may be left, or a worker still poll.
    is_gone = version.workers == 0 and not others_with(seen, version.build_id)
    return DeleteVersion(version.build_id) if is_gone else None


def _idle_since(config: RolloutConfig, seen: Observation, version: Version) -> datetime | None:
    """Since when nothing needs the version; None while something may.

    A version that never had traffic, or only its gate, is only superseded once a target that
    came after it is current: until then it may be the next one. A drained version whose
    workers somebody has started again is wanted for something.
    """
    if version.status == "drained" and version.drained_since and not version.gate_only:
        return max(version.drained_since, version.started_at or version.drained_since)
    target = seen.version(config.deployment.target)
    if (
        version.status in ("inactive", "drained")
        and version.first_activated_at is None
        and version.created_at is not None
        and target.created_at is not None
        and version.created_at < target.created_at
        and seen.current == target.build_id
    ):
        return seen.current_changed_at
    return None


def _due(since: datetime, delay: float, now: datetime) -> bool:
    return math.isfinite(delay) and now - since >= timedelta(seconds=delay)
