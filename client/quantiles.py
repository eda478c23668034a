"""Percentiles over any number of values in a fixed amount of memory."""

from __future__ import annotations

import math

__all__ = ["Quantiles"]

_SMALLEST = 0.0005  # seconds; whatever is quicker counts as this quick
_GROWTH = 1.02
_BUCKETS = 900  # the last one begins at 0.5 ms * 1.02 ** 899: seven hours


class Quantiles:
    """Counts of seconds in buckets, each 2 % wider than the one before.

    A percentile is therefore at most 2 % above the true value, and never above
    the largest one, which is kept exactly.
    """

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._total = 0
        self._largest = 0.0

    def add(self, seconds: float) -> None:
        """Count one value."""
        bucket = 0
        if seconds > _SMALLEST:
            bucket = math.ceil(math.log(seconds / _SMALLEST, _GROWTH))
        self._counts[min(bucket, _BUCKETS - 1)] += 1
        self._total += 1
        self._largest = max(self._largest, seconds)

    @property
    def largest(self) -> float | None:
        """The largest value in seconds; None before the first."""
        return self._largest if self._total else None

    def percentile(self, percent: float) -> float | None:
        """The seconds that ``percent`` (0 to 100) of the values do not exceed; None without any."""
        wanted = max(1, math.ceil(self._total * percent / 100))
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                edge = math.inf if bucket == _BUCKETS - 1 else _SMALLEST * _GROWTH**bucket
                return min(edge, self._largest)
        return None
