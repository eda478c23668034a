"""Pure: the picture that `rollout watch` draws of a `View`, for any width from 60 columns up."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from rollout.commands.watch.bars import BLOCKS, Glyphs
from rollout.commands.watch.columns import count, percent, table
from rollout.commands.watch.view import Row, View
from rollout.core.steps import StepMark

__all__ = ["as_line", "render"]

EVENTS = 8
"""So many of the last events are shown, where the terminal is high enough."""

_PHASE_STYLES = {"blocked": "bold red", "paused": "bold yellow", "complete": "bold green"}


def render(
    view: View, width: int, height: int | None = None, glyphs: Glyphs = BLOCKS
) -> RenderableType:
    """The picture in ``width`` columns; no line is longer.

    With ``height`` the events take what lines are left, so that the versions stay in sight.
    """
    head: list[RenderableType] = [_title(view, width), _reason(view, width)]
    if view.steps:
        head.append(_steps(view.steps, width, glyphs))
    body: list[RenderableType] = []
    if view.rows:
        body += [Text(), *table(view.rows, view.at, width, glyphs)]
        if view.samples:
            of = f"real: of {view.samples:,} runs begun since the share last changed"
            body.append(_cut(Text(of, "dim"), width))
        body += [*_judged(view, width), *_not_safe(view, width)]
    body += [_two_lines(Text(f"! {note}", "yellow"), width) for note in view.notes]
    # What is judged and a note may take a second line each, and a blank follows.
    judged = sum(1 for row in view.rows if row.work)
    lines = len(head) + len(body) + judged + len(view.notes) + 1
    room = EVENTS if height is None else max(0, min(EVENTS, height - lines))
    events = view.events[len(view.events) - min(room, len(view.events)) :]
    if events:
        body.append(Text())
        body += [_cut(Text.assemble((f"{e.at:%H:%M:%S}", "dim"), f"  {e.text}"), width)
                 for e in events]  # fmt: skip
    return Group(*head, *body)


def as_line(row: Row) -> str:
    """One version in one plain line."""
    version = row.version
    measured = "?" if row.real is None else percent(row.real)
    said = [
        f"{version.build_id} {version.shown_status}",
        f"{percent(row.meant)} of new runs meant, {measured} real",
        f"{count(version.open_runs)} open",
        f"{count(version.workers)} workers",
    ]
    if version.process:
        said.append(version.process)
    if row.verdict.safe_to_stop:
        said.append("safe to stop")
    return ", ".join(said)


def _title(view: View, width: int) -> Text:
    title = Text.assemble((view.deployment, "bold"))
    if view.namespace:
        title.append(f"  namespace {view.namespace}")
    title.append("  target ").append(view.target, "bold")
    clock = f"{view.at:%H:%M:%S} UTC"
    room = width - len(clock) - 2
    if room < 20:
        return _cut(title, width)
    return _cut(title, room, pad=True).append(f"  {clock}", "dim")


def _reason(view: View, width: int) -> Text:
    """The phase and why."""
    if not view.phase:
        return _cut(Text("reading..."), width)
    said = Text.assemble((view.phase, _PHASE_STYLES.get(view.phase, "bold")), ": ", view.reason)
    return _two_lines(said, width)


def _steps(marks: tuple[StepMark, ...], width: int, glyphs: Glyphs) -> Text:
    line = Text("steps", "dim")
    signs = {"done": glyphs.done, "here": glyphs.here, "ahead": glyphs.ahead}
    for mark in marks:
        style = {"done": "green", "here": "bold cyan", "ahead": "dim"}[mark.state]
        line.append(f"   {signs[mark.state]} {mark.percentage:g} %", style)
        if mark.left is not None:
            late = mark.left < 0
            line.append(f" (held for {-mark.left:.0f} s)" if late else f" ({mark.left:.0f} s more)")
    return _cut(line, width)


def _judged(view: View, width: int) -> list[RenderableType]:
    """What analysis has counted of the builds that it compares."""
    return [
        _two_lines(
            Text.assemble(
                ("analysis  ", "dim"),
                (row.version.build_id, "bold"),
                f" failed: {', '.join(map(str, row.work))}",
            ),
            width,
        )
        for row in view.rows
        if row.work
    ]


def _not_safe(view: View, width: int) -> list[RenderableType]:
    """Why a version that gets no new runs may not be stopped yet."""
    lines: list[RenderableType] = []
    for row in view.rows:
        name = row.version.build_id
        waits = row.version.status in ("draining", "drained", "unknown")
        if row.verdict.safe_to_stop or not waits or row.meant > 0 or name == view.target:
            continue
        against = "; ".join(point.detail for point in row.verdict.evidence if not point.ok)
        lines.append(_cut(Text(f"{name} not safe to stop: {against}"), width))
    return [Text(), *lines] if lines else []


def _cut(text: Text, width: int, *, pad: bool = False) -> Text:
    """``text`` on one line, whatever it holds."""
    text.plain = " ".join(text.plain.splitlines()) if "\n" in text.plain else text.plain
    text.truncate(max(1, width), overflow="ellipsis", pad=pad)
    return text


def _two_lines(text: Text, width: int) -> Text:
    """``text`` on at most two lines, with room for the words that break at the first's end."""
    return _cut(text, width if width < 40 else 2 * width - 20)
