"""`rollout logs`: every process's log, merged by time."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from rollout.base.command_line import duration
from rollout.base.exit import Misuse
from rollout.base.log_files import LogFile, merged, programs
from rollout.base.log_records import LEVELS, Record
from rollout.base.settings import LOG_DIR

__all__ = ["logs", "show"]

_POLL_SECONDS = 0.25
_FOLLOW_SINCE = 60.0  # without --since, so much of the past comes before what is new
_EPILOG = """\
On a terminal the records are text, in a pipe or with --json JSON objects, one a
line, with the keys timestamp, level, event and program whatever the program.

examples:
  rollout logs --since 10m
  rollout logs -f --build-id v2 --level warning
  rollout logs --workflow-id greeting-17 --json | head
  rollout logs -f supervisord worker-v1
"""
# Said by the head of the line, or the same in every record of a program.
_NOT_SHOWN = {
    *("timestamp", "level", "event", "program", "logger"),
    *("service.name", "service.version", "deployment_name", "exception"),
}
_COLOURS = {"debug": "2", "warning": "33", "error": "31", "critical": "1;31"}


def logs(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout logs``."""
    parser.epilog = _EPILOG
    parser.add_argument("program", nargs="*", metavar="PROGRAM", help="only of these programs")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="the last minute, and on as it is written"
    )
    parser.add_argument(
        "-d", "--deployment", metavar="NAME", help="only of or about this deployment"
    )
    parser.add_argument("--build-id", metavar="ID", help="only of or about this build")
    parser.add_argument("--workflow-id", metavar="ID", help="only about this workflow")
    parser.add_argument("--level", choices=LEVELS, default="debug", help="at least this level")
    parser.add_argument("--since", type=duration, metavar="30s|10m|2h", help="only so far back")
    parser.add_argument("--json", action="store_true", help="JSON on a terminal as well")
    parser.set_defaults(run=show)


def show(given: argparse.Namespace, folder: Path = LOG_DIR) -> int:
    """Show the logs in ``folder`` as ``given`` asks."""
    known = programs(folder)
    for name in given.program:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            listed = ", ".join(known) or "none: the stack has not run yet"
            raise Misuse(f"no program {name!r} has a log; {hint}there are: {listed}")
    write = _writer(as_json=given.json or not sys.stdout.isatty())
    since = given.since if given.since is not None or not given.follow else _FOLLOW_SINCE
    wanted = _filter(given, 0.0 if since is None else time.time() - since)
    files = [LogFile(folder, name) for name in given.program or known]
    _write_all(merged(files), wanted, write)
    if given.follow:
        _follow(files, folder, wanted, write, fixed=bool(given.program))
    return 0


def _filter(given: argparse.Namespace, since: float) -> Callable[[Record], bool]:
    least = LEVELS.index(given.level)

    def wanted(record: Record) -> bool:
        fields = record.fields
        builds = (fields.get("service.version"), fields.get("build_id"))
        return (
            record.time >= since
            and LEVELS.index(fields["level"]) >= least
            and (given.build_id is None or given.build_id in builds)
            and (given.deployment is None or _is_of(given.deployment, record))
            and (given.workflow_id is None or fields.get("workflow_id") == given.workflow_id)
        )

    return wanted


def _is_of(deployment: str, record: Record) -> bool:
    """By what the record says; of a program that says nothing, by the name that it was given."""
    said = record.fields.get("deployment_name")
    if said is None:
        return record.program.startswith(f"worker-{deployment}-")
    return bool(said == deployment)


def _write_all(
    found: Iterable[Record], wanted: Callable[[Record], bool], write: Callable[[Record], None]
) -> None:
    for record in found:
        if wanted(record):
            write(record)
    sys.stdout.flush()


def _follow(
    logs: list[LogFile],
    folder: Path,
    wanted: Callable[[Record], bool],
    write: Callable[[Record], None],
    *,
    fixed: bool,
) -> None:
    while True:
        time.sleep(_POLL_SECONDS)
        if not fixed:
            have = {log.program for log in logs}
            logs += [LogFile(folder, name) for name in programs(folder) if name not in have]
        news = [record for log in logs for record in log.news()]
        _write_all(sorted(news, key=lambda record: record.time), wanted, write)


def _writer(*, as_json: bool) -> Callable[[Record], None]:
    if as_json:
        return lambda record: print(_as_json(record))
    coloured = "NO_COLOR" not in os.environ
    return lambda record: print(_printable(_readable(record, coloured=coloured)))


def _as_json(record: Record) -> str:
    text = json.dumps(record.fields, ensure_ascii=False, default=str)
    return text if _printable(text) == text else json.dumps(record.fields, default=str)


def _printable(text: str) -> str:
    """``text``, with escapes for what this output has no bytes for, as half a UTF-16 pair."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, errors="backslashreplace").decode(encoding)


def _readable(record: Record, *, coloured: bool) -> str:
    fields = record.fields
    clock = datetime.fromtimestamp(record.time).astimezone().strftime("%H:%M:%S.%f")[:-3]
    level = f"{fields['level']:<8}"
    colour = _COLOURS.get(fields["level"])
    if coloured and colour:
        level = f"\x1b[{colour}m{level}\x1b[0m"
    own = fields.get("build_id") == fields.get("service.version")
    hidden = {*_NOT_SHOWN, *(["build_id"] if own else [])}
    pairs = "".join(
        f" {key}={_quoted(value)}"
        for key, value in fields.items()
        if key not in hidden and value not in (None, "")
    )
    event, newline, more = fields["event"].partition("\n")
    exception = f"\n{fields['exception']}" if fields.get("exception") else ""
    return f"{clock} {record.program:<11} {level} {event}{pairs}{newline}{more}{exception}"


def _quoted(value: object) -> str:
    if isinstance(value, str) and " " not in value:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
