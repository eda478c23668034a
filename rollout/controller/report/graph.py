"""Pure: a graph of one kind of curves as SVG, which prints as it looks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from rollout.controller.report.html import Html, el
from rollout.core.report import Curve

__all__ = ["Ground", "Mark", "graph"]

_WIDTH, _HEIGHT = 760, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 120, 14, 24
_DASHES = {"real": "5 3"}
"""A kind is told by the line's dashes, a build by its colour and its name at the line's end."""
_LEAST_APART = 12.0


@dataclass(frozen=True)
class Mark:
    """A moment that is marked in every graph; its number leads to the list of changes."""

    at: float
    label: str


@dataclass(frozen=True)
class _Frame:
    start: float
    end: float
    top: float
    steps: bool

    def x(self, at: float) -> float:
        span = max(self.end - self.start, 1.0)
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (at - self.start) / span

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(value / self.top, 1.0)


@dataclass(frozen=True)
class Ground:
    """What the graphs of a page have in common."""

    span: tuple[float, float]
    """From and to, in seconds since 1970."""
    marks: Sequence[Mark]
    classes: Mapping[str, str]
    """The CSS class of each build's colour."""


def graph(
    title: str,
    curves: Sequence[Curve],
    ground: Ground,
    shown: Callable[[float], str],
    whole: float | None = None,
) -> Html:
    """The ``curves`` on their ``ground``; ``shown`` says a value in words.

    ``whole`` is where the axis ends; without it, above the highest value.
    """
    span, classes = ground.span, ground.classes
    highest = max((value for curve in curves for _, value in curve.values), default=0.0)
    frame = _Frame(*span, top=whole or _round(highest), steps=whole is not None)
    ends = _ends(curves, frame)
    parts = [
        *_axes(frame, shown),
        *(_mark(mark, frame) for mark in ground.marks if span[0] <= mark.at <= span[1]),
        *(_line(curve, frame, classes) for curve in curves if curve.values),
        *(
            el(
                "text",
                _label(curve),
                x=_WIDTH - _RIGHT + 6,
                y=y + 4,
                class_=f"name {classes.get(curve.build_id, '')}",
            )
            for curve, y in ends
        ),
    ]
    described = "; ".join(
        f"{_label(curve)}: {shown(curve.values[0][1])} at first, {shown(curve.values[-1][1])} at "
        "the end"
        for curve in curves
        if curve.values
    )
    svg = el(
        "svg",
        el("title", f"{title}. {described or 'Nothing is known.'}"),
        *parts,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
    )
    return el("figure", el("figcaption", title), svg)


def _label(curve: Curve) -> str:
    name = curve.build_id if len(curve.build_id) <= 14 else f"{curve.build_id[:13]}…"
    return f"{name} {curve.kind}" if curve.kind in ("meant", "real") else name


def _ends(curves: Sequence[Curve], frame: _Frame) -> list[tuple[Curve, float]]:
    """Where the name of each curve stands: at its end, though not over another."""
    placed: list[tuple[Curve, float]] = []
    known = [curve for curve in curves if curve.values]
    for curve in sorted(known, key=lambda c: frame.y(c.values[-1][1])):
        y = frame.y(curve.values[-1][1])
        if placed and y < placed[-1][1] + _LEAST_APART:
            y = placed[-1][1] + _LEAST_APART
        placed.append((curve, y))
    over = placed[-1][1] - (_HEIGHT - _BOTTOM) if placed else 0.0
    return [(curve, y - max(over, 0.0)) for curve, y in placed]


def _line(curve: Curve, frame: _Frame, classes: Mapping[str, str]) -> Html:
    points: list[str] = []
    last: float | None = None
    for at, value in curve.values:
        if not frame.start <= at <= frame.end:
            continue
        x, y = frame.x(at), frame.y(value)
        if frame.steps and last is not None and last != y:  # a share holds until it is changed
            points.append(f"{x:.1f},{last:.1f}")
        points.append(f"{x:.1f},{y:.1f}")
        last = y
    more = {"stroke-dasharray": _DASHES[curve.kind]} if curve.kind in _DASHES else {}
    return el(
        "polyline",
        points=" ".join(points),
        class_=f"line {classes.get(curve.build_id, '')}",
        **{key.replace("-", "_"): value for key, value in more.items()},
    )


def _axes(frame: _Frame, shown: Callable[[float], str]) -> list[Html]:
    parts = []
    for part in (0.0, 0.5, 1.0):
        y = frame.y(frame.top * part)
        parts.append(el("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(el("text", shown(frame.top * part), x=_LEFT - 6, y=y + 4, class_="value"))
    span = frame.end - frame.start
    step = next((s for s in (10, 30, 60, 120, 300, 600, 1800, 3600, 7200) if span / s <= 7), 14400)
    at = math.ceil(frame.start / step) * step
    while at <= frame.end:
        clock = datetime.fromtimestamp(at, tz=timezone.utc)
        text = clock.strftime("%H:%M:%S" if step < 60 else "%H:%M")
        parts.append(el("text", text, x=frame.x(at), y=_HEIGHT - 6, class_="time"))
        at += step
    return parts


def _mark(mark: Mark, frame: _Frame) -> Html:
    x = frame.x(mark.at)
    line = el("line", x1=x, x2=x, y1=_TOP, y2=_HEIGHT - _BOTTOM, class_="mark")
    return el("g", line, el("text", mark.label, x=x, y=_TOP - 3, class_="mark"))


def _round(value: float) -> float:
    """The least of 1, 2, 5, 10, ... (or of their parts of ten) that is not below ``value``."""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * part for part in (1, 2, 5, 10) if size * part >= value)
