"""The warnings that are told beside what was seen, whoever tells them."""

from __future__ import annotations

from rollout.controller.last_good import warning_of
from rollout.controller.snapshot import Snapshot
from rollout.core.config import RolloutConfig
from rollout.core.observation import Observation
from rollout.core.sunset import kept
from rollout.core.version_limit import deletable, warning

__all__ = ["limit_warnings", "told_by"]


def told_by(last: Snapshot, config: RolloutConfig) -> list[str]:
    """The warnings of a controller beside those of what it saw."""
    broken = [warning_of(last.config_problem)] if last.config_problem else []
    unread = [f"the newest look failed: {last.unread}"] if last.unread else []
    limits = limit_warnings(config, last.observation) if last.observation else []
    return [*broken, *last.standing, *unread, *last.refusals, *limits]


def limit_warnings(config: RolloutConfig, seen: Observation) -> list[str]:
    """Whether the server will soon take no further version."""
    spare = deletable(seen, config.deployment.target, kept(config, seen))
    limit = warning(seen, config.limits.versions, spare)
    return [limit] if limit else []
