"""What became of what `[notify]` had to tell, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter

__all__ = ["Notified"]

_OUTCOMES = ("delivered", "lost")


class Notified:
    """A counter for each deployment of a namespace, which begins at 0."""

    def __init__(self, registry: CollectorRegistry, namespace: str) -> None:
        self._namespace = namespace
        self._counter = Counter(
            "rollout_notifications",
            "Messages of [notify], in each of its ways by itself, by what became of them: "
            "delivered, or lost after all tries.",
            ["namespace", "deployment_name", "outcome"],
            registry=registry,
        )

    def of(self, deployment: str) -> Callable[[bool], None]:
        """What counts one message of ``deployment``; it is told whether that was delivered."""
        for outcome in _OUTCOMES:
            self._counter.labels(self._namespace, deployment, outcome)
        return partial(self._count, deployment)

    def forget(self, deployment: str) -> None:
        """Take its series out: the deployment is followed no more."""
        for outcome in _OUTCOMES:
            self._counter.remove(self._namespace, deployment, outcome)

    def _count(self, deployment: str, delivered: bool) -> None:
        outcome = "delivered" if delivered else "lost"
        self._counter.labels(self._namespace, deployment, outcome).inc()
