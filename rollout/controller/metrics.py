"""What the controller tells Prometheus of itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from rollout.core.actions import Phase
from rollout.core.config import RolloutConfig

__all__ = ["ControllerMetrics", "Families"]

_PHASES: tuple[str, ...] = get_args(Phase)
_RESULTS = ("ok", "refused", "error")
_NAME = "deployment_name"


class Families:
    """The controller's own series, of all deployments that it follows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, documentation: str, *labels: str) -> Gauge:
            return Gauge(name, documentation, [_NAME, *labels], registry=registry)

        self.reconciles = Counter(
            "rollout_reconciles",
            "Rounds of observe, plan and act, by how they ended (ok, refused, error).",
            [_NAME, "result"],
            registry=registry,
        )
        self.phase = gauge("rollout_phase", "1 for the phase that the rollout is in.", "phase")
        self.paused = gauge("rollout_paused", "1 while rollout.toml says paused.")
        self.last = gauge(
            "rollout_last_reconcile_time_seconds",
            "Unix time of the last round that ended well; absent before the first.",
        )
        self.target = Info(
            "rollout_target", "The version that is wanted.", [_NAME], registry=registry
        )
        self.config_ok = gauge(
            "rollout_config_ok",
            "Whether rollout.toml as it is now is followed (1), or the last good one (0).",
        )
        self.age = gauge(
            "rollout_observation_age_seconds",
            "Seconds since the oldest part of the last look at the server was asked for; NaN "
            "before the first.",
        )
        self._throttled = Counter(
            "rollout_throttled",
            "Calls of this process that the server refused because there were too many.",
            registry=registry,
        )
        self._throttled_before = 0

    def throttled(self, calls: int) -> None:
        """Note how many calls of this process have been refused so far as too many."""
        self._throttled.inc(max(0, calls - self._throttled_before))
        self._throttled_before = calls


class ControllerMetrics:
    """The series of one deployment among ``families``."""

    def __init__(self, families: Families, deployment: str) -> None:
        self._families = families
        self._deployment = deployment
        families.age.labels(deployment).set_function(lambda: float("nan"))
        for result in _RESULTS:
            families.reconciles.labels(deployment, result)

    def forget(self) -> None:
        """Take them out: the deployment is followed no more."""
        families, name = self._families, self._deployment
        for result in _RESULTS:
            families.reconciles.remove(name, result)
        for phase in _PHASES:
            families.phase.remove(name, phase)
        for family in (families.paused, families.last, families.config_ok, families.age):
            family.remove(name)
        families.target.remove(name)

    def ages(self, observed_at: Callable[[], datetime | None]) -> None:
        """Tell how old what was seen is, at each scrape, by when its oldest part was asked for."""

        def age() -> float:
            at = observed_at()
            return (datetime.now(timezone.utc) - at).total_seconds() if at else float("nan")

        self._families.age.labels(self._deployment).set_function(age)

    def throttled(self, calls: int) -> None:
        """Note how many calls of this process have been refused so far as too many."""
        self._families.throttled(calls)

    def configured(self, config: RolloutConfig, *, is_ok: bool = True) -> None:
        """Note what is followed, and whether that is rollout.toml as it is now."""
        self._families.config_ok.labels(self._deployment).set(is_ok)
        self._families.paused.labels(self._deployment).set(config.deployment.paused)
        target = {"build_id": config.deployment.target}
        self._families.target.labels(self._deployment).info(target)

    def reconciled(self, result: str, phase: str | None = None) -> None:
        """Note a round; ``phase`` where one was planned."""
        self._families.reconciles.labels(self._deployment, result).inc()
        if phase is not None:
            for name in _PHASES:
                self._families.phase.labels(self._deployment, name).set(name == phase)
        if result == "ok":
            self._families.last.labels(self._deployment).set_to_current_time()
