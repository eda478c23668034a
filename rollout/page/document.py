"""Pure: what the page shows at one moment, as plain data that JSON can hold.

It is for our own page alone and may change with it; scripts read ``/api/v1/status``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rollout.core.actions import Plan
from rollout.core.colours import build_colours
from rollout.core.config import RolloutConfig
from rollout.core.observation import BuildSample, Measurements, Observation, Version
from rollout.core.status_document import Source, status_document
from rollout.core.steps import step_marks
from rollout.core.work import work_of
from rollout.page.answers import Look, answers, old_build
from rollout.page.memory import Memory

__all__ = ["FRESH", "Told", "document", "overview"]

FRESH = 15.0
"""Seconds after which what was seen is no longer shown as what is."""

_EVENTS = 40


@dataclass(frozen=True)
class Told:
    """What a controller has to tell of one deployment."""

    deployment: str
    config: RolloutConfig | None
    seen: Observation | None
    """The last look that succeeded; None before it."""
    decided: Plan | None
    unread: str | None
    """Why the newest look failed; None where it did not."""
    address: str
    """Of the server."""
    warnings: Sequence[str]
    memory: Memory


def overview(each: Iterable[Told]) -> list[dict[str, Any]]:
    """A line of each deployment."""
    return [
        {
            "deployment": told.deployment,
            "target": told.config.deployment.target if told.config else None,
            "current": told.seen.current if told.seen else None,
            "phase": told.decided.phase if told.decided else None,
        }
        for told in each
    ]


def document(told: Told, now: datetime, compared: Measurements | None = None) -> dict[str, Any]:
    """Everything of one deployment at ``now``, but for the past.

    ``compared`` is old against new where nothing ramps any more; None: not compared.
    """
    shown: dict[str, Any] = {
        "deployment": told.deployment,
        "server": told.address,
        "unread": told.unread,
        "fresh_seconds": FRESH,
        "status": None,
        "events": _events(told),
    }
    config, seen, decided = told.config, told.seen, told.decided
    if config is None or seen is None or decided is None:
        return shown
    source = Source("controller", told.address, told.warnings)
    look = Look(config, seen, now, told.memory.samples(), compared)
    old = old_build(seen, config.deployment.target)
    return {
        **shown,
        "status": status_document(config, seen, decided, now, source),
        "colours": build_colours(v.build_id for v in _by_age(seen.versions)),
        "steps": [asdict(mark) for mark in step_marks(config, seen, now)],
        "answers": [asdict(answer) for answer in answers(look)],
        "old": old.build_id if old else None,
        "comparison": _comparison(seen.measurements if seen.ramping else compared),
    }


def _by_age(versions: Sequence[Version]) -> list[Version]:
    """The oldest first, and those that the server does not know last."""

    def order(version: Version) -> tuple[bool, float, str]:
        made = version.created_at
        return made is None, made.timestamp() if made else 0.0, version.build_id

    return sorted(versions, key=order)


def _events(told: Told) -> list[dict[str, Any]]:
    """The last ones, the newest first; ``did`` says whether the controller did it."""
    found = [(each.at, each.text, True) for each in told.memory.deeds()]
    found += [(each.at, each.text, False) for each in told.memory.changes()]
    last = sorted(found, key=lambda each: each[0], reverse=True)[:_EVENTS]
    return [{"at": at.isoformat(), "text": text, "did": did} for at, text, did in last]


def _comparison(seen: Measurements | None) -> dict[str, Any] | None:
    """The judge's own numbers: of the old build first, then of the new one."""
    if seen is None:
        return None
    pair = (seen.current, seen.target)
    return {
        "old": seen.current.build_id,
        "new": seen.target.build_id,
        "source": seen.source,
        "counted_seconds": seen.counted,
        "window_seconds": seen.window,
        "problem": seen.problem,
        "type": seen.compared_type,
        "failures": [] if seen.problem else _failures(seen, pair),
        "latencies": [] if seen.problem else _latencies(seen, pair),
        "checks": [asdict(check) for check in seen.checks],
    }


def _failures(seen: Measurements, pair: tuple[BuildSample, BuildSample]) -> list[dict[str, Any]]:
    return [
        {
            "what": old.what,
            "builds": [{"failed": round(w.failed), "of": round(w.executed)} for w in (old, new)],
        }
        for old, new in zip(*(work_of(seen, each) for each in pair), strict=True)
    ]


def _latencies(seen: Measurements, pair: tuple[BuildSample, BuildSample]) -> list[dict[str, Any]]:
    if seen.source == "server":
        return []
    of = f" of {seen.compared_type}" if seen.compared_type else ""
    return [
        {"what": what, "builds": [getattr(each, name) for each in pair]}
        for what, name in (
            (f"start to end{of}, p95", "end_to_end_p95"),
            ("wait for a worker, p95", "schedule_to_start_p95"),
        )
    ]
