"""Why a rollout is where it is, as metrics: what the last round that succeeded has found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import get_args

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rollout.core.actions import BLOCKS, Kind, Phase, Plan
from rollout.core.config import RolloutConfig
from rollout.core.judge import judge, rates, slowest_allowed
from rollout.core.observation import GateRun, Measurements, Observation
from rollout.core.takeover import UNTRIED

__all__ = ["Reasons", "Round"]

_SCOPE = ("namespace", "deployment_name")
_BUILD = "build_id"
_OUTCOMES = ("advance", "hold", "rollback")
_GATE_OUTCOMES = ("running", "passed", "failed")
_REPLAY_OUTCOMES = ("passed", "failed", "untried")


def _names(all_: tuple[str, ...]) -> str:
    return ", ".join(all_)


_FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "blocked": (
        f"Whether the rollout waits for a person because of this (1) or not (0): {_names(BLOCKS)}.",
        ("kind",),
    ),
    "reason_since_seconds": (
        (
            "Since when this controller has found this phase and kind of reason, in seconds since "
            f"1970; of the present one alone. The kinds are {_names(get_args(Kind))}."
        ),
        ("phase", "kind"),
    ),
    "held": ("Whether analysis holds the step where it is (1) or not (0).", ()),
    "held_seconds": ("For how long analysis has held the present step, in all.", ()),
    "held_limit_seconds": ("max_hold of [analysis]; absent without it.", ()),
    "analysis_measured": (
        "Whether the analysis got its numbers (1) or not (0); absent while nothing is judged.",
        (),
    ),
    "analysis_outcome": (
        "Whether the numbers call for this (1) or not (0); absent while nothing is judged.",
        ("outcome",),
    ),
    "analysis_executions": (
        "What the analysis has counted since the last change of traffic.",
        (_BUILD, "side", "work"),
    ),
    "analysis_failures": ("What of them failed.", (_BUILD, "side", "work")),
    "analysis_failure_bound_ratio": (
        (
            "The failure ratio of the target is proven to be above this, that of the current build "
            "below it; 0 to 1."
        ),
        (_BUILD, "side", "work"),
    ),
    "analysis_failure_limit_ratio": (
        "failure_ratio of [analysis]: a larger distance between the two bounds rolls back.",
        (),
    ),
    "analysis_samples_limit": ("min_samples of [analysis].", ()),
    "analysis_non_determinism": (
        (
            "Workflow tasks of the target (by the server's counts: runs) whose code does not match "
            "the history; one rolls back."
        ),
        (_BUILD,),
    ),
    "analysis_latency_seconds": (
        "The 95th percentile that the analysis compares; absent with too few samples.",
        (_BUILD, "side", "latency"),
    ),
    "analysis_latency_limit_seconds": (
        "What the target's may be, by the current build's; beyond it the step is held.",
        ("latency",),
    ),
    "analysis_check_value": ("The value of a check of rollout.toml.", ("check",)),
    "gate_outcome": (
        (
            "Whether the last try of the target's gate is at this (1) or not (0); absent where "
            "none was looked at."
        ),
        (_BUILD, "task_queue", "outcome"),
    ),
    "gate_attempt": ("Which try of the gate that is, from 1.", (_BUILD, "task_queue")),
    "replay_outcome": (
        "Whether the replay of the source's runs on the target came to this (1) or not (0).",
        (_BUILD, "source", "outcome"),
    ),
    "version_limit": ("[limits] versions: so many a deployment the server takes.", ()),
}


@dataclass(frozen=True)
class Round:
    """One round that succeeded."""

    config: RolloutConfig
    seen: Observation
    decided: Plan
    held: float
    """Seconds for which analysis has held the step."""
    since: datetime
    """When it was; `Reasons` keeps when its phase and kind of reason were first found."""

    @property
    def what(self) -> tuple[Phase, Kind]:
        """What ``since`` is about."""
        return self.decided.phase, self.decided.kind


class Reasons(Collector):
    """Of all deployments that are followed. Written by the loop, read by scrapes' threads."""

    def __init__(self) -> None:
        self._rounds: Mapping[str, Round] = {}

    def saw(self, found: Round) -> None:
        """Take ``found`` as the last round of its deployment."""
        name = found.seen.deployment
        before = self._rounds.get(name)
        if before is not None and before.what == found.what:
            found = replace(found, since=before.since)
        # Each time another mapping: a thread may be reading it.
        self._rounds = {**self._rounds, name: found}

    def forget(self, deployment: str) -> None:
        """Take its series out."""
        self._rounds = {k: v for k, v in self._rounds.items() if k != deployment}

    def collect(self) -> Iterable[Metric]:
        """Every series of one scrape; what is not known has none."""
        families = {
            name: GaugeMetricFamily(f"rollout_{name}", told, labels=(*_SCOPE, *labels))
            for name, (told, labels) in _FAMILIES.items()
        }
        for last in self._rounds.values():
            for name, labels, value in _samples(last):
                scope = (last.seen.namespace, last.seen.deployment)
                families[name].add_metric((*scope, *labels), value)
        return families.values()


Sample = tuple[str, tuple[str, ...], float]


def _samples(last: Round) -> Iterator[Sample]:
    phase, kind = last.what
    blocked = kind if phase == "blocked" else None
    for each in BLOCKS:
        yield "blocked", (each,), each == blocked
    yield "reason_since_seconds", (phase, kind), last.since.timestamp()
    yield "held", (), last.decided.holds
    yield "held_seconds", (), last.held
    yield "version_limit", (), last.config.limits.versions
    yield from _analysis(last.config, last.seen)
    yield from _gates(last.config, last.seen)
    yield from _replays(last.config, last.seen)


def _one_of(
    name: str, labels: tuple[str, ...], all_: tuple[str, ...], is_: str
) -> Iterator[Sample]:
    for each in all_:
        yield name, (*labels, each), each == is_


def _analysis(config: RolloutConfig, seen: Observation) -> Iterator[Sample]:
    """The judge's limits, and where it judges its numbers and its word."""
    analysis, target = config.analysis, config.deployment.target
    if analysis is None:
        return
    yield "held_limit_seconds", (), analysis.max_hold
    yield "analysis_failure_limit_ratio", (), analysis.failure_ratio
    yield "analysis_samples_limit", (), analysis.min_samples
    if seen.ramping is None or seen.ramping.build_id != target:
        return
    found = seen.measurements
    measured = found is not None and found.problem is None
    yield "analysis_measured", (), measured
    word = judge(analysis, found, held=0.0)
    yield from _one_of("analysis_outcome", (), _OUTCOMES, word.outcome)
    if found is None or not measured:
        return
    yield from _counts(found)
    yield "analysis_non_determinism", (target,), found.target.non_determinism
    for latency, slow, usual in (
        (
            "schedule_to_start",
            found.target.schedule_to_start_p95,
            found.current.schedule_to_start_p95,
        ),
        ("end_to_end", found.target.end_to_end_p95, found.current.end_to_end_p95),
    ):
        if slow is not None:
            labels = (found.target.build_id, "target", latency)
            yield "analysis_latency_seconds", labels, slow
        if usual is not None:
            labels = (found.current.build_id, "current", latency)
            yield "analysis_latency_seconds", labels, usual
            yield "analysis_latency_limit_seconds", (latency,), slowest_allowed(analysis, usual)
    for check in found.checks:
        if check.value is not None:
            yield "analysis_check_value", (check.name,), check.value


def _counts(found: Measurements) -> Iterator[Sample]:
    for rate in rates(found):
        work = rate.what.replace(" ", "_")
        target, current = (rate.target, "target", work), (rate.current, "current", work)
        yield "analysis_executions", target, rate.executed
        yield "analysis_executions", current, rate.usually_executed
        yield "analysis_failures", target, rate.failed
        yield "analysis_failures", current, rate.usually_failed
        yield "analysis_failure_bound_ratio", target, rate.at_least
        yield "analysis_failure_bound_ratio", current, rate.usually_at_most


def _gates(config: RolloutConfig, seen: Observation) -> Iterator[Sample]:
    last: dict[str, GateRun] = {}
    for run in sorted(seen.gates, key=lambda run: run.attempt):
        last[run.task_queue] = run
    for task_queue, run in last.items():
        labels = (config.deployment.target, task_queue)
        yield from _one_of("gate_outcome", labels, _GATE_OUTCOMES, run.outcome)
        yield "gate_attempt", labels, run.attempt


def _replays(config: RolloutConfig, seen: Observation) -> Iterator[Sample]:
    """Of the target alone, and of builds that there still are: so few stay."""
    target = config.deployment.target
    there = {version.build_id for version in seen.versions}
    for source, told in seen.version(target).verified.items():
        if source not in there:
            continue
        failed = "untried" if told.startswith(UNTRIED) else "failed"
        outcome = "passed" if told == "passed" else failed
        yield from _one_of("replay_outcome", (target, source), _REPLAY_OUTCOMES, outcome)
