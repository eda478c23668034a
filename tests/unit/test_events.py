"""The stable names of what is logged, and the one log for people that is made of it."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import get_args

import pytest
from structlog.testing import capture_logs

from rollout.base import settings
from rollout.base.exit import Failure
from rollout.base.settings import ROOT
from rollout.commands.audit import noted, shown
from rollout.commands.events import as_line, object_of
from rollout.controller import events
from rollout.controller.intent import Intent
from rollout.controller.loop import Told
from rollout.controller.timeline import Timeline
from rollout.core.actions import Action, Plan, SetRamp
from rollout.core.event_names import DONE, EVENTS
from rollout.core.observation import BuildSample, Measurements, Observation, Ramp, Version
from rollout.supervision.process_events import Kind

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone.utc)


def names_in(path: Path) -> Iterator[str]:
    """What a file gives as an event's name: as a keyword, as a default, or first of a `Change`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            yield node.value


class TestNames:
    """Every name that the code gives is in the list, and the reverse."""

    def test_the_list_is_what_the_code_says(self) -> None:
        """No name is made up on the way, and none is listed that nothing tells."""
        code = [path for path in (ROOT / "rollout").rglob("*.py") if path.name != "event_names.py"]
        said = {name for path in code for name in names_in(path)}
        built = {f"process.{kind}" for kind in get_args(Kind)}
        built |= {f"version.{name}" for name in _server_names()}
        assert set(EVENTS) - set(DONE.values()) - built <= said
        logged = {name for path in code for name in _logged_names(path)}
        assert logged <= set(EVENTS), logged - set(EVENTS)
        assert built <= set(EVENTS)

    def test_every_action_has_one(self) -> None:
        """No two of them the same."""
        assert set(DONE) == set(get_args(Action))
        assert len(set(DONE.values())) == len(DONE)
        assert set(DONE.values()) <= set(EVENTS)

    def test_every_record_of_the_controller_has_one(self) -> None:
        """Each function that logs gives a name."""
        tree = ast.parse((ROOT / "rollout/controller/events.py").read_text(encoding="utf-8"))
        calls = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log.")
        ]
        assert len(calls) > 10
        for call in calls:
            assert "event_name" in [keyword.arg for keyword in call.keywords], ast.unparse(call)


def _server_names() -> Iterator[str]:
    tree = ast.parse((ROOT / "rollout/controller/server_times.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "add":
            name = node.args[2]
            assert isinstance(name, ast.Constant)
            yield str(name.value)


def _logged_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        for keyword in node.keywords:
            if keyword.arg == "event_name" and isinstance(keyword.value, ast.Constant):
                yield str(keyword.value.value)
        if ast.unparse(node.func) == "Change" and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value)


class TestRecords:
    """What a record carries beside its name."""

    def test_an_action_is_told_with_what_it_is_about(self) -> None:
        """A key each, so that nobody has to read sentences."""
        with capture_logs() as logged:
            events.log_done(SetRamp("v2", 10.0))
        assert logged == [
            {
                "event": "done", "log_level": "info", "event_name": "routing.ramp-set",
                "action": "ramp v2 to 10 %", "build_id": "v2", "percentage": 10.0,
            }
        ]  # fmt: skip

    def test_a_plan_is_told_with_what_was_counted(self) -> None:
        """Failed and executed, of both builds."""
        measured = Measurements(30, BuildSample("v2", 9, 1), BuildSample("v1", 90))
        seen = Observation("shop", "default", NOW, measurements=measured)
        with capture_logs() as logged:
            events.log_plan(Plan("progressing", "at 10 %"), seen)
        assert logged[0]["counted"]["v2"]["workflow tasks"] == [1, 9]
        assert logged[0]["counted"]["v1"]["activities"] == [0, 0]

    def test_what_others_did_is_seen(self, tmp_path: Path) -> None:
        """Between two looks, each change once."""
        file = tmp_path / "rollout.toml"
        file.write_text('[deployment]\nname = "shop"\ntarget = "v2"\n')
        told = Told(Intent(file))
        versions = (Version("v1", "current"), Version("v2", "ramping"))
        before = Observation("shop", "default", NOW, current="v1", versions=versions)
        after = Observation(
            "shop", "default", NOW, current="v1", ramping=Ramp("v2", 50), versions=versions
        )
        plan = Plan("progressing", "same")
        with capture_logs() as logged:
            for look in (before, before, after, after):
                told.plan(plan, look)
        assert [(line["event_name"], line.get("build_id")) for line in logged] == [
            ("plan.changed", None),
            ("routing.seen", "v2"),
        ]


def line(at: float, event: str, **more: object) -> str:
    """A record of ours, so many seconds after `NOW`."""
    stamp = (NOW + timedelta(seconds=at)).isoformat()
    said = {"timestamp": stamp, "level": "info", "event": event, "deployment_name": "shop"}
    return json.dumps({**said, **more}) + "\n"


def local(at: float) -> str:
    """A time as supervisord writes it."""
    moment = (NOW + timedelta(seconds=at)).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S,") + f"{moment.microsecond // 1000:03}"


class TestTimeline:
    """What is read from all who tell something."""

    async def test_all_that_tell_stand_in_one_order(self, tmp_path: Path) -> None:
        """Server, controller, person and supervisord; what comes later comes once."""
        (tmp_path / "rollout.log").write_text(
            line(3, "done", action="ramp v2 to 10 %", event_name="routing.ramp-set", build_id="v2")
            + line(4, "seen", text="v2 has 1 live worker", event_name="workers.seen")
            + line(5, "reported", file="x.html", event_name="report.written")
        )
        (tmp_path / "commands.log").write_text(
            line(2, "command", command="to v2", who="ops", exit_code=0, event_name="command.done")
        )
        log = tmp_path / "supervisord.log"
        log.write_text(f"{local(1)} INFO spawned: 'worker-v2' with pid 7\n")
        seen = Observation(
            "shop", "default", NOW, versions=(Version("v1", "current", created_at=NOW),)
        )
        timeline = Timeline(tmp_path, "shop", None)
        found = await timeline.past(seen)
        assert [(event.source, event.name, event.text) for event in found] == [
            ("server", "version.registered", "registered"),
            ("supervisord", "process.started", "worker-v2 was started (pid 7)"),
            ("person", "command.done", "ops: rollout to v2"),
            ("controller", "routing.ramp-set", "rollout: ramp v2 to 10 %"),
            ("controller", "workers.seen", "v2 has 1 live worker"),
            ("controller", "report.written", "the report of the rollout is x.html"),
        ]
        assert all(event.name in EVENTS for event in found)
        with log.open("a") as more:
            more.write(f"{local(9)} INFO stopped: worker-v2 (exit status 0)\n")
        assert [event.name for event in await timeline.news(seen)] == ["process.stopped"]
        assert await timeline.news(seen) == []

    async def test_a_line_for_a_person_and_an_object_for_a_script(self, tmp_path: Path) -> None:
        """Whatever stands in a text, it is one line."""
        (tmp_path / "rollout.log").write_text(line(3, "refused", reason="no\nway"))
        (event,) = await Timeline(tmp_path, "shop", None).past(None)
        assert as_line(event, 4).endswith("  controller         no way")
        assert object_of(event, "shop") == {
            "at": "2026-11-22T12:00:03+00:00", "name": "", "deployment": "shop",
            "build_id": None, "source": "controller", "who": None, "text": "no\nway",
        }  # fmt: skip


class TestAudit:
    """Who has given which command."""

    @pytest.fixture(autouse=True)
    def _logs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(settings, "LOG_DIR", tmp_path)
        monkeypatch.setenv("SUDO_USER", "ops")

    def test_a_command_that_fails_is_noted_with_its_error(self, tmp_path: Path) -> None:
        """And is still raised."""
        with pytest.raises(Failure), noted("to", ["v2"], "shop"):
            raise Failure("no such build")
        record = json.loads((tmp_path / "commands.log").read_text())
        assert (record["command"], record["exit_code"]) == ("to v2", 1)
        assert (record["error"], record["deployment_name"]) == ("no such build", "shop")
        assert record["who"].startswith("ops (as ")
        (event,) = asyncio.run(Timeline(tmp_path, "shop", None).past(None))
        assert event.text.endswith("rollout to v2 (exit code 1: no such build)")

    def test_what_may_be_a_secret_is_not_written_down(self) -> None:
        """Neither what follows ``--`` nor the value of most options."""
        words = ["v3", "--strategy", "incompatible", "--env", "KEY=secret", "--app=secret"]
        assert shown("add", [*words, "--", "run", "--token", "secret"]) == (
            "add v3 --strategy incompatible --env --app=..."
        )

    def test_nothing_is_written_where_there_is_no_stack(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The command is carried out all the same."""
        monkeypatch.setattr(settings, "LOG_DIR", tmp_path / "none")
        with noted("to", ["v2"], "shop") as codes:
            codes.append(0)
        assert not (tmp_path / "none").exists()
