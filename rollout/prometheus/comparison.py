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
    """Which builds of which deployment are asked for, and how far back."""

    deployment: str
    target: str
    current: str
    seconds: int
    """How far back latencies are compared, and the ``$window`` of checks."""
    counted: int
    """How far back work and its failures are counted."""

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

    def count(self, name: str, *by: str) -> str:
        """By how much the counters ``name`` rose in ``counted``, summed by build and ``by``."""
        return self._rise(name, self.counted, by)

    def recent(self, name: str, *by: str) -> str:
        """By how much they rose within the window of latencies."""
        return self._rise(name, self.seconds, by)

    def _rise(self, name: str, seconds: int, by: tuple[str, ...]) -> str:
        """By how much the counters ``name`` rose in ``seconds``, summed by build and ``by``.

        Prometheus's own ``increase`` loses what a counter began with, and a
        worker's counter appears with its first event: of 3 failures in all it
        would see none. So the last value counts, less the one before
        if there was one. Where the counter began anew meanwhile, with
        its process, ``increase`` does know how to add up.
        """
        series, back = self.selector(name), f"{seconds}s"
        last = f"last_over_time({series}[{back}])"
        before = f"last_over_time({series}[{_LOOKBACK}] offset {back})"
        rose = f"((({last} - {before}) >= 0) or {last})"
        return (
            f"sum by ({', '.join(('build_id', *by))}) ("
            f"{rose} unless (resets({series}[{back}]) > 0)"
            f" or increase({series}[{back}]))"
        )

    def p95(self, name: str, *by: str) -> str:
        """The 95th percentile, in seconds, of the histogram ``name`` within the window."""
        return f"histogram_quantile(0.95, {self.recent(f'{name}_bucket', 'le', *by)})"

    def scrape_ages(self) -> str:
        """How many seconds ago each build was last scraped, of those that now answer."""
        up = self.selector("up")
        return f"time() - max by (build_id) (timestamp({up}) and {up} == 1)"

    def scrape_intervals(self) -> str:
        """How many seconds lie between two scrapes of each build, from those of five minutes.

        From the first to the last of them, for a worker is younger than that, and scrapes
        that have ceased must not make the interval look longer. Of one scrape there is none.
        """
        up = self.selector("up")
        since_first = f"timestamp({up}) - min_over_time(timestamp({up})[5m:1s])"
        return f"min by (build_id) (({since_first}) / (count_over_time({up}[5m]) - 1 > 0))"

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
