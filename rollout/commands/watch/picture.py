"""Pure: the picture that `rollout watch` draws of a `View`, for any width from 60 columns up."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rollout.commands.watch.bars import BLOCKS, Glyphs, bar, trend
from rollout.commands.watch.view import Row, View
from rollout.core.steps import StepMark

__all__ = ["as_line", "render"]

EVENTS = 8
"""So many of the last events are shown, where the terminal is high enough."""

_STATUS_STYLES = {
    "current": "bold green",
    "ramping": "bold cyan",
    "draining": "yellow",
    "drained": "dim",
    "unknown": "bold red",
}
_PHASE_STYLES = {"blocked": "bold red", "paused": "bold yellow", "complete": "bold green"}
_PROCESS_STYLES = {"FATAL": "bold red", "BACKOFF": "red", "EXITED": "red", "RUNNING": ""}
_WIDE = 100
_HOSTS_WIDE = 80
"""Columns below which there is no room for the hosts."""


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
        body += [Text(), _table(view, width, glyphs)]
        if view.samples:
            of = f"real: of {view.samples:,} runs begun since the share last changed"
            body.append(_cut(Text(of, "dim"), width))
        body += _not_safe(view, width)
    body += [_two_lines(Text(f"! {note}", "yellow"), width) for note in view.notes]
    # The table counts as one so far, a note may take a second line, and a blank follows.
    table = sum(1 if row.is_quiet else 2 for row in view.rows)
    lines = len(head) + len(body) + table + len(view.notes) + 2
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
    measured = "?" if row.real is None else _percent(row.real)
    said = [
        f"{version.build_id} {version.shown_status}",
        f"{_percent(row.meant)} of new runs meant, {measured} real",
        f"{_count(version.open_runs)} open",
        f"{_count(version.workers)} workers",
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


def _table(view: View, width: int, glyphs: Glyphs) -> Table:
    wide = width >= _WIDE
    long = max(cell_len(row.version.build_id) for row in view.rows) > 11
    # At 80 columns long build ids take the space between the columns.
    gap = 3 if wide else 1 if long else 2
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    table.add_column("BUILD", overflow="fold", max_width=30 if wide else 16)
    table.add_column("STATUS", no_wrap=True, min_width=12)
    table.add_column("NEW RUNS", no_wrap=True)
    table.add_column("OPEN", no_wrap=True, min_width=4)
    table.add_column("WORKERS", no_wrap=True)
    with_hosts = width >= _HOSTS_WIDE and view.rows[0].hosts is not None
    if with_hosts:
        table.add_column("HOSTS", no_wrap=True)
    table.add_column("LAST MIN", no_wrap=True)
    for row in view.rows:
        cells = _cells(row, wide, glyphs)
        table.add_row(*cells[:5], *([Text(row.hosts or "")] if with_hosts else []), *cells[5:])
    return table


def _cells(row: Row, wide: bool, glyphs: Glyphs) -> tuple[Text, ...]:
    version = row.version
    build = Text(version.build_id, "bold" if not row.is_quiet else "")
    status = Text(version.shown_status, _STATUS_STYLES.get(version.status, ""))
    safe = Text("safe to stop", "green") if row.verdict.safe_to_stop else Text()
    process = Text(version.process or "-", _PROCESS_STYLES.get(version.process or "", "yellow"))
    workers = Text(_count(version.workers))
    if row.is_quiet:
        workers = Text.assemble(workers, " ", process)
        return build, status, safe, Text("0"), workers, Text()
    shares = Text("\n").join(
        (_share("meant", row.meant, wide, glyphs), _share("real ", row.real, wide, glyphs))
    )
    drain = trend(row.open_runs, 30 if wide else 10, glyphs)
    return (
        build,
        Text("\n").join((status, safe)),
        shares,
        Text.assemble(_count(version.open_runs), "\n", (drain, "cyan")),
        Text("\n").join((workers, process)),
        _health(row),
    )


def _share(name: str, share: float | None, wide: bool, glyphs: Glyphs) -> Text:
    cells = 20 if wide else 8
    if share is None:
        return Text.assemble((f"{name} ", "dim"), " " * cells, "    ?")
    return Text.assemble(
        (f"{name} ", "dim"), (bar(share, cells, glyphs), "cyan"), f" {_percent(share):>4}"
    )


def _health(row: Row) -> Text:
    failed = Text("fail ?" if row.failures is None else f"fail {row.failures:.1%}")
    if row.failures:
        failed.stylize("bold red")
    return Text.assemble(failed, "\n", f"p95 {_seconds(row.p95)}")


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


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "?"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)
