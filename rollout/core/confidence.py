"""Pure: how sure one can be of a ratio, however often one looks.

An interval that holds at one look with 95 % is left sooner or later by one who looks every
second. The bounds here hold at *all* looks together with the given error: a mixture of
likelihood ratios is a martingale, and Ville's inequality bounds how often it ever grows large
(Robbins, Ann. Math. Statist. 41, 1970). They need the counts since one fixed moment, not a
window that slides.
"""

from __future__ import annotations

from collections.abc import Callable
from math import lgamma, log

__all__ = ["is_refuted", "lower_bound", "upper_bound"]

_STEPS = 40
"""Halvings of an interval: 1e-12 is finer than any count."""


def lower_bound(hits: float, tries: float, error: float) -> float:
    """The ratio behind ``hits`` of ``tries`` is below this in ``error`` of all cases."""
    if hits <= 0:
        return 0.0
    ratio = min(hits / tries, 1.0)
    refuted = _refuted(hits, tries, error)
    return _edge(0.0, ratio, lambda p: not refuted(p))


def upper_bound(hits: float, tries: float, error: float) -> float:
    """The ratio behind ``hits`` of ``tries`` is above this in ``error`` of all cases."""
    if tries <= 0 or hits >= tries:
        return 1.0
    return _edge(hits / tries, 1.0, _refuted(hits, tries, error))


def is_refuted(ratio: float, hits: float, tries: float, error: float) -> bool:
    """Whether the counts speak against ``ratio`` of 0 to 1: it is beyond one of the bounds."""
    return _refuted(hits, tries, error)(ratio)


def _refuted(hits: float, tries: float, error: float) -> Callable[[float], bool]:
    """Tells of a ratio whether the mixture's likelihood is at least 1/error times its own."""
    misses = tries - hits
    mixture = lgamma(hits + 1) + lgamma(misses + 1) - lgamma(tries + 2)
    most = mixture - log(1 / error)

    def refuted(p: float) -> bool:
        return not 0.0 < p < 1.0 or most >= hits * log(p) + misses * log(1 - p)

    return refuted


def _edge(low: float, high: float, true_above: Callable[[float], bool]) -> float:
    """Where ``true_above`` turns from false to true between ``low`` and ``high``."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if true_above(middle):
            high = middle
        else:
            low = middle
    return (low + high) / 2
