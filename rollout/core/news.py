"""Pure: what has happened between two looks that somebody may want to be told of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

from rollout.core.actions import Plan
from rollout.core.config import Occasion, RolloutConfig
from rollout.core.observation import Observation, Ramp
from rollout.core.verdict import safe_to_stop

__all__ = ["Known", "News", "news"]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What has been told already, so that nothing is told twice; also not after a restart."""

    current: str | None = None
    ramping: Ramp | None = None
    blocked: dict[str, str] = {}
    """Why, by build."""
    needs_a_person: str = ""
    """For what; empty where nothing does."""
    held: str = ""
    """The step that is held for too long."""
    complete: str = ""
    """The last target that took all new runs."""
    safe: tuple[str, ...] = ()
    """The builds that are safe to stop, and have not been needed since."""


@dataclass(frozen=True)
class News:
    """One thing that has happened, in a sentence."""

    event: Occasion
    text: str
    build_id: str | None = None


@dataclass(frozen=True)
class _Look:
    config: RolloutConfig
    seen: Observation
    decided: Plan
    now: datetime
    held: float

    @property
    def target(self) -> str:
        return self.config.deployment.target


def news(  # noqa: PLR0913 - one round of the controller
    known: Known | None,
    config: RolloutConfig,
    seen: Observation,
    decided: Plan,
    now: datetime,
    *,
    held: float,
) -> tuple[tuple[News, ...], Known]:
    """What is new in this look, and what is known from now on; without ``known`` nothing is new.

    ``held`` is for how many seconds analysis has held the step.
    """
    look = _Look(config, seen, decided, now, held)
    before = known or Known()
    after = Known(
        current=seen.current,
        ramping=seen.ramping,
        blocked=_blocked(look, before),
        needs_a_person=_needs_a_person(look, before),
        held=_held(look, before),
        complete=look.target if decided.phase == "complete" else before.complete,
        safe=_safe(look, before),
    )
    return (() if known is None else tuple(_told(look, before, after))), after


def _told(look: _Look, before: Known, after: Known) -> Iterator[News]:
    reason, target = look.decided.reason, look.target
    if (before.current, before.ramping) != (after.current, after.ramping):
        yield _routing(before, after)
    for build_id, why in after.blocked.items():
        if before.blocked.get(build_id) != why:
            yield News("rollback", f"{build_id} is rolled back: {why}", build_id)
    if after.needs_a_person not in ("", before.needs_a_person):
        yield News("block", f"{target} needs a person: {reason}", target)
    if after.held not in ("", before.held):
        yield News("hold", f"{target} is {reason}, for longer than max_hold", target)
    if after.complete != before.complete:
        yield News("complete", reason, target)
    for build_id in after.safe:
        if build_id not in before.safe:
            yield News("safe-to-stop", f"{build_id} is safe to stop", build_id)


def _routing(before: Known, after: Known) -> News:
    rest = f"{after.current or 'workers without a version'}"
    if after.ramping:
        share = f"{after.ramping.percentage:g} % of new runs go to {after.ramping.build_id}"
        return News("routing", f"{share}, the others to {rest}", after.ramping.build_id)
    was = before.ramping
    back = was is not None and was.build_id != after.current
    told = f", and none to {was.build_id} any more" if was and back else ""
    return News("routing", f"all new runs go to {rest}{told}", after.current)


def _blocked(look: _Look, before: Known) -> dict[str, str]:
    """Why each build gets no traffic; as before where that could not be read just now."""
    found = {}
    for version in look.seen.versions:
        build_id = version.build_id
        why = version.blocked if version.described else before.blocked.get(build_id)
        if why:
            found[build_id] = why
    return found


def _needs_a_person(look: _Look, before: Known) -> str:
    """What blocks the rollout, beside a rollback, which is told by itself."""
    if look.decided.phase == "waiting":
        return before.needs_a_person  # a look that failed is no end of it
    rolled_back = look.seen.version(look.target).blocked or look.decided.actions
    if look.decided.phase != "blocked" or rolled_back:
        return ""
    return repr((look.target, look.decided.news))


def _held(look: _Look, before: Known) -> str:
    analysis, ramping = look.config.analysis, look.seen.ramping
    if analysis is None or ramping is None:
        return ""
    step = f"{ramping.build_id}@{ramping.percentage:g}"
    if look.decided.holds and look.held > analysis.max_hold:
        return step
    return before.held if before.held == step else ""


def _safe(look: _Look, before: Known) -> tuple[str, ...]:
    """The builds whose workers live and are needed by nobody; one doubtful look changes nothing."""
    found = []
    for version in look.seen.versions:
        build_id = version.build_id
        lives = bool(version.workers) or version.process == "RUNNING"
        is_safe = safe_to_stop(look.seen, build_id, look.target, look.now).safe_to_stop
        needed = version.status in ("current", "ramping") or bool(version.holding)
        if (lives and is_safe) or (build_id in before.safe and not needed):
            found.append(build_id)
    return tuple(found)
