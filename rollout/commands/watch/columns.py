"""Pure: the table of versions, which gives up what matters least where the terminal is narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len, chop_cells
from rich.text import Text

from rollout.base.durations import about
from rollout.commands.watch.bars import Glyphs, bar, trend
from rollout.commands.watch.view import Row

__all__ = ["count", "percent", "table"]

_STATUS_STYLES = {
    "current": "bold green",
    "ramping": "bold cyan",
    "draining": "yellow",
    "drained": "dim",
    "unknown": "bold red",
}
_PROCESS_STYLES = {"FATAL": "bold red", "BACKOFF": "red", "EXITED": "red", "RUNNING": ""}
_UP = ("RUNNING", "STARTING", "STOPPING")


@dataclass(frozen=True)
class _Layout:
    """How much of a version is shown, and how wide."""

    bar: int
    """Cells of a bar of shares."""
    trend: int
    """Cells of a trend of open runs."""
    gap: int
    """Cells between columns."""
    process: bool = True
    """Whether the age and the restarts of the processes are shown."""
    hosts: bool = True
    stacked: bool = False
    """Whether a build has a line of its own above the rest."""


def _layouts() -> Iterator[_Layout]:
    """From the one that shows most: what matters least goes first, a build and its verdict never.

    The last fits 60 columns whatever the versions are called.
    """
    yield _Layout(20, 30, 3)
    yield _Layout(8, 10, 2)
    yield _Layout(6, 8, 1)
    for process, hosts in ((True, True), (False, True), (False, False)):
        yield _Layout(8, 10, 2, process, hosts)
        yield _Layout(6, 6, 1, process, hosts)
        yield _Layout(8, 10, 2, process, hosts, stacked=True)
        yield _Layout(6, 6, 1, process, hosts, stacked=True)
    yield _Layout(4, 4, 1, process=False, hosts=False, stacked=True)


def table(rows: Sequence[Row], at: datetime, width: int, glyphs: Glyphs) -> list[Text]:
    """The lines of the table of ``rows``, at the time ``at``; none is wider than ``width``."""
    lines: list[Text] = []
    for layout in _layouts():
        lines = _laid_out(rows, at, width, layout, glyphs)
        if max(map(_width, lines)) <= width:
            break
    return lines


def _laid_out(
    rows: Sequence[Row], at: datetime, width: int, layout: _Layout, glyphs: Glyphs
) -> list[Text]:
    with_hosts = layout.hosts and any(row.hosts is not None for row in rows)
    titles = [
        *([] if layout.stacked else ["BUILD"]),
        *("STATUS", "NEW RUNS", "OPEN", "WORKERS"),
        *(["HOSTS"] if with_hosts else []),
        "HEALTH",
    ]
    cells = [_cells(row, at, layout, glyphs, with_hosts=with_hosts) for row in rows]
    # What comes and goes all the time does not move the columns.
    least = {"STATUS": len("safe to stop"), "OPEN": layout.trend}
    widths = [
        max(len(title), least.get(title, 0), *(_width(text) for row in cells for text in row[n]))
        for n, title in enumerate(titles)
    ]
    lines = [_line([Text(title, "dim") for title in titles], widths, layout.gap)]
    for row, columns in zip(rows, cells, strict=True):
        if layout.stacked:
            build = _build(row)
            # Longer than a line: in full all the same, for by its end one build differs.
            lines += [Text(part, build.style) for part in chop_cells(build.plain, width)]
        for number in range(max(map(len, columns))):
            texts = [cell[number] if number < len(cell) else Text() for cell in columns]
            lines.append(_line(texts, widths, layout.gap))
    return lines


def _line(cells: Sequence[Text], widths: Sequence[int], gap: int) -> Text:
    line = Text()
    for text, width in zip(cells, widths, strict=True):
        line.append_text(text)
        line.append(" " * (width - _width(text) + gap))
    line.rstrip()
    return line


def _cells(
    row: Row, at: datetime, layout: _Layout, glyphs: Glyphs, *, with_hosts: bool
) -> list[list[Text]]:
    """What stands in each column, a text a line."""
    version = row.version
    build = [] if layout.stacked else [[_build(row)]]
    hosts = [[Text(row.hosts or "")]] if with_hosts else []
    status = Text(version.shown_status, _STATUS_STYLES.get(version.status, ""))
    safe = [Text("safe to stop", "green")] if row.verdict.safe_to_stop else []
    workers = _workers(row, at, with_age=layout.process)
    if row.is_quiet:
        return [*build, [status], safe, [Text("0")], workers[:1], *hosts, []]
    shares = [
        _share("meant", row.meant, layout.bar, glyphs),
        _share("real ", row.real, layout.bar, glyphs),
    ]
    drain = Text(trend(row.open_runs, layout.trend, glyphs), "cyan")
    opened = [Text(count(version.open_runs)), drain]
    return [*build, [status, *safe], shares, opened, workers, *hosts, _health(row)]


def _build(row: Row) -> Text:
    return Text(row.version.build_id, "" if row.is_quiet else "bold")


def _workers(row: Row, at: datetime, *, with_age: bool) -> list[Text]:
    """How many live, and what supervisord says of their processes here."""
    version = row.version
    process = Text(version.process or "-", _PROCESS_STYLES.get(version.process or "", "yellow"))
    live = Text(count(version.workers))
    if not with_age:
        return [Text.assemble(live, " ", process)] if row.is_quiet else [live, process]
    told = Text()
    if version.started_at and version.process in _UP:
        told.append(f"up {about((at - version.started_at).total_seconds())}")
    if row.restarts:
        told.append(", " if told else "")
        told.append(f"{row.restarts} restart{'s' if row.restarts > 1 else ''}", "bold yellow")
    return [Text.assemble(live, " ", process), *([told] if told else [])]


def _share(name: str, share: float | None, cells: int, glyphs: Glyphs) -> Text:
    if share is None:
        return Text.assemble((f"{name} ", "dim"), " " * cells, "    ?")
    return Text.assemble(
        (f"{name} ", "dim"), (bar(share, cells, glyphs), "cyan"), f" {percent(share):>4}"
    )


def _health(row: Row) -> list[Text]:
    failed = Text("fail ?" if row.failures is None else f"fail {_precise(row.failures)}")
    if row.failures:
        failed.stylize("bold red")
    return [failed, Text(f"p95 {_seconds(row.p95)}")]


def _precise(share: float) -> str:
    return "100%" if share == 1 else f"{min(share, 0.999):.1%}"


def _width(text: Text) -> int:
    return cell_len(text.plain)


def percent(share: float) -> str:
    """``share``, 0 to 1, in at most four characters."""
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def count(number: int | None) -> str:
    """``number``, or ``?`` where it is not known."""
    return "?" if number is None else str(number)


def _seconds(value: float | None) -> str:
    if value is None:
        return "?"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
