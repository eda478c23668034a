"""The live view's table: right at every width, whatever the versions are called."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from rich.cells import cell_len
from rich.console import Console

from rollout.commands.watch.bars import ASCII, BLOCKS
from rollout.commands.watch.picture import render
from rollout.commands.watch.view import Context, Trends, View, view_of
from rollout.core.actions import Plan
from rollout.core.config_file import parse
from rollout.core.host_notes import Host
from rollout.core.observation import BuildSample, Measurements, Observation, Ramp, Version
from rollout.prometheus.traffic import Traffic

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone.utc)
SHORT = ("v1", "v2", "v0")
LONG = (
    "2026-11-22.1-9f8e7d6c5b4a39281706f5e4d3c",
    "2026-11-22.2-9f8e7d6c5b4a39281706f5e4d3c",
    "2026-11-22.3-9f8e7d6c5b4a39281706f5e4d3c",
)
WIDE = ("日本語のビルド" * 2, "v2", "x" * 90)
JUDGED = Measurements(
    30, BuildSample("v2", 12, 3, 10, 4, 4, 0), BuildSample("v1", 120, 0, 100, 0, 40, 0), counted=20
)


def seen(builds: tuple[str, str, str], *, hosts: int) -> Observation:
    """The second of ``builds`` ramps, the first is current, the third is safe to stop."""
    current, target, old = builds
    others = tuple(Host(f"web-{n}", f"web-{n}", {current: "RUNNING"}, NOW) for n in range(hosts))
    return Observation(
        "shop", "default", NOW, current=current, ramping=Ramp(target, 10.0), hosts=others,
        ramping_changed_at=NOW - timedelta(seconds=18), unassigned=0, stuck=0,
        versions=(
            Version(
                old, "drained", open_runs=0, open_pinned=0, backlog=0, workers=1,
                process="RUNNING", drained_since=NOW - timedelta(minutes=9),
                zero_since=NOW - timedelta(minutes=9), started_at=NOW - timedelta(days=3),
                first_activated_at=NOW - timedelta(hours=2), version_set=old,
            ),
            Version(
                current, "current", open_runs=1_234_567, open_pinned=12, workers=12,
                process="STOPPING", started_at=NOW - timedelta(hours=30),
            ),
            Version(
                target, "ramping", open_runs=3, open_pinned=3, workers=1, process="RUNNING",
                started_at=NOW - timedelta(minutes=18),
            ),
        ),
    )  # fmt: skip


def view(found: Observation) -> View:
    """A view of it, with everything that there may be to show."""
    target = found.ramping.build_id if found.ramping else "v2"
    config = parse(f'[deployment]\nname = "shop"\ntarget = "{target}"')
    trends = Trends()
    for count in range(60):
        trends.add(
            replace(found, versions=tuple(replace(v, open_runs=count) for v in found.versions))
        )
    traffic = Traffic("Greeting", {target: 1.0}, {target: 1.0}, {target: 12.4})
    context = Context(traffic, trends, restarts={target: 12})
    return view_of(config, found, Plan("progressing", "at 10 %"), NOW, context)


def drawn(found: Observation | View, width: int, *, ascii_only: bool = False) -> list[str]:
    """The picture's lines."""
    picture = view(found) if isinstance(found, Observation) else found
    console = Console(width=width, no_color=True, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(render(picture, width, glyphs=ASCII if ascii_only else BLOCKS))
    return [line.rstrip() for line in capture.get().splitlines()]


class TestEveryWidth:
    """From 60 columns to 200."""

    @pytest.mark.parametrize("builds", [SHORT, LONG, WIDE], ids=["short", "long", "wide"])
    @pytest.mark.parametrize("hosts", [0, 2])
    def test_no_word_of_a_column_is_lost(self, builds: tuple[str, str, str], hosts: int) -> None:
        """Builds, statuses, shares, counts, processes and verdicts stand there in full."""
        found = view(seen(builds, hosts=hosts))
        for width in range(60, 201, 1 if builds == LONG else 5):
            lines = drawn(found, width)
            assert max(map(cell_len, lines)) <= width, width
            text, joined = "\n".join(lines), "".join(lines)
            assert all(build in joined for build in builds), width
            for word in (
                *("STATUS", "NEW RUNS", "OPEN", "WORKERS", "HEALTH"),
                *("drained", "current", "ramping", "safe to stop", "fail 100%", "p95 12 s"),
                *("1234567", "12", "STOPPING", "RUNNING", " 90%", " 10%"),
            ):
                assert word in text, (width, word)
            assert "…" not in "\n".join(lines[3:9]), width

    def test_what_matters_least_goes_first(self) -> None:
        """Hosts, ages and restarts where there is room for them; never half of one."""
        found = seen(LONG, hosts=2)
        shown = {
            width: (
                "HOSTS" in (text := "\n".join(drawn(found, width))),
                "up 18 min, 12 restarts" in text,
                LONG[1] + "  ramping" in text,
            )
            for width in (60, 90, 140, 200)
        }
        assert shown[200] == (True, True, False) or shown[200] == (True, True, True)
        assert shown[140][:2] == (True, True)
        assert shown[90][1]
        assert shown[60] == (False, False, False)

    def test_a_long_build_has_a_line_of_its_own(self) -> None:
        """Where it does not fit beside the rest."""
        assert LONG[1] in drawn(seen(LONG, hosts=0), 80)
        assert LONG[1] not in drawn(seen(LONG, hosts=0), 160)

    def test_ascii_alone(self) -> None:
        """A terminal without Unicode gets nothing else, at any width."""
        for width in (60, 80, 120):
            assert "\n".join(drawn(seen(SHORT, hosts=2), width, ascii_only=True)).isascii()


class TestFailures:
    """The failure figure is the judge's."""

    def test_activities_that_fail_are_failures(self) -> None:
        """The worst kind of work stands in the table, and all counts below it."""
        found = replace(seen(SHORT, hosts=0), measurements=JUDGED)
        text = "\n".join(drawn(found, 120))
        assert "fail 40.0%" in text
        assert (
            "analysis  v2 failed: 3 of 12 workflow tasks, 4 of 10 activities, 0 of 4 workflows"
            in text
        )

    def test_the_servers_counts_are_runs(self) -> None:
        """Where analysis goes by the server, nothing else is claimed."""
        target, current = BuildSample("v2", workflows=8, workflow_failures=2), BuildSample("v1")
        judged = Measurements(30, target, current, source="server")
        text = "\n".join(drawn(replace(seen(SHORT, hosts=0), measurements=judged), 120))
        assert "fail 25.0%" in text
        assert "v2 failed: 2 of 8 runs" in text

    def test_what_could_not_be_measured_is_not_counted(self) -> None:
        """The last minute stands there instead."""
        judged = replace(JUDGED, problem="no answer")
        text = "\n".join(drawn(replace(seen(SHORT, hosts=0), measurements=judged), 120))
        assert "analysis" not in text
        assert "fail 100%" in text
