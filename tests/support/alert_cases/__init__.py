"""Every alert, seen to fire, to stay quiet and to recover."""

from __future__ import annotations

from tests.support.alert_cases import load, rollouts, stack, workers

__all__ = ["CASES"]

CASES = (*workers.CASES, *load.CASES, *rollouts.CASES, *stack.CASES)
