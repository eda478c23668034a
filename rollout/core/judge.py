"""Pure: what the measurements of target and current call for: advance, hold, or roll back.

A rollback needs proof; advancing needs enough samples and nothing that speaks
against it; everything between holds the traffic where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from rollout.base.durations import about
from rollout.core.confidence import lower_bound, upper_bound
from rollout.core.config import Analysis, Check
from rollout.core.observation import BuildSample, Measurements

__all__ = ["Judgement", "Rate", "judge", "rates", "slowest_allowed"]

FALSE_ALARMS = 0.01
"""So many sound builds at the most are rolled back for their failures, however long and however
often they are looked at; of a rollout of four steps, and failures that do not come in clusters."""

_ERROR = FALSE_ALARMS / (3 * 2 * 4)
"""...of which each bound has its part: of two builds, for three kinds of work, at four steps."""


@dataclass(frozen=True)
class Judgement:
    """What to do with the ramp, and the one sentence that says why."""

    outcome: Literal["advance", "hold", "rollback"]
    reason: str
    about: str = field(default="", compare=False)
    """What the reason speaks of: it stays equal while the numbers in it run on."""


def judge(analysis: Analysis, seen: Measurements | None, held: float) -> Judgement:
    """What ``seen`` calls for; ``held`` is how many seconds the step is over its pause.

    ``held`` is negative while the pause lasts, and only matters to ``max_hold``.

    * Roll back: the target broke determinism; a check is out of its bounds; or, of at least
      ``min_samples``, more of the target's workflow tasks, activities or workflows fail than
      of the current build's, by more than ``failure_ratio`` and more than chance explains.
    * Hold: Prometheus, or the server, cannot be asked; a check has no value; more fail, but that
      may be chance; too few samples; the target is slow. Held longer than ``max_hold``, a step does
      what ``then`` says.
    * Advance: none of these.
    """
    if seen is None:
        return _hold(analysis, _Point("measurements", "nothing has been measured yet"), held)
    if seen.problem:
        asked = "the server" if seen.source == "server" else "Prometheus"
        reason = f"{asked} cannot be asked: {seen.problem}; traffic stays"
        return _hold(analysis, _Point(asked, reason), held)
    if proof := next(_proofs(analysis, seen), None):
        return Judgement("rollback", proof.told, proof.about)
    if doubt := next(_doubts(analysis, seen), None):
        return _hold(analysis, doubt, held)
    return Judgement("advance", _all_well(seen), "all well")


def slowest_allowed(analysis: Analysis, current: float) -> float:
    """The target's p95 may be this many seconds where the current build's is ``current``."""
    return max(current * analysis.latency_ratio, current + analysis.latency_slack)


class _Point(NamedTuple):
    """Something that speaks against the target: what it is about, and the sentence that says it."""

    about: str
    told: str


def _hold(analysis: Analysis, doubt: _Point, held: float) -> Judgement:
    """Hold for the ``doubt``; held too long, the step does what ``then`` says."""
    if held <= analysis.max_hold:
        return Judgement("hold", doubt.told, doubt.about)
    over = f"held for {held:.0f} s, longer than max_hold ({analysis.max_hold:.0f} s)"
    about = f"{doubt.about}, held too long"
    if analysis.then == "rollback":
        return Judgement("rollback", f"{over}: {doubt.told}", about)
    decide = "a person must decide: `rollout promote` or `rollout rollback`"
    return Judgement("hold", f"{doubt.told}; {over}, {decide}", about)


def _proofs(analysis: Analysis, seen: Measurements) -> Iterator[_Point]:
    """What is enough to roll the target back."""
    if seen.target.non_determinism > 0:
        broken = max(1, round(seen.target.non_determinism))
        where = f"{max(broken, round(seen.target.tasks))} workflow tasks"
        told = (
            f"the code of {seen.target.build_id} does not match the history of its runs: "
            f"non-determinism in {broken} of its "
            f"{'open runs' if seen.source == 'server' else where}"
        )
        yield _Point("non-determinism", told)
    for check, value in _values(analysis, seen):
        if value is not None and (bound := _broken(check, value)):
            yield _Point(f"check {check.name}", f"check {check.name} is {value:g}, {bound}")
    for rate in rates(seen):
        proven = rate.surplus_is_beyond(analysis.failure_ratio)
        if rate.executed >= analysis.min_samples and proven:
            yield _Point(f"failures of {rate.what}", rate.told())


def _doubts(analysis: Analysis, seen: Measurements) -> Iterator[_Point]:
    """What keeps the traffic where it is; the most telling comes first."""
    target = seen.target
    for rate in rates(seen):
        if rate.surplus > analysis.failure_ratio:
            told = f"{rate.told()}, which may still be chance"
            yield _Point(f"failures of {rate.what}", told)
    yield from _slow(analysis, seen)
    yield from (_Point(problem, problem) for problem in seen.check_problems)
    for check, value in _values(analysis, seen):
        if value is None:
            yield _Point(f"check {check.name}", f"check {check.name} has no value")
    samples = target.workflows + target.activities
    if samples < analysis.min_samples:
        work = "closed runs" if seen.source == "server" else "workflows and activities"
        told = (
            f"analysis short of samples: {samples:.0f} of {analysis.min_samples} "
            f"{work} of {target.build_id}"
            f"{_when_enough(samples, analysis.min_samples, seen.counted)}"
        )
        yield _Point("samples", told)


def _when_enough(samples: float, wanted: float, seconds: float) -> str:
    """When there will be as many as are ``wanted``, if they go on as in the last ``seconds``."""
    if seconds <= 0:
        return ""
    if samples < 1:
        return f"; none came in {about(seconds)}"
    return f"; at this rate in about {about((wanted - samples) * seconds / samples)}"


def _slow(analysis: Analysis, seen: Measurements) -> Iterator[_Point]:
    """How the target is slower than it may be."""
    target, current = seen.target, seen.current
    waits = (target.schedule_to_start_p95, current.schedule_to_start_p95)
    if min(target.tasks, current.tasks) < analysis.min_samples:
        waits = (None, None)
    for what, (slow, usual) in (
        ("workflow tasks wait for a worker", waits),
        # Measured of a type that both builds closed often enough, or not at all.
        (f"{seen.compared_type} runs take", (target.end_to_end_p95, current.end_to_end_p95)),
    ):
        if slow is None or usual is None or slow <= slowest_allowed(analysis, usual):
            continue
        told = (
            f"{target.build_id} is slow: its {what} {slow:.2g} s (p95), "
            f"those of {current.build_id} {usual:.2g} s"
        )
        yield _Point(f"slow: {what}", told)


def _values(analysis: Analysis, seen: Measurements) -> Iterator[tuple[Check, float | None]]:
    """Each check of rollout.toml with its value; one that was not measured has none."""
    measured = {result.name: result.value for result in seen.checks}
    for check in analysis.checks:
        yield check, measured.get(check.name)


def _broken(check: Check, value: float) -> str | None:
    if check.min is not None and value < check.min:
        return f"below its min of {check.min:g}"
    if check.max is not None and value > check.max:
        return f"above its max of {check.max:g}"
    return None


def _all_well(seen: Measurements) -> str:
    told = (f"{rate.failed:.0f} of {rate.executed:.0f} {rate.what}" for rate in rates(seen))
    return (
        f"{seen.target.build_id} does as well as {seen.current.build_id}: {', '.join(told)} failed"
    )


@dataclass(frozen=True)
class Rate:
    """How much of one kind of work failed on the target and on the current build."""

    what: str
    target: str
    failed: float
    executed: float
    current: str
    usually_failed: float
    usually_executed: float

    @property
    def surplus(self) -> float:
        """The target's ratio less the current one's; what never ran has not failed."""
        ratio = self.failed / self.executed if self.executed else 0.0
        usual = self.usually_failed / self.usually_executed if self.usually_executed else 0.0
        return ratio - usual

    def surplus_is_beyond(self, allowed: float) -> bool:
        """Whether more than ``allowed`` is proven, at all looks together (`confidence`).

        What the current build does not do at all, the target is judged on by itself.
        """
        if self.surplus <= allowed:
            return False
        if not self.usually_executed:
            return self.at_least > allowed
        return self.at_least - self.usually_at_most > allowed

    @property
    def at_least(self) -> float:
        """What the target's ratio is proven to be above, at all looks together."""
        return lower_bound(self.failed, self.executed, _ERROR)

    @property
    def usually_at_most(self) -> float:
        """What the current build's ratio is proven to be below, at all looks together."""
        return upper_bound(self.usually_failed, self.usually_executed, _ERROR)

    def told(self) -> str:
        """The numbers, as a sentence."""
        ratio = self.failed / self.executed if self.executed else 0.0
        usual = self.usually_failed / self.usually_executed if self.usually_executed else 0.0
        return (
            f"{ratio:.0%} of {self.target}'s {self.what} failed "
            f"({self.failed:.0f} of {self.executed:.0f}), {usual:.0%} of {self.current}'s "
            f"({self.usually_failed:.0f} of {self.usually_executed:.0f})"
        ).replace("%", " %")


def rates(seen: Measurements) -> tuple[Rate, ...]:
    """What was counted and what of it failed, of each kind of work that ``seen`` tells apart."""

    def rate(what: str, failures: str, executions: str) -> Rate:
        def pair(sample: BuildSample) -> tuple[float, float]:
            executed: float = getattr(sample, executions)
            # Both are counted apart, a scrape may come between them.
            return min(getattr(sample, failures), executed), executed

        return Rate(
            what,
            seen.target.build_id,
            *pair(seen.target),
            seen.current.build_id,
            *pair(seen.current),
        )

    if seen.source == "server":
        return (rate("runs", "workflow_failures", "workflows"),)
    return (
        rate("workflow tasks", "task_failures", "tasks"),
        rate("activities", "activity_failures", "activities"),
        rate("workflows", "workflow_failures", "workflows"),
    )
