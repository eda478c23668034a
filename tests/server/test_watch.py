"""The live view: what it draws is pure, and what it reads is a real server and a real terminal."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from rollout.base.settings import ROOT
from rollout.commands.watch.bars import ASCII, BLOCKS, bar, glyphs_for, trend
from rollout.commands.watch.live import Lines
from rollout.commands.watch.picture import render
from rollout.commands.watch.view import Context, Trends, View, view_of
from rollout.controller.past import Event
from rollout.core.actions import Plan
from rollout.core.changes import changes_between, what_changed
from rollout.core.config import RolloutConfig
from rollout.core.config_file import parse
from rollout.core.event_names import EVENTS
from rollout.core.observation import GateRun, Observation, Ramp, Version
from rollout.core.steps import step_marks
from rollout.prometheus.client import prometheus_at
from rollout.prometheus.traffic import Traffic, read_traffic
from tests.support.prometheus import Prometheus, expositions
from tests.support.temporal_server import DevServer, free_port
from tests.support.terminal import Terminal
from tests.support.waiting import eventually
from tests.support.worker_process import environ, worker

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone.utc)
CONFIG = parse("""
[deployment]
name = "shop"
baseline = "v1"
target = "v2"

[progressive]
settle = "20s"
steps = [{ percentage = 10, pause = "30s" }, { percentage = 50, pause = "30s" }]
""")

V1 = Version(
    "v1", "current", strategy="compatible", version_set="v1", open_runs=12, open_pinned=12,
    backlog=0, workers=2, process="RUNNING", first_activated_at=NOW - timedelta(hours=1),
)  # fmt: skip
V2 = Version(
    "v2", "ramping", strategy="incompatible", version_set="v2", open_runs=3, open_pinned=3,
    backlog=0, workers=1, process="RUNNING", first_activated_at=NOW - timedelta(seconds=18),
)  # fmt: skip
GONE = Version(
    "v0", "drained", version_set="v0", open_runs=0, open_pinned=0, backlog=0, workers=1,
    process="RUNNING",
    first_activated_at=NOW - timedelta(hours=2), drained_since=NOW - timedelta(minutes=9),
    zero_since=NOW - timedelta(minutes=9),
)  # fmt: skip
RAMPING = Observation(
    "shop", "default", NOW, current="v1", ramping=Ramp("v2", 10.0),
    current_changed_at=NOW - timedelta(hours=1), ramping_changed_at=NOW - timedelta(seconds=18),
    versions=(GONE, V1, V2), unassigned=0, stuck=0,
)  # fmt: skip
PLAN = Plan("progressing", "at 10 % for 12 s more")
TRAFFIC = Traffic(
    workflow_type="Greeting", shares={"v1": 0.88, "v2": 0.12}, failures={"v1": 0.0, "v2": 0.031},
    p95={"v1": 0.045, "v2": 12.4},
)  # fmt: skip


def view(
    seen: Observation = RAMPING, *, decided: Plan = PLAN, traffic: Traffic = TRAFFIC,
    events: tuple[Event, ...] = (), notes: tuple[str, ...] = (), config: RolloutConfig = CONFIG,
) -> View:  # fmt: skip
    """A view of ``seen`` in which v1's open runs have come down from 24."""
    trends = Trends()
    for count in (24, 24, 20, 16):
        versions = tuple(replace(v, open_runs=count) for v in seen.versions)
        trends.add(replace(seen, versions=versions))
    trends.add(seen)
    return view_of(config, seen, decided, NOW, Context(traffic, trends, events, notes))


def drawn(
    picture: View, width: int = 80, height: int | None = None, *, ascii_only: bool = False
) -> list[str]:
    """The picture's lines as a terminal without colour shows them."""
    console = Console(width=width, no_color=True, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(render(picture, width, height, ASCII if ascii_only else BLOCKS))
    return [line.rstrip() for line in capture.get().splitlines()]


class TestPicture:
    """What is drawn of a view."""

    def test_it_shows_a_ramp_at_80_columns(self) -> None:
        """Everything that is known of each version stands where the header says, uncut."""
        assert drawn(view()) == [
            "shop  namespace default  target v2                                  12:00:00 UTC",
            "progressing: at 10 % for 12 s more",
            "steps   ▶ 10 % (12 s more)   · 50 %   · 100 %",
            "",
            "BUILD  STATUS        NEW RUNS             OPEN        WORKERS    HEALTH",
            "v0     drained       safe to stop         0           1 RUNNING",
            "v1     current       meant ███████▏  90%  12          2 RUNNING  fail 0.0%",
            "                     real  ███████░  88%  ██▇▆▅                  p95 45 ms",
            "v2     ramping       meant ▉░░░░░░░  10%  3           1 RUNNING  fail 3.1%",
            "                     real  █░░░░░░░  12%  ██▇▆▂                  p95 12 s",
        ]

    @pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
    @pytest.mark.parametrize("ascii_only", [False, True])
    def test_no_line_is_wider_than_the_terminal(self, width: int, ascii_only: bool) -> None:
        """However long a build id, a reason or an error is, no line is wider than the terminal."""
        long = "2026-11-22.1+9f8e7d6c5b4a39281706f5e4d3c2b1a0"
        seen = replace(
            RAMPING,
            ramping=Ramp(long, 10.0),
            versions=(replace(GONE, build_id="日本" * 20), V1, replace(V2, build_id=long)),
            problems=("the workers could not be listed: " + "x" * 200,),
        )
        wide = view(
            seen,
            decided=Plan("blocked", "the gate failed: " + "words and more " * 30),
            events=(Event(NOW, "an event " * 40),),
            notes=("two\nlines",),
            config=parse(f'[deployment]\nname = "shop"\ntarget = "{long}"'),
        )
        lines = drawn(wide, width, ascii_only=ascii_only)
        assert max(map(cell_len, lines)) <= width
        assert any("90%" in line for line in lines)
        assert "! two lines" in lines

    def test_who_really_gets_new_runs_is_counted_on_the_server(self) -> None:
        """While they are divided, by starts and of how many; what completes says it too late."""
        counted = (GONE, replace(V1, started=1140), replace(V2, started=60))
        lines = drawn(view(replace(RAMPING, versions=counted)))
        assert "real: of 1,200 runs begun since the share last changed" in lines
        assert any(line.split()[:1] == ["real"] and " 5%" in line for line in lines)
        assert not any("88%" in line for line in lines)

    def test_prometheus_away_is_a_question_mark(self) -> None:
        """Real shares, failures and latency read "?", and the reason is given."""
        lines = drawn(view(traffic=Traffic(problem="Prometheus does not answer at x")))
        assert "! Prometheus does not answer at x" in lines
        row = next(line for line in lines if line.startswith("v1"))
        assert row.endswith("fail ?")
        below = lines[lines.index(row) + 1]
        assert below.split() == ["real", "?", "██▇▆▅", "p95", "?"]

    def test_it_says_why_a_draining_version_may_not_be_stopped(self) -> None:
        """The points that speak against stopping are below the table, of old versions alone."""
        seen = replace(
            RAMPING, current="v2", ramping=None,
            versions=(replace(V1, status="draining"), replace(V2, status="current")),
        )  # fmt: skip
        lines = drawn(view(seen))
        said = "v1 not safe to stop: the server says draining; 12 runs are open on v1"
        assert said in lines
        assert not any("v2 not safe" in line for line in lines)

    def test_events_take_the_lines_that_are_left(self) -> None:
        """The last events come last, and fewer of them where the terminal is low."""
        events = tuple(Event(NOW + timedelta(seconds=n), f"event {n}") for n in range(20))
        assert drawn(view(events=events))[-1] == "12:00:19  event 19"
        assert len([line for line in drawn(view(events=events)) if "event " in line]) == 8
        low = drawn(view(events=events), height=15)
        assert len(low) <= 15
        assert low[-1] == "12:00:19  event 19"
        assert "event" not in " ".join(drawn(view(events=events), height=10))

    def test_ascii_alone(self) -> None:
        """A terminal without Unicode gets nothing else."""
        lines = drawn(view(events=(Event(NOW, "short"),)), ascii_only=True)
        assert "\n".join(lines).isascii()
        assert any("meant #######.  90%" in line for line in lines)

    def test_before_the_first_reading(self) -> None:
        """The picture names the deployment and what is waited for."""
        context = Context(Traffic(), Trends(), notes=("Temporal is not reachable",))
        assert drawn(view_of(CONFIG, None, None, NOW, context), 60) == [
            "shop  target v2                                 12:00:00 UTC",
            "reading...",
            "! Temporal is not reachable",
        ]


class TestBars:
    """Bars and trend lines."""

    @pytest.mark.parametrize(
        ("share", "blocks", "plain"),
        [
            (0.0, "░░░░", "...."),
            (0.001, "▏░░░", "#..."),
            (0.5, "██░░", "##.."),
            (0.999, "███▉", "###."),
            (1.0, "████", "####"),
            (7.0, "████", "####"),
        ],
    )
    def test_a_bar_is_empty_or_full_only_where_the_share_is(
        self, share: float, blocks: str, plain: str
    ) -> None:
        """A sliver shows, and what is not all of it does not look so."""
        assert bar(share, 4) == blocks
        assert bar(share, 4, ASCII) == plain

    def test_a_trend_shows_its_highest_counts_and_its_gaps(self) -> None:
        """Counts share one scale; too many are grouped at their highest; unknown is blank."""
        assert trend([8, 4, None, 0], 10) == "█▅ ▁"
        assert trend([0, 0], 10) == "▁▁"
        assert trend([], 10) == ""
        assert trend([1, 9, 1, 1, 1, 1], 3) == "█▂▂"
        assert len(trend(list(range(60)), 7)) <= 7

    def test_the_encoding_decides(self) -> None:
        """Block characters where they can be written, ASCII where not."""
        assert glyphs_for("utf-8") is BLOCKS
        assert glyphs_for("ascii") is ASCII
        assert glyphs_for("no such encoding") is ASCII


class TestSteps:
    """Where the target stands on its way."""

    def states(
        self, seen: Observation, now: datetime = NOW
    ) -> list[tuple[float, str, float | None]]:
        """Each step as a tuple."""
        return [(m.percentage, m.state, m.left) for m in step_marks(CONFIG, seen, now)]

    def test_from_settling_to_complete(self) -> None:
        """Ahead while v1 settles, then one is *here* with its countdown, at last all are done."""
        settling = replace(RAMPING, ramping=None)
        assert [state for _, state, _ in self.states(settling)] == ["ahead"] * 3
        assert self.states(RAMPING)[0] == (10, "here", 12.0)
        later = replace(RAMPING, ramping=Ramp("v2", 50.0))
        assert self.states(later) == [(10, "done", None), (50, "here", 12.0), (100, "ahead", None)]
        there = replace(RAMPING, current="v2", ramping=None)
        assert [state for _, state, _ in self.states(there)] == ["done"] * 3

    def test_a_step_that_is_held_says_for_how_long(self) -> None:
        """The countdown goes below zero, and the picture says held."""
        assert self.states(RAMPING, NOW + timedelta(seconds=20))[0] == (10, "here", -8.0)
        assert "(held for 8 s)" in "".join(
            drawn(replace(view(), steps=step_marks(CONFIG, RAMPING, NOW + timedelta(seconds=20))))
        )

    def test_none_where_nothing_moves_by_steps(self) -> None:
        """Nothing is current, or the pace is manual: no steps."""
        assert step_marks(CONFIG, replace(RAMPING, current=None), NOW) == ()
        manual = parse('[deployment]\nname = "shop"\ntarget = "v2"\npace = "manual"')
        assert step_marks(manual, RAMPING, NOW) == ()


class TestChanges:
    """What is told of two observations."""

    @pytest.mark.parametrize(
        ("after", "told"),
        [
            (RAMPING, ()),
            (replace(RAMPING, ramping=Ramp("v2", 50.0)), ("50 % of new runs go to v2",)),
            (
                replace(RAMPING, ramping=Ramp("v2", 50.0), modifier="ops@shell"),
                ("50 % of new runs go to v2, by ops@shell",),
            ),
            (replace(RAMPING, ramping=None), ("the ramp of v2 has ended",)),
            (replace(RAMPING, current="v2", ramping=None), ("new runs go to v2",)),
            (replace(RAMPING, manager="someone"), ("someone manages the deployment",)),
            (
                replace(RAMPING, gates=(GateRun("shop", 2, "failed", "timed out"),)),
                ("the gate on shop, try 2, has failed: timed out",),
            ),
            (
                replace(RAMPING, versions=(GONE, V1, V2, Version("v3", "inactive", workers=1))),
                ("v3 is inactive (was unregistered)", "v3 has 1 live worker"),
            ),
            (replace(RAMPING, versions=(V1, V2)), ("v0 is gone",)),
            (
                replace(RAMPING, versions=(GONE, V1, replace(V2, workers=0, process="FATAL"))),
                ("the process of v2 is FATAL", "v2 has no live workers"),
            ),
            (
                replace(RAMPING, versions=(replace(GONE, backlog=1), V1, V2)),
                ("v0 is no longer safe to stop",),
            ),
            (
                replace(RAMPING, versions=(GONE, replace(V1, open_runs=0), V2)),
                ("no run is open on v1 any more",),
            ),
            (
                replace(RAMPING, versions=(GONE, V1, replace(V2, blocked="31 % fail"))),
                ("v2 gets no traffic: 31 % fail",),
            ),
            # What could not be read is not a change.
            (replace(RAMPING, versions=(GONE, V1, replace(V2, workers=None, open_runs=None))), ()),
        ],
    )
    def test_each_is_one_sentence(self, after: Observation, told: tuple[str, ...]) -> None:
        """Each change is told once, and a count that merely moves is none."""
        assert what_changed(RAMPING, after, "v2") == told
        assert all(change.name in EVENTS for change in changes_between(RAMPING, after, "v2"))


class TestLines:
    """What is told where there is no terminal."""

    def told(self, *views: View) -> list[str]:
        """Every line, in its order, after those of the first view."""
        lines = Lines()
        first, *rest = (lines.news(each) for each in views)
        assert first
        return [text for news in rest for _, text in news]

    def test_the_second_builds_note(self) -> None:
        """A note is told for each build, and not again while it lasts."""
        notes = ("v1 could not be described: away", "v2 could not be described: away")
        views = [view(), view(notes=notes[:1]), view(notes=notes), view(notes=notes)]
        assert self.told(*views) == [f"! {note}" for note in notes]

    def test_a_plan_is_told_by_what_it_says(self) -> None:
        """Waiting for v3 after v2 is news, the next second of a countdown is not."""
        waits = [Plan("waiting", f"no worker of {build} has polled yet") for build in ("v2", "v3")]
        pauses = [
            Plan("progressing", f"at 10 % for {left} s more", topic=("pauses", "v2", 10))
            for left in (12, 11)
        ]
        assert self.told(*(view(decided=each) for each in (PLAN, *waits, *pauses))) == [
            "waiting: no worker of v2 has polled yet",
            "waiting: no worker of v3 has polled yet",
            "progressing: at 10 % for 12 s more",
        ]


WORKER_PAGE = """
temporal_workflow_completed_total{build_id="v1",deployment_name="shop",workflow_type="Quick"} +6
temporal_workflow_completed_total{build_id="v2",deployment_name="shop",workflow_type="Quick"} +2
temporal_workflow_completed_total{build_id="v1",deployment_name="shop",workflow_type="Slow"} +1
temporal_workflow_completed_total{build_id="v1",deployment_name="b",workflow_type="Busy"} +99
temporal_workflow_endtoend_latency_seconds_bucket{build_id="v1",deployment_name="shop",workflow_type="Quick",le="0.1"} +6
temporal_workflow_endtoend_latency_seconds_bucket{build_id="v1",deployment_name="shop",workflow_type="Quick",le="+Inf"} +6
temporal_workflow_endtoend_latency_seconds_count{build_id="v1",deployment_name="shop",workflow_type="Quick"} +6
temporal_workflow_endtoend_latency_seconds_count{build_id="v2",deployment_name="shop",workflow_type="Quick"} +2
temporal_workflow_failed_total{build_id="v2",deployment_name="shop",workflow_type="Quick"} +2
"""  # noqa: E501


class TestTraffic:
    """What is asked of Prometheus."""

    async def test_shares_failures_and_latency_by_build(self, tmp_path: Path) -> None:
        """The type that completes most often counts, of this deployment alone."""
        prometheus = Prometheus(tmp_path)
        with expositions({"metrics": WORKER_PAGE}) as port:
            group = {"targets": [f"127.0.0.1:{port}"], "labels": {"job": "worker"}}
            prometheus.write_targets("workers.json", [group])
            prometheus.start()
            try:
                share = "build_type:temporal_workflow_completed:share30s"
                eventually(lambda: prometheus.query(share), seconds=30)
                async with prometheus_at(prometheus.url) as asked:
                    traffic = await read_traffic(asked, "shop")
            finally:
                prometheus.stop()
        assert (traffic.workflow_type, traffic.problem) == ("Quick", None)
        assert traffic.share("v1") == pytest.approx(0.75, abs=0.05)
        assert traffic.share("v2") == pytest.approx(0.25, abs=0.05)
        assert traffic.share("v3") == 0
        assert traffic.failures == {"v1": 0, "v2": pytest.approx(0.5, abs=0.05)}
        assert traffic.p95["v1"] == pytest.approx(0.095, abs=0.01)

    async def test_prometheus_away_is_a_sentence(self) -> None:
        """Nothing is raised, no share is claimed, and the address is named."""
        port = free_port()
        async with prometheus_at(f"http://me:secret@127.0.0.1:{port}") as asked:
            traffic = await read_traffic(asked, "shop")
        assert traffic.share("v1") is None
        assert traffic.problem == f"Prometheus gives no numbers: no answer at 127.0.0.1:{port}"


WATCH = """
import sys
from pathlib import Path
from rich.console import Console
from rollout.base import exit as exits
from rollout.commands.watch.live import show
exits.run("rollout", lambda: show(Path(sys.argv[1]), Console(highlight=False), interval=0.2))
"""


def rollout_file(folder: Path, name: str) -> Path:
    """A rollout.toml of the deployment ``name``."""
    file = folder / "rollout.toml"
    file.write_text(f'[deployment]\nname = "{name}"\ntarget = "v2"\npaused = false\n')
    return file


@pytest.mark.temporal
class TestWatching:
    """The command as a process."""

    def test_a_terminal_gets_a_picture(self, tmp_path: Path) -> None:
        """It follows versions, rollout.toml and an outage, and Ctrl-C ends it with exit code 0."""
        server = DevServer(tmp_path / "own")
        server.start()
        file = rollout_file(tmp_path, "watched")
        away = {"PROMETHEUS_URL": f"http://127.0.0.1:{free_port()}"}
        terminal = Terminal([sys.executable, "-c", WATCH, str(file)], environ(server, **away), ROOT)
        try:
            eventually(lambda: "no worker of deployment watched" in terminal.text())
            assert "Prometheus gives no numbers: no answer at 127.0.0.1:" in terminal.text()
            with worker(server, tmp_path, "watched", "v1", "compatible", "--managed"):
                eventually(lambda: "v1     inactive" in terminal.text(), seconds=30)
                file.write_text(file.read_text().replace("paused = false", "paused = true"))
                eventually(lambda: "paused in rollout.toml" in terminal.text())
                file.write_text("[broken")
                eventually(lambda: "not followed until it is mended" in terminal.text())
                server.kill()
                eventually(lambda: "! could not read from Temporal" in terminal.text(), seconds=30)
                server.start()
                eventually(lambda: "Temporal answers again" in terminal.text(), seconds=30)
            before = len(terminal.text())
            terminal.type("\x03")
            assert terminal.wait() == 0
            assert "v1     inactive" in terminal.text()[before:]  # the last picture is left
            assert "Traceback" not in terminal.text()
        finally:
            terminal.end()
            server.stop()

    def test_a_pipe_gets_a_line_a_change(self, temporal_server: DevServer, tmp_path: Path) -> None:
        """Without a terminal there are plain lines, none twice, and SIGTERM is exit 0."""
        name = f"watched-plain-{time.time_ns()}"
        file, output = rollout_file(tmp_path, name), tmp_path / "out"
        with output.open("w") as out:
            command = subprocess.Popen(
                [sys.executable, "-c", WATCH, str(file)],
                cwd=ROOT, env=environ(temporal_server), stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

        def lines() -> list[str]:
            return [line[9:] for line in output.read_text().splitlines()]

        try:
            eventually(lambda: f"waiting: no worker of deployment {name} has polled yet" in lines())
            with worker(temporal_server, tmp_path, name, "v1", "compatible", "--managed"):
                eventually(lambda: "v1 is inactive (was unregistered)" in lines(), seconds=30)
                eventually(lambda: "v1 has 1 live worker" in lines(), seconds=30)
            command.terminate()
            assert command.wait(10) == 0
        finally:
            command.kill()
            command.wait()
        assert f"{name}, namespace default, target v2" in lines()
        assert len(lines()) == len(set(lines()))
        assert not any("\x1b" in line for line in lines())
