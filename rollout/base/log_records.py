"""One line of any process's log as a record with the keys of `rollout.base.logs`.

Ours and Temporal's are JSON objects, Prometheus's and Grafana's logfmt, and
supervisord's plain text with local time. A line that is none of these, such as
a traceback's, belongs to the record before it: no line is too strange to be shown.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

__all__ = ["LEVELS", "Record", "own_name", "parse", "records"]

LEVELS = ("debug", "info", "warning", "error", "critical")

_LEVEL_NAMES = {
    **{level: level for level in LEVELS},
    "trac": "debug",
    "blat": "debug",
    "debg": "debug",
    "trace": "debug",
    "warn": "warning",
    "erro": "error",
    "eror": "error",
    "crit": "critical",
    "fatal": "critical",
    "panic": "critical",
    # Of pino and bunyan, who write them as numbers.
    "10": "debug",
    "20": "debug",
    "30": "info",
    "40": "warning",
    "50": "error",
    "60": "critical",
}
_TIME_KEYS = ("timestamp", "time", "ts", "t")
_LEVEL_KEYS = ("level", "lvl")
_EVENT_KEYS = ("event", "msg", "message")
_RENAMED = {"wf-id": "workflow_id", "wf-run-id": "run_id", "WorkflowID": "workflow_id"}
_LOGFMT = re.compile(r'([A-Za-z_][\w.\-/]*)=("(?:[^"\\]|\\.)*"|\S*)')
_PLAIN = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) ([A-Z]{4}) (.*)", re.ASCII)
_NUMBER = re.compile(r"\d{1,20}(?:\.\d+)?", re.ASCII)
_EARLIEST, _LATEST = 1e8, 1e11
"""Seconds since the epoch, the years 1973 and 5138: what is not between them is no time."""
_UNITS = (1.0, 1e3, 1e6, 1e9)
"""Of a second, a millisecond, and so on: no two of them give a time for one number."""
_DEEPEST = 100
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)


@dataclass
class Record:
    """One record of the log of ``program``."""

    time: float
    """Seconds since the epoch."""
    program: str
    fields: dict[str, Any]
    """With at least ``timestamp``, ``level`` (one of `LEVELS`), ``event`` and ``program``."""


def records(program: str, lines: Iterable[str], last: float | None = None) -> Iterator[Record]:
    """The records in ``lines``, each with the lines that belong to it.

    Lines before the first that tells its time, such as a banner, are a record of
    their own: at ``last``, the time of a record read earlier, else at that of the next.
    """
    current: Record | None = None
    more: list[str] = []
    for line in lines:
        found = parse(program, line)
        if current is None and (found or line.strip()):
            current = found or _untimed(program, line, last)
        elif current is not None and found is None:
            more.append(line)
        elif current is not None and found is not None:
            if current.fields["timestamp"] is None:
                current = _at(found.time, current)
            yield _with(more, current)
            current, more = found, []
    if current is not None:
        whole = _with(more, current)
        yield whole if whole.fields["timestamp"] else _at(time.time(), whole)


def _with(lines: list[str], record: Record) -> Record:
    """``record`` with the ``lines`` that belong to it; joined once, there may be a million."""
    if lines:
        record.fields["event"] = "\n".join([record.fields["event"], *lines])
    return record


def _untimed(program: str, line: str, last: float | None) -> Record:
    fields = {"timestamp": None, "level": "info", "event": line, "program": program}
    record = Record(0.0, program, fields)
    return record if last is None else _at(last, record)


def _at(moment: float, record: Record) -> Record:
    return Record(moment, record.program, {**record.fields, "timestamp": _iso(moment)})


def parse(program: str, line: str) -> Record | None:
    """The record that ``line`` begins, or None where it begins none."""
    if line.startswith("{"):
        found = _object(line)
        return None if found is None else _from_pairs(program, found)
    plain = _PLAIN.fullmatch(line)
    if plain is not None:
        seconds, millis, level, event = plain.groups()
        try:
            local = datetime.strptime(seconds, "%Y-%m-%d %H:%M:%S").astimezone()
            moment = local.timestamp() + int(millis) / 1000
        except (ValueError, OverflowError):  # 2026-02-31, or the year 1 in some zone
            return None
        if not _EARLIEST <= moment < _LATEST:
            return None
        return _record(program, moment, level, event, {"timestamp": _iso(moment)})
    if line.startswith(("ts=", "time=", "t=", "level=", "logger=")):
        pairs = {key: _unquoted(value) for key, value in _LOGFMT.findall(line)}
        return _from_pairs(program, pairs)
    return None


def _object(line: str) -> dict[str, Any] | None:
    """The JSON object in ``line``, of values that can be written as JSON again; else None."""
    try:
        found = json.loads(line, parse_constant=str, parse_float=_float)
    except (ValueError, RecursionError):
        return None
    if line.count("{") + line.count("[") > _DEEPEST and _is_deep(found):
        return None
    return found if isinstance(found, dict) else None


def _float(text: str) -> float | str:
    """The number; as text where it is beyond a float, which JSON has no word for."""
    number = float(text)
    return number if math.isfinite(number) else text


def _is_deep(found: object) -> bool:
    """Whether it is nested deeper than what prints it might go."""
    level: list[object] = [found]
    for _ in range(_DEEPEST):
        inner: list[object] = []
        for each in level:
            inner += each.values() if isinstance(each, dict) else []
            inner += each if isinstance(each, list) else []
        if not inner:
            return False
        level = inner
    return True


def _from_pairs(program: str, pairs: dict[str, Any]) -> Record | None:
    timed = ((key, _seconds(pairs[key])) for key in _TIME_KEYS if key in pairs)
    key, moment = next(((key, found) for key, found in timed if found is not None), ("", None))
    if moment is None:
        return None
    rest = {_RENAMED.get(name, name): value for name, value in pairs.items() if name != key}
    stamp = pairs[key]
    level = _take(rest, _LEVEL_KEYS)
    event = _take(rest, _EVENT_KEYS)
    # As it was written, which may be finer than a float can say.
    is_written = isinstance(stamp, str) and not _NUMBER.fullmatch(stamp)
    stamped = {"timestamp": stamp if is_written else _iso(moment)}
    return _record(
        program,
        moment,
        "info" if level is None else str(level),
        "" if event is None else str(event),
        {**{own_name(name, stamped): value for name, value in rest.items()}, **stamped},
    )


def own_name(key: str, taken: Container[str]) -> str:
    """What ``key`` is called beside what is ``taken``: ``extra_event`` for ``event``, and so on."""
    while key in taken:
        key = f"extra_{key}"
    return key


def _record(program: str, moment: float, level: str, event: str, rest: dict[str, Any]) -> Record:
    fields = {
        "timestamp": rest.pop("timestamp"),
        "level": _LEVEL_NAMES.get(level.lower(), "info"),
        "event": event,
        "program": program,
    }
    for key, value in rest.items():
        fields[own_name(key, fields)] = value
    return Record(moment, program, fields)


def _take(pairs: dict[str, Any], keys: Iterable[str]) -> Any:  # noqa: ANN401 - any JSON value
    """The value of the first of ``keys`` that is there, which is then gone."""
    return next((pairs.pop(key) for key in keys if key in pairs), None)


def _seconds(stamp: object) -> float | None:
    """Seconds since the epoch of a time as text, or as a number of s, ms, us or ns by its size."""
    if isinstance(stamp, str) and _NUMBER.fullmatch(stamp):
        stamp = float(stamp)
    if isinstance(stamp, (int, float)):
        fits = (unit for unit in _UNITS if _EARLIEST * unit <= stamp < _LATEST * unit)
        unit = next(fits, None)
        return None if unit is None else stamp / unit
    match = _RFC3339.fullmatch(stamp) if isinstance(stamp, str) else None
    if match is None:
        return None
    date, clock, fraction, zone = match.groups()
    # fromisoformat takes neither Z nor nanoseconds before Python 3.11.
    offset = "+00:00" if zone in (None, "Z") else f"{zone[:3]}:{zone[-2:]}"
    try:
        whole = datetime.fromisoformat(f"{date}T{clock}{offset}").timestamp()
    except (ValueError, OverflowError):
        return None
    moment = whole + float(f"0.{fraction or 0}")
    return moment if _EARLIEST <= moment < _LATEST else None


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:  # an escape that is Go's and not JSON's
        return value[1:-1]


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
