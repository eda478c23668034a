"""Pure: what each SDK calls what it measures, and in which unit; the one place that knows.

===========================================  ======================  ===================
What exports them                            Counters                Latencies
===========================================  ======================  ===================
Python, TypeScript, .NET, Ruby, by default   ``…_completed``         ``…_latency``, ms
... with a suffix for counters and units     ``…_completed_total``   ``…_milliseconds``
... and durations in seconds                 ``…_completed_total``   ``…_seconds``
... durations in seconds alone               ``…_completed``         ``…_latency``, s
Go, tally with the Prometheus naming scope   ``…_completed_total``   ``…_seconds``
Go, tally as it is                           ``…_completed``         ``…_latency``, s
Java, micrometer                             ``…_completed_total``   ``…_seconds``
===========================================  ======================  ===================

Those of the core and of Go were scraped (``tests/fixtures/metrics``), Java's are as its
documentation has them. A timer is a histogram or, Go's by default and Java's as configured, a
summary: its quantiles then stand for it, the worst of a build's processes, over that process's own
window; one without quantiles has none.

A process exports one of the names, so that they are asked for with ``or``, which no doublet can
make fail. Which build a series is of, no SDK says: that comes from the target
(`rollout.exporter.targets`).
"""

from __future__ import annotations

from collections.abc import Callable

from rollout.prometheus.promql import pattern, selector

__all__ = ["counter", "each", "observed", "quantile"]

_BELOW_ONE = pattern(r"0[.].+|.+e-.+")


def counter(name: str) -> tuple[str, ...]:
    """What a counter may be called, as ``workflow_failed``."""
    return f"temporal_{name}_total", f"temporal_{name}"


def observed(latency: str) -> tuple[str, ...]:
    """What the counter of a latency's values may be called, as ``workflow_endtoend``."""
    name = f"temporal_{latency}_latency"
    return f"{name}_seconds_count", f"{name}_milliseconds_count", f"{name}_count"


def each(names: tuple[str, ...], expression: Callable[[str], str]) -> str:
    """PromQL for the series of whichever of ``names`` there are, each as ``expression`` has it."""
    return " or ".join(f"({expression(name)})" for name in names)


def quantile(
    part: float,
    latency: str,
    rise: Callable[[str], str],
    by: tuple[str, ...],
    **labels: str | tuple[str, ...],
) -> str:
    """PromQL for seconds: the quantile ``part`` (0 to 1) of a latency, by the labels ``by``.

    ``rise`` makes of the name of buckets how many came into each, summed by ``le`` and ``by``.

    A histogram without a unit in its name is in seconds where it has a bound below 1, else in
    milliseconds: the least of the SDKs' own bounds is 1 ms.
    """
    name = f"temporal_{latency}_latency"
    labelled = ", ".join(by)

    def of(histogram: str) -> str:
        return f"histogram_quantile({part:g}, {rise(f'{histogram}_bucket')})"

    small = selector(f"{name}_bucket", **labels, le=_BELOW_ONE)

    def summary(called: str) -> str:
        return f"max by ({labelled}) ({selector(called, **labels, quantile=f'{part:g}')})"

    return (
        f"({of(f'{name}_seconds')}"
        f" or {of(f'{name}_milliseconds')} / 1000"
        f" or {of(name)} and on ({labelled}) {small}"
        f" or {of(name)} / 1000"
        f" or {summary(f'{name}_seconds')} or {summary(name)})"
    )
