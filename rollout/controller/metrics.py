"""What the controller tells Prometheus of itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from rollout.core.actions import Phase
from rollout.core.config import RolloutConfig

__all__ = ["ControllerMetrics"]

_PHASES: tuple[str, ...] = get_args(Phase)


class ControllerMetrics:
    """The controller's own series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reconciles = Counter(
            "rollout_reconciles",
            "Rounds of observe, plan and act, by how they ended (ok, refused, error).",
            ["result"],
            registry=registry,
        )
        self._phase = Gauge(
            "rollout_phase", "1 for the phase that the rollout is in.", ["phase"], registry=registry
        )
        self._paused = Gauge(
            "rollout_paused", "1 while rollout.toml says paused.", registry=registry
        )
        self._last = Gauge(
            "rollout_last_reconcile_time_seconds",
            "Unix time of the last round that ended well.",
            registry=registry,
        )
        self._target = Info("rollout_target", "The version that is wanted.", registry=registry)
        self._config_ok = Gauge(
            "rollout_config_ok",
            "Whether rollout.toml as it is now is followed (1), or the last good one (0).",
            registry=registry,
        )
        self._age = Gauge(
            "rollout_observation_age_seconds",
            "Seconds since the oldest part of the last look at the server was asked for; NaN "
            "before the first.",
            registry=registry,
        )
        self._age.set_function(lambda: float("nan"))
        self._throttled = Counter(
            "rollout_throttled",
            "Calls that the server refused because there were too many.",
            registry=registry,
        )
        self._throttled_before = 0
        for result in ("ok", "refused", "error"):
            self._reconciles.labels(result)

    def ages(self, observed_at: Callable[[], datetime | None]) -> None:
        """Tell how old what was seen is, at each scrape, by when its oldest part was asked for."""

        def age() -> float:
            at = observed_at()
            return (datetime.now(timezone.utc) - at).total_seconds() if at else float("nan")

        self._age.set_function(age)

    def throttled(self, calls: int) -> None:
        """Note how many calls of this process have been refused so far as too many."""
        self._throttled.inc(max(0, calls - self._throttled_before))
        self._throttled_before = calls

    def configured(self, config: RolloutConfig, *, is_ok: bool = True) -> None:
        """Note what is followed, and whether that is rollout.toml as it is now."""
        self._config_ok.set(is_ok)
        self._paused.set(config.deployment.paused)
        self._target.info({"build_id": config.deployment.target})

    def reconciled(self, result: str, phase: str | None = None) -> None:
        """Note a round; ``phase`` where one was planned."""
        self._reconciles.labels(result).inc()
        if phase is not None:
            for name in _PHASES:
                self._phase.labels(name).set(name == phase)
        if result == "ok":
            self._last.set_to_current_time()
