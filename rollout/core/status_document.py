"""Pure: the status as scripts read it, an observation and the plan made from it as one document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.host_notes import Host
from rollout.core.hosts import hosts_of
from rollout.core.observation import Observation
from rollout.core.shares import real_samples, real_share
from rollout.core.verdict import safe_to_stop, target_share, version_set_of, warnings

__all__ = ["Source", "status_document"]


@dataclass(frozen=True)
class Source:
    """Who looked, where, and what else there is to say."""

    name: Literal["controller", "direct"] = "direct"
    """The controller, or whoever shows it, by a look of its own."""
    address: str = ""
    """Of the server."""
    told: Sequence[str] = ()
    """Warnings beside those of what was seen, a sentence each."""


def status_document(
    config: RolloutConfig,
    seen: Observation,
    decided: Plan,
    now: datetime,
    source: Source | None = None,
) -> dict[str, Any]:
    """The document of ``rollout status --json``, whose keys are a contract; JSON can hold it."""
    source = source or Source()
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
        "observed_at": seen.oldest.isoformat(),
        "age_seconds": round(max(0.0, (now - seen.oldest).total_seconds()), 3),
        "source": source.name,
        "server": {"address": source.address, "namespace": seen.namespace},
        "unassigned_runs": seen.unassigned,
        "hosts": None if seen.hosts is None else [_host(host, now) for host in seen.hosts],
        "warnings": [*source.told, *warnings(seen), *seen.problems],
        "versions": [_version(seen, version.build_id, target, now) for version in seen.versions],
    }


def _version(seen: Observation, build_id: str, target: str, now: datetime) -> dict[str, Any]:
    version = seen.version(build_id)
    verdict = safe_to_stop(seen, build_id, target, now)
    real = real_share(seen, build_id)
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
        "real_share": None if real is None else round(real, 4),
        "real_samples": None if real is None else real_samples(seen),
        "open_runs": version.open_runs,
        "open_runs_at": _no_later(version.counted_at, seen),
        "open_pinned": version.open_pinned,
        "open_auto_upgrade": _less(version.open_runs, version.open_pinned),
        "waiting_tasks": version.backlog,
        "waiting_age_seconds": version.waiting_age,
        "waiting_at": _no_later(version.described_at, seen),
        "workers": version.workers,
        "hosts": dict(hosts_of(seen, build_id)),
        "process": version.process,
        "safe_to_stop": verdict.safe_to_stop,
        "evidence": [
            {"check": point.check, "ok": point.ok, "detail": point.detail}
            for point in verdict.evidence
        ],
    }


def _host(host: Host, now: datetime) -> dict[str, Any]:
    heard = host.heard_at
    return {
        "name": host.name,
        "hostname": host.hostname,
        "silent": host.silent,
        "age_seconds": round(max(0.0, (now - heard).total_seconds()), 3) if heard else None,
        "builds": dict(host.builds),
    }


def _no_later(asked_at: datetime | None, seen: Observation) -> str:
    """When a part of a version was asked for, in RFC 3339."""
    return min(asked_at or seen.oldest, seen.oldest).isoformat()


def _less(whole: int | None, part: int | None) -> int | None:
    """``whole`` without ``part``; None where either is not known."""
    return None if whole is None or part is None else max(0, whole - part)
