"""``rollout logs``: the records of every program's format, merged, filtered, followed."""

from __future__ import annotations

import json
import os
import pty
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from supervisor.loggers import Logger, getLogger, handle_file

from rollout.base.last_words import last_words, sentence
from rollout.base.log_files import LogFile, merged
from rollout.base.log_records import parse, records
from rollout.base.settings import ROOT

DAY = "2026-11-22T18:00:"
COMMAND = (
    "import sys; from pathlib import Path; from rollout.base.exit import finish; "
    "from rollout.commands.command_table import command_parser as parser; "
    "from rollout.commands.logs import show; "
    "finish('logs', lambda: show(parser('logs').parse_args(sys.argv[2:]), Path(sys.argv[1])))"
)


def ours(second: float, event: str, **fields: str) -> str:
    """A line as our processes write it."""
    return json.dumps({"event": event, "level": "info", "timestamp": stamp(second), **fields})


def test_only_of_one_deployment(tmp_path: Path) -> None:
    """By what a record says, else by the name that `rollout add` gives to a program."""
    both = [ours(n, name, deployment_name=name) for n, name in enumerate(("shop", "pay"))]
    (tmp_path / "rollout.log").write_text("\n".join(both) + "\n")
    (tmp_path / "worker-shop-3f9c2ab.log").write_text(ours(3, "by its name") + "\n")
    (tmp_path / "worker-pay-3f9c2ab.log").write_text(ours(4, "another's") + "\n")
    assert events(tmp_path, "-d", "shop") == ["shop", "by its name"]


def stamp(second: float) -> str:
    """A time of one day, in RFC 3339."""
    return f"{DAY}{second:09.6f}Z"


def logs(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``rollout logs WORDS`` over the files in ``folder``."""
    return subprocess.run(
        [sys.executable, "-c", COMMAND, folder, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def events(folder: Path, *words: str) -> list[str]:
    """The events of the records that the command shows."""
    done = logs(folder, *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["event"] for line in done.stdout.splitlines()]


class TestParse:
    """One line of each program's format."""

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            (
                '{"level":"WARN","ts":"2026-11-22T18:00:01.5Z","msg":"slow","wf-id":"w"}',
                {"level": "warning", "event": "slow", "workflow_id": "w"},
            ),
            (
                '{"time":"2026-11-22T19:00:01.500000000+01:00","level":"ERROR","msg":"slow"}',
                {"level": "error", "event": "slow"},
            ),
            (
                'ts=2026-11-22T18:00:01.500Z caller=main.go:551 level=info msg="a \\"b\\" c"',
                {"level": "info", "event": 'a "b" c', "caller": "main.go:551"},
            ),
            (
                "time=2026-11-22T18:00:01.500Z level=WARN source=main.go:1 msg=plain",
                {"level": "warning", "event": "plain"},
            ),
            (
                'logger=http.server t=2026-11-22T18:00:01.5Z level=eror msg="Request done"',
                {"level": "error", "event": "Request done", "logger": "http.server"},
            ),
            (ours(1.5, "done", attempt="2"), {"level": "info", "event": "done", "attempt": "2"}),
        ],
    )
    def test_formats(self, line: str, expected: dict[str, str]) -> None:
        """Every format gives the same keys, and the time that the line tells."""
        record = parse("some", line)
        assert record is not None
        assert record.time == datetime(2026, 11, 22, 18, 0, 1, 500_000, timezone.utc).timestamp()
        assert expected.items() <= record.fields.items()
        assert list(record.fields)[:4] == ["timestamp", "level", "event", "program"]

    def test_supervisord(self) -> None:
        """A line of supervisord's is in local time, whatever the zone."""
        record = parse("supervisord", "2026-11-22 18:00:01,500 CRIT out of order")
        assert record is not None
        assert record.time == datetime(2026, 11, 22, 18, 0, 1, 500_000).astimezone().timestamp()
        assert record.fields["level"] == "critical"
        assert record.fields["event"] == "out of order"

    @pytest.mark.parametrize(
        "line",
        ["", "Traceback (most recent call last):", "{broken", "{}", "[1]", "time=never level=info"],
    )
    def test_no_record(self, line: str) -> None:
        """A line that tells no time begins no record."""
        assert parse("some", line) is None


class TestRecords:
    """The lines of one file."""

    def test_traceback_stays_with_its_record(self) -> None:
        """Lines that tell no time belong to the record before them."""
        lines = [ours(1, "failed"), "Traceback:", "  line", ours(2, "next")]
        assert [record.fields["event"] for record in records("some", lines)] == [
            "failed\nTraceback:\n  line",
            "next",
        ]

    def test_banner_comes_with_the_first_record(self) -> None:
        """Lines before the first record are one of their own, at that record's time."""
        banner, first = records("some", ["Some Server 1.0", "UI: here", ours(1, "first")])
        assert banner.fields["event"] == "Some Server 1.0\nUI: here"
        assert banner.time == first.time
        assert banner.fields["timestamp"] == f"{DAY}01.000Z"


class TestMerged:
    """The records of several programs."""

    def test_by_time_through_rotated_files(self, tmp_path: Path) -> None:
        """Rotated files come before the present one, and programs are merged by time."""
        (tmp_path / "a.log.10").write_text(ours(1, "a1") + "\n")
        (tmp_path / "a.log.2").write_text(ours(3, "a3") + "\n")
        (tmp_path / "a.log.1").write_text(ours(5, "a5") + "\n")
        (tmp_path / "a.log").write_text(ours(7, "a7") + "\n")
        (tmp_path / "b.log").write_text("".join(ours(s, f"b{s}") + "\n" for s in (2, 4, 6, 8)))
        found = merged([LogFile(tmp_path, "b"), LogFile(tmp_path, "a")])
        assert [record.fields["event"] for record in found] == [
            *("a1", "b2", "a3", "b4", "a5", "b6", "a7", "b8")
        ]


class TestNews:
    """What is written after the file was read."""

    @pytest.fixture
    def log(self, tmp_path: Path) -> LogFile:
        """A log with one line that has been read."""
        (tmp_path / "a.log").write_text(ours(1, "old") + "\n")
        log = LogFile(tmp_path, "a")
        assert len(list(log.history())) == 1
        return log

    def news(self, log: LogFile) -> list[str]:
        """The events that are new."""
        return [record.fields["event"] for record in log.news()]

    def test_a_line_in_two_writes(self, tmp_path: Path, log: LogFile) -> None:
        """A record shows once its line is whole."""
        line = ours(2, "new")
        with (tmp_path / "a.log").open("a") as file:
            file.write(line[:20])
            file.flush()
            assert self.news(log) == []
            file.write(line[20:] + "\n")
        assert self.news(log) == ["new"]
        assert self.news(log) == []

    def test_rotation_by_supervisor(self, tmp_path: Path) -> None:
        """Nothing is lost or shown twice when supervisor's own logger rotates the file."""
        logger: Logger = getLogger()
        handle_file(logger, str(tmp_path / "a.log"), "%(message)s\n", True, 1000, 3)
        log = LogFile(tmp_path, "a")
        seen = [record.fields["event"] for record in log.history()]
        for number in range(40):
            logger.info(ours(number, str(number)))
            seen += self.news(log)
        logger.close()
        assert seen == [str(number) for number in range(40)]
        assert (tmp_path / "a.log.3").exists()

    def test_emptied_file(self, tmp_path: Path, log: LogFile) -> None:
        """A file that was emptied is read again from its beginning."""
        (tmp_path / "a.log").write_text("")
        assert self.news(log) == []
        (tmp_path / "a.log").write_text(ours(2, "n") + "\n")
        assert self.news(log) == ["n"]

    def test_a_file_that_comes_later(self, tmp_path: Path) -> None:
        """A log that is not there yet is read from its beginning once it is."""
        log = LogFile(tmp_path, "late")
        assert list(log.history()) == []
        (tmp_path / "late.log").write_text(ours(1, "first") + "\n")
        assert self.news(log) == ["first"]


class TestCommand:
    """The command itself."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """The logs of three programs."""
        (tmp_path / "worker-v1.log").write_text(
            ours(1, "one", **{"service.version": "v1", "workflow_id": "w-1"})
            + "\nplain words\n"
            + ours(4, "four", **{"service.version": "v1", "level": "error"})
            + "\n"
        )
        (tmp_path / "worker-v2.log").write_text(
            ours(2, "two", **{"service.version": "v2", "workflow_id": "w-2"}) + "\n"
        )
        (tmp_path / "prometheus.log").write_text(
            f"ts={stamp(3)} caller=x.go:1 level=warn msg=three\n"
        )
        return tmp_path

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ([], ["one\nplain words", "two", "three", "four"]),
            (["--build-id", "v2"], ["two"]),
            (["--workflow-id", "w-1"], ["one\nplain words"]),
            (["--level", "warning"], ["three", "four"]),
            (["--level", "error", "--build-id", "v1"], ["four"]),
            (["prometheus", "worker-v2"], ["two", "three"]),
            (["--since", "1s"], []),
            (["--since", "36500d"], ["one\nplain words", "two", "three", "four"]),
        ],
    )
    def test_filters(self, folder: Path, words: list[str], expected: list[str]) -> None:
        """What is asked for is shown, by time, and nothing else."""
        assert events(folder, *words) == expected

    def test_unknown_program(self, folder: Path) -> None:
        """A program that has no log is refused on one line that lists those that have."""
        done = logs(folder, "worker-v3")
        assert done.returncode == 2
        assert done.stderr == (
            "logs: no program 'worker-v3' has a log; did you mean worker-v2? "
            "there are: prometheus, worker-v1, worker-v2\n"
        )

    def test_a_reader_that_has_enough(self, folder: Path) -> None:
        """Nothing is said when the reader of the pipe goes away."""
        line = ours(5, "x" * 1000) + "\n"
        (folder / "load.log").write_text(line * 2000)
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, folder],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(timeout=20)

    def test_on_a_terminal(self, folder: Path) -> None:
        """A terminal gets text: the program, the level, the event, and what else there is."""
        ours_end, theirs = pty.openpty()
        subprocess.run(
            [sys.executable, "-c", COMMAND, folder, "worker-v2", "prometheus"],
            cwd=ROOT,
            env={**os.environ, "NO_COLOR": "1"},
            stdout=theirs,
            timeout=30,
            check=True,
        )
        os.close(theirs)
        first, second = os.read(ours_end, 10_000).decode().splitlines()
        os.close(ours_end)
        assert first.split(" ", 1)[1] == "worker-v2   info     two workflow_id=w-2"
        assert second.split(" ", 1)[1] == "prometheus  warning  three caller=x.go:1"


def run(log: Path, *words: str, **environ: str) -> int:
    """Run a command of ours with stdout and stderr in ``log``, as supervisord does."""
    with log.open("a") as file:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **environ},
            stdout=file,
            stderr=file,
            timeout=30,
            check=False,
        )
    return done.returncode


class TestLastWords:
    """The sentence that a process ends with."""

    WORKER = ("-m", "workers", "--build-id", "v9", "--strategy", "compatible")

    @pytest.mark.parametrize(
        ("flags", "told", "service"),
        [
            (WORKER, "unknown build 'v9'", "worker"),  # once it knows who it is
            (WORKER[:4], "which strategy? give --strategy or STRATEGY", "workers"),  # before
        ],
    )
    def test_a_failed_worker_is_seen(
        self, tmp_path: Path, flags: tuple[str, ...], told: str, service: str
    ) -> None:
        """Where logs are JSON it is a record of its own: `rollout logs --level warning` has it."""
        log = tmp_path / "worker-v9.log"
        log.write_text(ours(1, "polling") + "\n")
        assert run(log, *flags, LOG_FORMAT="json") == 2
        (shown,) = logs(tmp_path, "--level", "warning").stdout.splitlines()
        record = json.loads(shown)
        assert record["event"].startswith(told)
        assert (record["level"], record["exit_code"]) == ("error", 2)
        assert (record["program"], record["service.name"]) == ("worker-v9", service)
        assert parse("worker-v9", log.read_text().splitlines()[-1]) is not None
        assert str(last_words(log.read_text().splitlines())).startswith(told)

    def test_a_failed_worker_is_found_by_its_build(self, tmp_path: Path) -> None:
        """Its records carry the build id by the name that the metrics have, and by OpenTelemetry's.

        ``--build-id`` finds those that have one of the two alone as well.
        """
        log = tmp_path / "worker-v9.log"
        run(log, *self.WORKER, LOG_FORMAT="json")
        (record,) = map(json.loads, log.read_text().splitlines())
        assert (record["build_id"], record["service.version"]) == ("v9", "v9")
        with log.open("a") as file:
            file.write(ours(1, "old", **{"service.version": "v9"}) + "\n")
            file.write(ours(2, "about", build_id="v9") + "\n" + ours(3, "v1", build_id="v1") + "\n")
        shown = logs(tmp_path, "--build-id", "v9").stdout.splitlines()
        assert len(shown) == 3
        assert '"v1"' not in "".join(shown)

    def test_a_person_gets_text(self, tmp_path: Path) -> None:
        """With LOG_FORMAT=console it stays one plain line."""
        log = tmp_path / "worker-v9.log"
        run(log, *self.WORKER, LOG_FORMAT="console")
        assert log.read_text().startswith("workers: unknown build 'v9'")
        assert log.read_text().count("\n") == 1
        assert str(last_words(log.read_text().splitlines())).startswith("unknown build 'v9'")

    def test_an_unexpected_error_is_one_record(self, tmp_path: Path) -> None:
        """Its traceback is a key of the record, behind what was on stdout before."""
        script = (
            "from rollout.base.exit import finish; finish('x', lambda: print('before') or 1 // 0)"
        )
        log = tmp_path / "x.log"
        assert run(log, "-c", script, LOG_FORMAT="json") == 1
        before, line = log.read_text().splitlines()
        record = json.loads(line)
        assert (before, record["event"], record["level"]) == ("before", "unexpected error", "error")
        assert record["exception"].endswith("ZeroDivisionError: integer division or modulo by zero")

    @pytest.mark.parametrize("line", ["", "plain", "words: here", "{", '{"event": "polls"}', "[]"])
    def test_another_line_is_none(self, line: str) -> None:
        """What a program logs on its way is not what it ended with."""
        assert sentence(line) is None


@pytest.fixture
def following(tmp_path: Path) -> Iterator[queue.Queue[str]]:
    """The events that ``logs -f`` shows, as they come."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, tmp_path, "-f"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    seen: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            seen.put(json.loads(line)["event"])

    reader = threading.Thread(target=read)
    reader.start()
    yield seen
    process.kill()
    process.wait()
    reader.join()


def test_follow(tmp_path: Path, following: queue.Queue[str]) -> None:
    """With -f records show as they are written, those of a program that is new as well."""
    for program in ("a", "b"):
        now = datetime.now(timezone.utc).isoformat()
        line = json.dumps({"timestamp": now, "level": "info", "event": program})
        (tmp_path / f"{program}.log").write_text(line + "\n")
        assert following.get(timeout=10) == program
