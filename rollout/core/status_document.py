"""Pure: the status as scripts read it, an observation and the plan made from it as one document."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.observation import Observation
from rollout.core.verdict import safe_to_stop, target_share, version_set_of, warnings

__all__ = ["status_document"]


def status_document(
    config: RolloutConfig,
    seen: Observation,
    decided: Plan,
    now: datetime,
    told: Sequence[str] = (),
) -> dict[str, Any]:
    """The document of ``rollout status --json``, whose keys are a contract; JSON can hold it.

    ``told`` are warnings beside those of ``seen`` itself.
    """
    target = config.deployment.target
    return {
        "deployment": seen.deployment,
        "namespace": seen.namespace,
        "target": target,
        "current": seen.current,
        "ramping": {"build_id": seen.ramping.build_id, "percentage": seen.ramping.percentage}
        if seen.ramping
        else None,
        "paused": config.deployment.paused,
        "manager": seen.manager or None,
        "phase": decided.phase,
        "reason": decided.reason,
        "warnings": [*told, *warnings(seen), *seen.problems],
        "versions": [_version(seen, version.build_id, target, now) for version in seen.versions],
    }


def _version(seen: Observation, build_id: str, target: str, now: datetime) -> dict[str, Any]:
    version = seen.version(build_id)
    verdict = safe_to_stop(seen, build_id, target, now)
    return {
        "build_id": build_id,
        "status": version.status,
        "strategy": version.strategy,
        "set": version_set_of(seen, build_id),
        "behavior": version.behavior,
        "behavior_exceptions": version.behavior_exceptions,
        "blocked": version.blocked,
        "verified": dict(version.verified),
        "drained_since": version.drained_since.isoformat() if version.drained_since else None,
        "target_share": round(target_share(seen, build_id), 4),
        "open_runs": version.open_runs,
        "workers": version.workers,
        "process": version.process,
        "safe_to_stop": verdict.safe_to_stop,
        "evidence": [
            {"check": point.check, "ok": point.ok, "detail": point.detail}
            for point in verdict.evidence
        ],
    }
