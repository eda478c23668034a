"""Pure: the PromQL that compares two builds of one deployment."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rollout.prometheus.promql import quoted, selector

__all__ = ["Comparison"]

_LOOKBACK = "5m"
"""How long before the window a counter may have been seen last (a scrape in vain, a restart of
Prometheus) and still be known for one that began earlier."""


@dataclass(frozen=True)
class Comparison:
    """Which builds of which deployment are asked for, over how many seconds."""

    deployment: str
    target: str
    current: str
    seconds: int

    @property
    def window(self) -> str:
        """As PromQL writes it."""
        return f"{self.seconds}s"

    def selector(self, name: str) -> str:
        """The series called ``name`` of both builds' workers."""
        return selector(
            name,
            job="worker",
            deployment_name=self.deployment,
            build_id=(self.target, self.current),
        )

    def increase(self, name: str, *by: str) -> str:
        """By how much the counters ``name`` rose within the window, summed by build and ``by``.

        Prometheus's own ``increase`` loses what a counter began with, and a
        worker's counter appears with its first event: of 3 failures in all it
        would see none. So the last value counts, less the one before the window
        if there was one. Where the counter began anew within the window, with
        its process, ``increase`` does know how to add up.
        """
        series = self.selector(name)
        last = f"last_over_time({series}[{self.window}])"
        before = f"last_over_time({series}[{_LOOKBACK}] offset {self.window})"
        rose = f"((({last} - {before}) >= 0) or {last})"
        return (
            f"sum by ({', '.join(('build_id', *by))}) ("
            f"{rose} unless (resets({series}[{self.window}]) > 0)"
            f" or increase({series}[{self.window}]))"
        )

    def p95(self, name: str, *by: str) -> str:
        """The 95th percentile, in seconds, of the histogram ``name`` within the window."""
        return f"histogram_quantile(0.95, {self.increase(f'{name}_bucket', 'le', *by)})"

    def scrape_ages(self) -> str:
        """How many seconds ago each build was last scraped, of those that now answer."""
        up = self.selector("up")
        return f"time() - max by (build_id) (timestamp({up}) and {up} == 1)"

    def check(self, query: str) -> str:
        """``query`` of rollout.toml with its ``$target`` and the like filled in.

        A text goes into a PromQL string as it is; ``$window`` is a duration.
        """
        values = {
            "target": quoted(self.target),
            "current": quoted(self.current),
            "deployment": quoted(self.deployment),
            "window": self.window,
        }
        names = "|".join(values)
        return re.sub(rf"\$({names})\b", lambda found: values[found[1]], query)
