"""Pure: a report as one page of HTML that needs nothing else, on a screen or on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib import resources

import msgspec

from rollout.base.durations import about
from rollout.controller.report.graph import Ground, Mark, graph
from rollout.controller.report.html import Html, el, joined
from rollout.core.colours import COLOURS, build_colours
from rollout.core.report import Figures, Happened, Report

__all__ = ["page"]

_MARKED = ("routing.ramp-set", "routing.current-set", "routing.ramp-ended", "rollback.begun")
_QUIET = ("process.ready", "process.seen", "workers.seen", "version.seen")
"""What the list of all that happened has, and the short one has not."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_PARTS = ("before", "during", "after")


def page(report: Report) -> str:
    """The whole page; it holds the report's JSON, too."""
    classes, colours = _colours(report)
    style = resources.files("rollout.controller.report").joinpath("page.css").read_text("utf-8")
    data = msgspec.json.format(msgspec.json.encode(report), indent=1)
    head = joined(
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{report.deployment}: {_headline(report)}"),
        Html(f"<style>{style}{colours}</style>"),
    )
    marks = _marks(report)
    body = joined(
        _summary(report),
        _section("What happened to the traffic", *_graphs(report, marks, classes)),
        _section("Changes", _changes(report, marks), _people(report)),
        _section("Before, during, after", _figures(report, classes)),
        _section("Gate and analysis", _gate(report), _analysis(report)),
        _section("Runs that failed", _failed(report)),
        _section("May the other builds be stopped?", _stopping(report)),
        _section("Everything, in order", _table(_EVENTS, map(_event, report.events))),
        _foot(report, data),
    )
    return (
        "<!doctype html>\n"
        f"{el('html', el('head', head), el('body', el('main', body)), lang='en')}\n"
    )


def _colours(report: Report) -> tuple[dict[str, str], str]:
    """The CSS class of each build, and what the classes are; the names are not in the CSS."""
    builds = [build.build_id for build in report.builds]
    builds += [c.build_id for c in report.curves if c.build_id not in builds]
    named = build_colours(dict.fromkeys(builds))
    css = "".join(f".{n}{{--c:{c.light};--d:{c.dark}}}" for n, c in COLOURS.items())
    return {build: f"b {name}" for build, name in named.items()}, css


def _headline(report: Report) -> str:
    way = f"{report.previous} → {report.target}" if report.previous else report.target
    lasted = about((report.ended - report.began).total_seconds())
    return f"{way}: {report.outcome}" + ("" if report.outcome == "under way" else f" in {lasted}")


def _summary(report: Report) -> Html:
    failed = sum(f.failed or 0 for f in report.figures if f.part == "during")
    known = any(f.failed is not None for f in report.figures)
    safe = [s.build_id for s in report.stopping if s.safe_to_stop]
    asked = next((e.who for e in reversed(report.events) if e.who and e.at <= report.ended), "")
    facts = (
        ("Outcome", report.outcome),
        ("Began", _clock(report.began)),
        ("Ended" if report.outcome != "under way" else "As of", _clock(report.ended)),
        ("Runs that failed meanwhile", f"{failed:.0f}" if known else "?"),
        ("Safe to stop", ", ".join(safe) or "none yet"),
        ("Last command by", asked or "not known"),
    )
    kind = report.outcome.replace(" ", "-")
    return el(
        "header",
        el("p", f"{report.deployment}, namespace {report.namespace}", class_="where"),
        el("h1", _headline(report), class_=kind),
        el("p", report.reason, class_="reason"),
        el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in facts)),
        *(el("p", f"Not known: {why}", class_="missing") for why in report.missing),
    )


def _graphs(report: Report, marks: Sequence[Mark], classes: Mapping[str, str]) -> list[Html]:
    times = [at for curve in report.curves for at, _ in curve.values]
    first, last = report.began.timestamp(), report.ended.timestamp()
    ground = Ground((min([first, *times]), max([last, *times])), marks, classes)

    def drawn(title: str, *kinds: str, whole: float | None = None) -> Html:
        found = [curve for curve in report.curves if curve.kind in kinds]
        if not any(curve.values for curve in found):
            return el("p", f"{title}: nothing was recorded.", class_="missing")
        shown = {"open": _number, "p95": _seconds}.get(kinds[0], _percent)
        return graph(title, found, ground, shown, whole)

    return [
        drawn("Share of new runs, meant and real (dashed)", "meant", "real", whole=1.0),
        drawn("Open runs: how the old builds drain", "open"),
        drawn("Time from start to end of a run, 95th percentile", "p95"),
        drawn("Part of the work that failed, of the kind that did worst", "failures"),
    ]


def _marks(report: Report) -> list[Mark]:
    found = [e for e in report.events if e.name in _MARKED and report.began <= e.at]
    return [Mark(e.at.timestamp(), str(n)) for n, e in enumerate(found[:20], start=1)]


def _changes(report: Report, marks: Sequence[Mark]) -> Html:
    numbers = {mark.at: mark.label for mark in marks}
    shown = [
        (numbers.get(e.at.timestamp(), "") if e.name in _MARKED else "", *_event(e))
        for e in report.events
        if e.name not in _QUIET and report.began <= e.at <= report.ended
    ]
    return _table(("", *_EVENTS), shown[-60:])


_EVENTS = ("Time", "Told by", "Build", "What")


def _event(event: Happened) -> tuple[str, ...]:
    return _time(event.at), event.source, event.build_id or "", event.text


def _people(report: Report) -> Html:
    found = [(_clock(e.at), e.who, e.text) for e in report.events if e.who]
    if not found:
        return el("p", "Nothing that a person did is on record.", class_="missing")
    return joined(el("h3", "Who did what"), _table(("Time", "Who", "What"), found))


def _figures(report: Report, classes: Mapping[str, str]) -> Html:
    head = (
        *("", "Build", "For", "Completed", "Failed", "Workflow tasks failed"),
        *("Activities failed", "p50", "p95"),
    )
    order = {part: number for number, part in enumerate(_PARTS)}
    rows = [
        (
            f.part,
            el("span", f.build_id, class_=classes.get(f.build_id, "")),
            about(f.seconds),
            *map(_number, (f.completed, f.failed, f.task_failures, f.activity_failures)),
            *map(_seconds, (f.p50, f.p95)),
        )
        for f in sorted(report.figures, key=lambda f: (order[f.part], f.build_id))
        if _is_told(f)
    ]
    return _table(head, rows) if rows else el("p", "Nothing was recorded.", class_="missing")


def _is_told(figures: Figures) -> bool:
    """Whether the build did anything then, or it is not known that it did not."""
    known = (figures.completed, figures.failed, figures.task_failures, figures.activity_failures)
    return any(value is None or value > 0 for value in known)


def _gate(report: Report) -> Html:
    names = ("gate.seen", "gate.started", "replay.finished", "replay.seen")
    found = [_event(e) for e in report.events if e.name in names and report.began <= e.at]
    if not found:
        return el("p", "No gate and no replay is on record.", class_="missing")
    return _table(_EVENTS, found)


def _analysis(report: Report) -> Html:
    rows = [
        (_time(at), build_id, what, f"{failed} of {done}", _percent(failed / done) if done else "-")
        for at, build_id, what, failed, done in report.analysis
    ]
    if not rows:
        return el("p", "Analysis has counted nothing.", class_="missing")
    return joined(
        el("h3", "What analysis had counted when the plan changed"),
        _table(("Time", "Build", "Work", "Failed", "Part"), rows[-60:]),
    )


def _failed(report: Report) -> Html:
    if not report.failed:
        is_known = not any("failed runs" in why for why in report.missing)
        return el("p", "None." if is_known else "Not known.", class_="missing")
    rows = [
        (_clock(r.closed_at) if r.closed_at else "?", r.build_id, r.workflow_type, r.status,
         r.workflow_id, r.run_id)
        for r in report.failed
    ]  # fmt: skip
    return _table(("Ended", "Build", "Type", "How", "Workflow", "Run"), rows)


def _stopping(report: Report) -> Html:
    parts = []
    for each in report.stopping:
        word = "safe to stop" if each.safe_to_stop else "not safe to stop"
        points = (
            el(
                "li",
                f"{'✓' if point.ok else '✗'} {point.detail}",
                class_="ok" if point.ok else "no",
            )
            for point in each.evidence
        )
        parts.append(joined(el("h3", f"{each.build_id}: {word}"), el("ul", *points)))
    return joined(*parts) if parts else el("p", "There is no other build.", class_="missing")


def _foot(report: Report, data: bytes) -> Html:
    link = f"data:application/json;base64,{base64.b64encode(data).decode()}"
    name = f"{report.began:%Y%m%dT%H%M%SZ}.json"
    # A "</script>" in a name would end the element: no "<" is left in it.
    embedded = data.decode().replace("<", "\\u003c").replace("&", "\\u0026")
    return el(
        "footer",
        el("p", f"Made {_clock(report.made_at)}. Times are UTC. ",
           el("a", "The figures as JSON", href=link, download=name)),
        Html(f'<script type="application/json" id="report">{embedded}</script>'),
    )  # fmt: skip


def _section(title: str, *content: Html) -> Html:
    return el("section", el("h2", title), *content)


def _table(head: Sequence[str], rows: Iterable[Sequence[str | Html]]) -> Html:
    body = [el("tr", *(el("td", cell) for cell in row)) for row in rows]
    if not body:
        return el("p", "Nothing is on record.", class_="missing")
    titles = el("tr", *(el("th", title, scope="col") for title in head))
    return el("div", el("table", el("thead", titles), el("tbody", *body)), class_="wide")


def _clock(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _time(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%H:%M:%S")


def _percent(share: float) -> str:
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
