"""What the controller tells Prometheus of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from rollout.controller.reasons import Reasons, Round
from rollout.core.actions import Phase
from rollout.core.config import RolloutConfig

__all__ = ["ControllerMetrics", "Families"]

_PHASES: tuple[str, ...] = get_args(Phase)
_RESULTS = ("ok", "refused", "error")
_SCOPE = ("namespace", "deployment_name")


class Families:
    """The controller's own series, of all deployments that it follows in one namespace."""

    def __init__(self, registry: CollectorRegistry, namespace: str) -> None:
        def gauge(name: str, documentation: str, *labels: str) -> Gauge:
            return Gauge(name, documentation, [*_SCOPE, *labels], registry=registry)

        self.namespace = namespace
        self.reasons = Reasons()
        registry.register(self.reasons)

        self.reconciles = Counter(
            "rollout_reconciles",
            "Rounds of observe, plan and act, by how they ended (ok, refused, error).",
            [*_SCOPE, "result"],
            registry=registry,
        )
        self.phase = gauge("rollout_phase", "1 for the phase that the rollout is in.", "phase")
        self.paused = gauge("rollout_paused", "1 while rollout.toml says paused.")
        self.last = gauge(
            "rollout_last_reconcile_time_seconds",
            "Unix time of the last round that ended well; absent before the first.",
        )
        self.target = Info(
            "rollout_target", "The version that is wanted.", _SCOPE, registry=registry
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
        self.program_files = gauge(
            "rollout_program_files_ok",
            "Whether supervisord could load its files again (1); if not (0), a reload would take "
            "everything down.",
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
        self._scope = (families.namespace, deployment)
        families.age.labels(*self._scope).set_function(lambda: float("nan"))
        for result in _RESULTS:
            families.reconciles.labels(*self._scope, result)

    def forget(self) -> None:
        """Take them out: the deployment is followed no more."""
        families, scope = self._families, self._scope
        for result in _RESULTS:
            families.reconciles.remove(*scope, result)
        for phase in _PHASES:
            families.phase.remove(*scope, phase)
        for name in ("paused", "last", "config_ok", "age", "program_files"):
            getattr(families, name).remove(*scope)
        families.target.remove(*scope)
        families.reasons.forget(self._deployment)

    def ages(self, observed_at: Callable[[], datetime | None]) -> None:
        """Tell how old what was seen is, at each scrape, by when its oldest part was asked for."""

        def age() -> float:
            at = observed_at()
            return (datetime.now(timezone.utc) - at).total_seconds() if at else float("nan")

        self._families.age.labels(*self._scope).set_function(age)

    def throttled(self, calls: int) -> None:
        """Note how many calls of this process have been refused so far as too many."""
        self._families.throttled(calls)

    def program_files(self, problems: Callable[[], Sequence[str]]) -> None:
        """Tell at each scrape whether there are ``problems`` with supervisord's files."""
        gauge = self._families.program_files.labels(*self._scope)
        gauge.set_function(lambda: not problems())

    def configured(self, config: RolloutConfig, *, is_ok: bool = True) -> None:
        """Note what is followed, and whether that is rollout.toml as it is now."""
        self._families.config_ok.labels(*self._scope).set(is_ok)
        self._families.paused.labels(*self._scope).set(config.deployment.paused)
        target = {"build_id": config.deployment.target}
        self._families.target.labels(*self._scope).info(target)

    def reconciled(self, result: str, found: Round | None = None) -> None:
        """Note a round; ``found``: what one has that could look and plan."""
        self._families.reconciles.labels(*self._scope, result).inc()
        if found is not None:
            self._families.reasons.saw(found)
            for name in _PHASES:
                self._families.phase.labels(*self._scope, name).set(name == found.decided.phase)
        if result == "ok":
            self._families.last.labels(*self._scope).set_to_current_time()
