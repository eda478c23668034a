"""What the load starts and when: a fixed beat that never waits for the server."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Start", "WorkflowType", "schedule"]

WorkflowType = Literal["Greeting", "Order"]


@dataclass(frozen=True)
class Start:
    """One workflow that is due."""

    number: int
    due: float
    """Seconds after the load began."""
    workflow_type: WorkflowType
    order_seconds: float = 0.0
    """How long an order is asked to take."""


def schedule(
    rate: float,
    *,
    orders: float,
    order_seconds: tuple[float, float],
    duration: float | None = None,
    seed: int | None = None,
) -> Iterator[Start]:
    """Starts number 0, 1, 2, ... due at ``number / rate`` seconds, before ``duration`` ends.

    Each is an order with the probability ``orders``. The same ``seed`` gives the
    same workflows. Times come from the number, so no rounding adds up.
    """
    choose = random.Random(seed)  # noqa: S311 - a load profile is no secret
    number = 0
    while duration is None or number / rate < duration:
        if choose.random() < orders:
            yield Start(number, number / rate, "Order", round(choose.uniform(*order_seconds), 3))
        else:
            yield Start(number, number / rate, "Greeting")
        number += 1
