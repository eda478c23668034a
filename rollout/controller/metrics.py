"""What the controller tells Prometheus of itself."""

from __future__ import annotations

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
        for result in ("ok", "refused", "error"):
            self._reconciles.labels(result)

    def configured(self, config: RolloutConfig) -> None:
        """Note what rollout.toml says."""
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
