"""One line of any process's log as a record with the keys of `rollout.base.logs`.

Ours and Temporal's are JSON objects, Prometheus's and Grafana's logfmt, and
supervisord's plain text with local time. A line that is none of these, such as
a traceback's, belongs to the record before it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

__all__ = ["LEVELS", "Record", "parse", "records"]

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
}
_TIME_KEYS = ("timestamp", "time", "ts", "t")
_LEVEL_KEYS = ("level", "lvl")
_EVENT_KEYS = ("event", "msg", "message")
_RENAMED = {"wf-id": "workflow_id", "wf-run-id": "run_id", "WorkflowID": "workflow_id"}
_LOGFMT = re.compile(r'([A-Za-z_][\w.\-/]*)=("(?:[^"\\]|\\.)*"|\S*)')
_PLAIN = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) ([A-Z]{4}) (.*)")
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
    for line in lines:
        found = parse(program, line)
        if current is None and (found or line.strip()):
            current = found or _untimed(program, line, last)
        elif current is not None and found is None:
            current.fields["event"] = f"{current.fields['event']}\n{line}"
        elif current is not None and found is not None:
            if current.fields["timestamp"] is None:
                current = _at(found.time, current)
            yield current
            current = found
    if current is not None:
        yield current if current.fields["timestamp"] else _at(time.time(), current)


def _untimed(program: str, line: str, last: float | None) -> Record:
    fields = {"timestamp": None, "level": "info", "event": line, "program": program}
    record = Record(0.0, program, fields)
    return record if last is None else _at(last, record)


def _at(moment: float, record: Record) -> Record:
    return Record(moment, record.program, {**record.fields, "timestamp": _iso(moment)})


def parse(program: str, line: str) -> Record | None:
    """The record that ``line`` begins, or None where it begins none."""
    if line.startswith("{"):
        try:
            found = json.loads(line)
        except ValueError:
            return None
        return _from_pairs(program, found)
    plain = _PLAIN.fullmatch(line)
    if plain is not None:
        seconds, millis, level, event = plain.groups()
        local = datetime.strptime(seconds, "%Y-%m-%d %H:%M:%S").astimezone()
        moment = local.timestamp() + int(millis) / 1000
        return _record(program, moment, level, event, {"timestamp": _iso(moment)})
    if line.startswith(("ts=", "time=", "t=", "level=", "logger=")):
        pairs = {key: _unquoted(value) for key, value in _LOGFMT.findall(line)}
        return _from_pairs(program, pairs)
    return None


def _from_pairs(program: str, pairs: dict[str, Any]) -> Record | None:
    rest = {_RENAMED.get(key, key): value for key, value in pairs.items()}
    stamp = _take(rest, _TIME_KEYS)
    moment = _seconds(stamp)
    if moment is None:
        return None
    level = str(_take(rest, _LEVEL_KEYS) or "info")
    event = str(_take(rest, _EVENT_KEYS) or "")
    # As it was written, which may be finer than a float can say.
    rest["timestamp"] = stamp if isinstance(stamp, str) else _iso(moment)
    return _record(program, moment, level, event, rest)


def _record(program: str, moment: float, level: str, event: str, rest: dict[str, Any]) -> Record:
    fields = {
        "timestamp": rest.pop("timestamp"),
        "level": _LEVEL_NAMES.get(level.lower(), "info"),
        "event": event,
        "program": program,
        **rest,
    }
    return Record(moment, program, fields)


def _take(pairs: dict[str, Any], keys: Iterable[str]) -> Any:  # noqa: ANN401 - any JSON value
    """The value of the first of ``keys`` that is there, which is then gone."""
    return next((pairs.pop(key) for key in keys if key in pairs), None)


def _seconds(stamp: object) -> float | None:
    if isinstance(stamp, (int, float)):
        return float(stamp)
    match = _RFC3339.fullmatch(stamp) if isinstance(stamp, str) else None
    if match is None:
        return None
    date, clock, fraction, zone = match.groups()
    # fromisoformat takes neither Z nor nanoseconds before Python 3.11.
    offset = "+00:00" if zone in (None, "Z") else f"{zone[:3]}:{zone[-2:]}"
    try:
        whole = datetime.fromisoformat(f"{date}T{clock}{offset}").timestamp()
    except ValueError:
        return None
    return whole + float(f"0.{fraction or 0}")


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
