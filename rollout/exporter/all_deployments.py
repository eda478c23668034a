"""The versions of several deployments, in one family of series for each name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from rollout.exporter.deployment import DeploymentMetrics

__all__ = ["AllDeployments"]


class AllDeployments(Collector):
    """Those that are looked at just now. Written by the event loop, read by scrapes' threads."""

    def __init__(self) -> None:
        self._each: Mapping[int, DeploymentMetrics] = {}

    @property
    def names(self) -> set[str]:
        """Of all."""
        return {each.deployment for each in self._each.values()}

    def add(self, metrics: DeploymentMetrics) -> Callable[[], None]:
        """Serve ``metrics`` too; how to take them out."""
        # Each time another mapping: a thread may be reading it.
        self._each = {**self._each, id(metrics): metrics}

        def remove() -> None:
            self._each = {k: v for k, v in self._each.items() if v is not metrics}

        return remove

    def collect(self) -> Iterable[Metric]:
        """Every series of one scrape; a name's stand together, as the format wants them."""
        families: dict[str, Metric] = {}
        for metrics in self._each.values():
            for family in metrics.collect():
                if family.name in families:
                    families[family.name].samples += family.samples
                else:
                    families[family.name] = family
        return families.values()
