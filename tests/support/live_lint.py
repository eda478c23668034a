"""Whether what dashboards and rules ask is answered, by the Prometheus of a real switchover."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx

from tests.support.dashboards import Asked, asked, expressions

__all__ = ["QUIET", "LiveLint"]

_SLOW = 0.2
"""Seconds that a question may take, over an hour."""

_RANGES = ((300, 2), (3600, 36))
"""Seconds back, and from one moment to the next: all that has just been, and a usual screen."""

QUIET: Mapping[str, str] = {
    "switchover: Gates and replays B": "an incompatible build replays nothing",
    "switchover: Drained in A": "it takes seconds here, and a pace two minutes",
    "stack: Alerts over time A": "none fires",
    "stack: Worker hosts A": "one machine has no `rollout host`",
    **{f"{board}: @Blocked": "nothing is" for board in ("switchover", "workers", "stack")},
}
"""What a clean switchover may have no answer to, and why."""


_OF_ALL_KINDS = ("stack: Alerts over time A",)
"""Each alert has the labels of what it is about."""


class LiveLint:
    """What was answered so far. A question counts as slow where it was at each `look`."""

    def __init__(self, url: str) -> None:
        """``url`` is Prometheus's."""
        self._client = httpx.Client(base_url=f"{url}/api/v1/", timeout=20)
        self._answered: set[str] = set()
        self._lacking: dict[str, set[str]] = {}
        self._fastest: dict[str, float] = {}

    def look(self) -> None:
        """Ask everything of the last minutes, and of an hour."""
        for each in (*asked(), *expressions()):
            for back, step in _RANGES:
                began, now = time.perf_counter(), time.time()
                found = self._get(
                    "query_range", query=each.filled(), start=str(now - back), end=str(now),
                    step=str(step),
                )["result"]  # fmt: skip
                took = time.perf_counter() - began
                self._take(each, [series["metric"] for series in found])
            self._fastest[each.name] = min(took, self._fastest.get(each.name, took))

    def problems(self) -> list[str]:
        """What was never answered, lacked a label of its legend, or took too long each time."""
        names = [each.name for each in (*asked(), *expressions())]
        found = [
            f"{name}: never answered" for name in names if name not in {*self._answered, *QUIET}
        ]
        found += [f"{name}: no label {label}" for name, label in self._lacking.items()]
        found += [f"{n}: {took:.3f} s" for n, took in self._fastest.items() if took > _SLOW]
        for group in self._get("rules")["groups"]:
            for rule in group["rules"]:
                if rule["health"] != "ok" or rule["evaluationTime"] > _SLOW:
                    found.append(f"rule {rule['name']}: {rule['health']}, {rule['evaluationTime']}")
        return found

    def _take(self, each: Asked, found: list[dict[str, str]]) -> None:
        if found:
            self._answered.add(each.name)
        for labels in found:
            lacking = set(each.labels) - labels.keys()
            if lacking and each.name not in _OF_ALL_KINDS:
                self._lacking.setdefault(each.name, set()).update(lacking)

    def _get(self, path: str, **parameters: str) -> Any:
        answer = self._client.get(path, params=parameters).json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]
