"""Pure: the four questions of whoever looks at an upgrade, and the answers to them in words.

Which build gets new runs, how far is the drain, is anything worse than before, may the old build
be stopped? What is not known is said to be so, and is never good news.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from rollout.core.config import RolloutConfig
from rollout.core.drain import drain_of
from rollout.core.judge import Judgement, judge
from rollout.core.observation import Measurements, Observation, Version
from rollout.core.shares import real_samples, real_share, target_share
from rollout.core.verdict import safe_to_stop
from rollout.page.memory import Sample

__all__ = ["Answer", "Look", "answers", "old_build"]

Tone = Literal["good", "calm", "warn", "bad", "unknown"]


@dataclass(frozen=True)
class Answer:
    """One question with its answer."""

    question: str
    answer: str
    """In a few words."""
    tone: Tone
    text: str = ""
    """One sentence more."""
    build_id: str | None = None
    """The build that it is about."""


@dataclass(frozen=True)
class Look:
    """What the answers are made from."""

    config: RolloutConfig
    seen: Observation
    now: datetime
    past: Sequence[Sample] = ()
    """The last looks, the oldest first."""
    compared: Measurements | None = None
    """Old against new where nothing ramps any more; None: not compared."""

    @property
    def target(self) -> str:
        """The build that is wanted."""
        return self.config.deployment.target


def answers(look: Look) -> tuple[Answer, ...]:
    """All four, in the order in which they are asked."""
    return _new_runs(look), _drain(look), _worse(look), _stop(look)


def old_build(seen: Observation, target: str) -> Version | None:
    """The build that is to be stopped one day: the current one, or the last that was current."""
    if seen.current and seen.current != target:
        return seen.version(seen.current)
    others = [v for v in seen.versions if v.build_id != target and v.first_activated_at]

    def order(version: Version) -> tuple[bool, float]:
        ended = version.deactivated_at or version.last_current_at
        left = version.open_runs != 0 or bool(version.workers) or not version.stopped
        return left, ended.timestamp() if ended else 0.0

    return max(others, key=order, default=None)


def _new_runs(look: Look) -> Answer:
    seen = look.seen
    meant = [(v.build_id, target_share(seen, v.build_id)) for v in seen.versions]
    shares = sorted((each for each in meant if each[1] > 0), key=lambda each: -each[1])
    question = "Which build gets new runs?"
    if not shares:
        return Answer(question, "None", "bad", "no build is current: new runs wait")
    said = ", ".join(f"{build_id} {_percent(share)}" for build_id, share in shares)
    total = real_samples(seen)
    if seen.ramping is None:
        told = "all of them, as meant" if seen.routing_settled else "meant; still on its way"
        return Answer(question, said, "calm", told)
    if not total:
        return Answer(question, said, "calm", "meant; none has been counted yet")
    real = ", ".join(f"{b} {_percent(real_share(seen, b) or 0.0)}" for b, _ in shares)
    runs = "run" if total == 1 else "runs"
    return Answer(question, said, "calm", f"really {real}, of {total:,} {runs} since this step")


def _drain(look: Look) -> Answer:
    question = "How far is the drain?"
    draining = [v for v in look.seen.versions if v.status == "draining"]
    if not draining:
        return _no_drain(look, question)
    version = max(draining, key=lambda v: math.inf if v.holding is None else v.holding)
    name = version.build_id
    if version.holding is None:
        return Answer(question, "Not known", "unknown", f"{name} could not be counted", name)
    left = f"{version.holding:,} {'run' if version.holding == 1 else 'runs'} left"
    if version.holding == 0:
        told = f"{name} has none; the server has yet to say that it is drained"
        return Answer(question, "0 runs left", "calm", told, name)
    drain = drain_of([(s.at, s.builds[name].holding) for s in look.past if name in s.builds])
    if drain is None or drain.pace is None:
        return Answer(question, left, "calm", f"on {name}", name)
    if drain.seconds is None:
        return Answer(question, left, "warn", f"on {name}, and not becoming fewer", name)
    told = f"on {name}; at this pace none in about {_about(drain.seconds)}"
    return Answer(question, left, "calm", told, name)


def _no_drain(look: Look, question: str) -> Answer:
    old = old_build(look.seen, look.target)
    if old is None:
        return Answer(question, "Nothing to drain", "calm", "there is no older build")
    name = old.build_id
    if target_share(look.seen, name) > 0:
        count = "an unknown number of" if old.open_runs is None else f"{old.open_runs:,}"
        runs = "run is" if old.open_runs == 1 else "runs are"
        told = f"{name} still gets new runs; {count} {runs} open on it"
        return Answer(question, "Not begun", "calm", told, name)
    if old.status == "drained" and old.holding == 0:
        since = f" since {old.drained_since:%H:%M:%S} UTC" if old.drained_since else ""
        return Answer(question, "Done", "good", f"{name} is drained{since}", name)
    if old.holding is None:
        return Answer(question, "Not known", "unknown", f"{name} could not be counted", name)
    told = f"on {name}, which the server calls {old.shown_status}"
    return Answer(question, f"{old.holding:,} runs left", "warn", told, name)


def _worse(look: Look) -> Answer:
    question = "Is anything worse?"
    target = look.seen.version(look.target)
    if target.blocked:
        told = f"{target.build_id} was rolled back: {target.blocked}"
        return Answer(question, "Yes", "bad", told, target.build_id)
    ramps = look.seen.ramping is not None and look.seen.ramping.build_id == look.target
    if look.config.analysis is None:
        told = "rollout.toml has no [analysis]: nobody compares"
        return Answer(question, "Not compared", "unknown" if ramps else "calm", told)
    if look.seen.current != look.target and not ramps:
        told = f"{look.target} gets no new runs yet"
        return Answer(question, "Nothing to compare yet", "calm", told)
    measured = look.seen.measurements if ramps else look.compared
    if measured is None:
        return _unmeasured(look, question, ramps=ramps)
    found = judge(look.config.analysis, measured, held=-1.0)
    word, tone = _judged(found)
    return Answer(question, word, tone, found.reason, look.target)


def _unmeasured(look: Look, question: str, *, ramps: bool) -> Answer:
    old = old_build(look.seen, look.target)
    if not ramps and (old is None or old.workers == 0):
        told = "no older build has a worker beside it"
        return Answer(question, "Nothing to compare", "calm", told)
    if not ramps and look.config.analysis and look.config.analysis.source == "server":
        told = "the server counts only while new runs are divided"
        return Answer(question, "Not compared", "calm", told)
    return Answer(question, "Not known yet", "unknown", "nothing has been measured yet")


def _judged(found: Judgement) -> tuple[str, Tone]:
    if found.outcome == "rollback":
        return "Yes", "bad"
    if found.outcome == "advance":
        return "No", "good"
    if found.about.startswith(("failures of", "slow:")):
        return "Perhaps", "warn"
    return "Not known yet", "unknown"


def _stop(look: Look) -> Answer:
    old = old_build(look.seen, look.target)
    if old is None:
        told = "there is none"
        return Answer("May I stop an old build?", "Nothing to stop", "calm", told)
    name = old.build_id
    question = f"May I stop {name}?"
    verdict = safe_to_stop(look.seen, name, look.target, look.now)
    # That the server says "draining" is the least telling: it follows from the others.
    points_against = [point for point in verdict.evidence if not point.ok]
    points_against.sort(key=lambda point: point.check == "server_status")
    against = [point.detail for point in points_against]
    if not against:
        points = f"all {len(verdict.evidence)} points hold"
        stopped = "; it is stopped" if old.stopped and not old.workers else ""
        return Answer(question, "Yes", "good", f"{points}{stopped}", name)
    more = f", and {len(against) - 1} more" if len(against) > 1 else ""
    return Answer(question, "No", "warn", f"{against[0]}{more}", name)


def _percent(share: float) -> str:
    if 0 < share < 0.005:
        return "<1 %"
    return f"{100 * share:.0f} %"


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds / 10) * 10} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    length = timedelta(seconds=seconds)
    return f"{length.days} d" if length.days > 1 else f"{round(seconds / 3600)} h"
