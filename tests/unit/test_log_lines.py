"""Any line that a program can print is shown, and any field that is logged is kept."""

from __future__ import annotations

import argparse
import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rollout.base.log_records import LEVELS, parse, records
from rollout.base.settings import ROOT
from rollout.commands import logs
from tests.support.examples import many

MOMENT = 1732489200.5
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["time", "ts", "t", "timestamp", "level", "lvl", "event", "msg", "program", "exception"]
)
TIMES = st.sampled_from([MOMENT, 1732489200123, "2026-11-24T22:00:00Z", "1732489200"])
LINES = st.one_of(
    st.text(),
    st.dictionaries(KEYS | st.text(), TIMES | JSON, max_size=6).map(json.dumps),
    st.dictionaries(KEYS, TIMES | JSON, max_size=6).map(lambda d: json.dumps({"ts": 2e9, **d})),
    st.from_regex(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]{4} .*", fullmatch=True),
    st.from_regex(r'(ts|time|level)=("[^"]*"|\S*)( \w+=("[^"]*"|\S*))*', fullmatch=True),
)
SHARED_LINES = (
    '{"time":1732489200123,"level":30,"msg":"milliseconds"}',
    '{"ts":1732489200.5,"msg":"seconds"}',
    '{"timestamp":"2026-11-24T22:00:00Z","event":"text"}',
    "plain text",
)


def shown(lines: list[str], *words: str, encoding: str = "utf-8", folder: Path) -> str:
    """What ``rollout logs WORDS`` prints of a program that has printed ``lines``."""
    text = "".join(f"{line}\n" for line in lines)
    (folder / "some.log").write_bytes(text.encode("utf-8", errors="surrogatepass"))
    parser = argparse.ArgumentParser()
    logs.logs(parser)
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        if "--text" in words:
            patch.setattr(output, "isatty", lambda: True)
        assert logs.show(parser.parse_args([w for w in words if w != "--text"]), folder) == 0
        output.flush()
    return output.buffer.getvalue().decode(encoding)


@settings(max_examples=many(120), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINES, max_size=6))
@example(lines=['{"ts": 1732489200, "msg": "\\ud800"}'])
@example(lines=["[" * 5000, '{"ts":1732489200,"a":' + "[" * 900 + "]" * 900 + "}"])
@example(lines=["2026-02-31 00:00:00,000 INFO no such day", "0001-01-01 00:00:00,000 INFO zero"])
@example(lines=['{"time": NaN}', '{"time": 1e999}', '{"time": 1' + "0" * 400 + "}"])
def test_no_line_ends_it(lines: list[str], tmp_path: Path) -> None:
    """Whatever the line and the terminal; what comes as JSON is JSON, by any reader's rules."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    for encoding in ("utf-8", "ascii", "latin-1"):
        shown(lines, "--text", encoding=encoding, folder=tmp_path)
        printed = shown(lines, "--json", encoding=encoding, folder=tmp_path)
        for line in printed.split("\n")[:-1]:
            fields = json.loads(line, parse_constant=refuse)
            assert list(fields)[:4] == ["timestamp", "level", "event", "program"]
            assert fields["program"] == "some"
            assert fields["level"] in LEVELS


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1))
def test_every_plain_line_is_in_a_record(lines: list[str]) -> None:
    """Nothing is lost: what begins no record is in the one before it."""
    lines = [line for line in lines if line.strip() and parse("some", line) is None]
    text = "\n".join(record.fields["event"] for record in records("some", lines))
    assert text == "\n".join(lines)


def test_the_lines_that_ended_it(tmp_path: Path) -> None:
    """Milliseconds, seconds and text are times, and what is none belongs to the one before."""
    found = [json.loads(line) for line in shown([*SHARED_LINES], folder=tmp_path).splitlines()]
    assert [(each["timestamp"], each["event"]) for each in found] == [
        ("2024-11-24T23:00:00.123Z", "milliseconds"),
        ("2024-11-24T23:00:00.500Z", "seconds"),
        ("2026-11-24T22:00:00Z", "text\nplain text"),
    ]


@pytest.mark.parametrize(
    "stamp",
    [
        *("1732489200.5", "1732489200500", "1732489200500000", "1732489200500000000"),
        *('"1732489200.5"', '"1732489200500"', '"2024-11-24T23:00:00.5Z"'),
    ],
)
def test_times_by_their_size(stamp: str) -> None:
    """Seconds, milli-, micro- and nanoseconds, as numbers and as text, are one time."""
    record = parse("some", f'{{"time": {stamp}, "msg": "x"}}')
    assert record is not None
    assert record.time == pytest.approx(MOMENT, abs=1e-3)
    logfmt = parse("some", f"ts={stamp} msg=x")
    assert logfmt is not None
    assert logfmt.time == record.time


@pytest.mark.parametrize("stamp", ["0.25", "-1", "true", "null", "NaN", "1e30", '"soon"', "{}"])
def test_what_is_no_time(stamp: str) -> None:
    """A duration, a flag or a word is no time; the next key that holds one is taken."""
    assert parse("some", f'{{"time": {stamp}, "msg": "x"}}') is None
    record = parse("some", f'{{"time": {stamp}, "ts": {MOMENT}}}')
    assert record is not None
    assert record.time == MOMENT


def test_a_line_cannot_pass_for_another_programs() -> None:
    """Its own ``program`` is kept under another name, and so are further levels and events."""
    record = parse(
        "mine", f'{{"ts":{MOMENT},"timestamp":"no","program":"other","event":"a","msg":"b"}}'
    )
    assert record is not None
    assert record.fields["program"] == "mine"
    assert record.fields["extra_program"] == "other"
    assert record.fields["extra_timestamp"] == "no"
    assert (record.fields["event"], record.fields["msg"]) == ("a", "b")


SCRIPT = """
import logging, types
from pathlib import Path
from rollout.base.logs import CORE_LOGGER, configure

class Bad:
    def __repr__(self):
        raise ValueError("no")

circle = []
circle.append(circle)
configure("shop", build_id="v1")
given = {
    "event": "E", "level": "L", "timestamp": "T", "logger": "G", "build_id": "v9", "program": "P",
    "extra_event": "F", "workflow_id": "mine", "order": {"items": [1, {"at": Path("/x")}]},
    "keys": {(1, 2): 3}, "circle": circle, "nan": float("nan"), "bad": Bad(), "half": "\\ud800",
}
logging.getLogger("plain").info("one", extra=given)
given["temporal_workflow"] = {"workflow_id": "w", "run_id": "r"}
logging.getLogger("temporalio.workflow").info("two", extra=given)
del given["temporal_workflow"]
given["temporal_activity"] = {"workflow_id": "w", "workflow_run_id": "r", "attempt": 2}
logging.getLogger("temporalio.activity").info("three", extra=given)
"""


def test_extra_fields_reach_the_json() -> None:
    """Ours win, what clashes has another name, and what is no JSON is there as text."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={"LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert [each["event"] for each in found] == ["one", "two", "three"]
    for each in found:
        assert (each["level"], each["build_id"], each["service.version"]) == ("info", "v1", "v1")
        assert each["extra_level"] == "L"
        assert each["extra_build_id"] == "v9"
        assert each["extra_program"] == "P"
        assert {each["extra_event"], each["extra_extra_event"]} == {"E", "F"}
        assert each["order"] == {"items": [1, {"at": "PosixPath('/x')"}]}
        assert (each["keys"], each["nan"], each["circle"]) == ("{(1, 2): 3}", "nan", "[[...]]")
        assert each["bad"].startswith("<__main__.Bad object at")
        assert "_record" not in each
    assert found[0]["workflow_id"] == "mine"
    for each in found[1:]:
        assert (each["workflow_id"], each["run_id"]) == ("w", "r")
        assert each["extra_workflow_id"] == "mine"


@pytest.mark.parametrize(
    ("message", "fields", "expected"),
    [
        (
            "Failing workflow task",
            {"run_id": "0199-ab", "failure": 'Failure { workflow_id: "order 1" }'},
            {"run_id": "0199-ab", "workflow_id": "order 1"},
        ),
        (
            'gone: WorkflowExecution { workflow_id: "w\'1", run_id: "r-1" }',
            {},
            {"workflow_id": "w'1", "run_id": "r-1"},
        ),
        ("lost", {"error": "x workflow_id=w, run_id=r)"}, {"workflow_id": "w", "run_id": "r"}),
        ("evicted", {"info": 'Some("x") run_id: Some("r-1")'}, {"run_id": "r-1"}),
        ("polling", {"level": "odd"}, {"extra_level": "odd"}),
    ],
)  # fmt: skip
def test_core_records_name_their_workflow(
    message: str, fields: dict[str, str], expected: dict[str, str]
) -> None:
    """A workflow that the SDK's core names in its text or its fields is a key of the record."""
    from rollout.base.logs import _flatten_temporal  # noqa: PLC0415

    record = logging.LogRecord("temporalio.core", 30, "", 0, message, (), None)
    record.temporal_log = SimpleNamespace(target="core", fields=fields)
    event = {"event": message, "level": "warning", "_record": record}
    found = _flatten_temporal(None, "warning", event)
    assert {key: found.get(key) for key in expected} == expected
    assert found["level"] == "warning"
