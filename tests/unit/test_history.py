"""The past of a deployment: the server's times, and what the controller's log tells."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rollout.commands.history import as_json
from rollout.controller.past import Event, LogTail, all_deeds
from rollout.controller.server_times import events_of
from rollout.core.observation import Observation, Ramp, Version

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone.utc)


def record(second: int, event: str, deployment: str = "shop", **fields: str) -> str:
    """A line of the controller's log, ``second`` after `NOW`."""
    at = (NOW + timedelta(seconds=second)).isoformat()
    said = {"timestamp": at, "level": "info", "event": event, "deployment_name": deployment}
    return json.dumps({**said, **fields}) + "\n"


class TestControllerLog:
    """What is read in the controller's log."""

    def test_the_last_deeds_of_this_deployment(self, tmp_path: Path) -> None:
        """Five at most, in their order; others' records and broken lines are left out."""
        lines = [record(n, "done", action=f"act {n}") for n in range(8)]
        lines += [
            record(50, "done", "other", action="other"),
            record(51, "plan", phase="progressing", reason="why"),
            record(52, "refused", reason="a conflict"),
            '{"timestamp": "2026-11',
        ]
        log = LogTail(tmp_path, "shop")
        assert log.events() == ()
        (tmp_path / "rollout.log").write_text("x" * 100_000 + "\n" + "".join(lines))
        said = [f"rollout: act {n}" for n in (4, 5, 6, 7)]
        assert [event.text for event in log.events()] == [*said, "a conflict"]
        assert log.events()[-1].at == NOW + timedelta(seconds=52)
        with (tmp_path / "rollout.log").open("a") as more:
            more.write("\n" + record(53, "done", action="the last"))
        assert log.events()[-1].text == "rollout: the last"

    def test_all_deeds(self, tmp_path: Path) -> None:
        """Rotated files come first; each kind of record is one sentence, the rest is left out."""
        (tmp_path / "rollout.log.1").write_text(
            record(1, "rollout.toml has changed", changes='target = "v2" (was "v1")')
            + record(2, "verified", build_id="v2", source="v1", outcome="passed")
        )
        (tmp_path / "rollout.log").write_text(
            record(3, "done", action="ramp v2 to 10 %")
            + record(4, "plan", phase="progressing", reason="at 10 % for 30 s more")
            + record(5, "plan", phase="blocked", reason="rolling v2 back: too slow")
            + record(6, "Temporal cannot be read", error="connection refused")
            + record(7, "plan", phase="waiting", reason="no worker of v3 has polled yet")
        )
        deeds = list(all_deeds(tmp_path, "shop"))
        assert [(event.at - NOW).seconds for event in deeds] == [1, 2, 3, 5, 7]
        assert [event.text for event in deeds] == [
            'rollout.toml: target = "v2" (was "v1")',
            "replay of v1's runs on v2: passed",
            "rollout: ramp v2 to 10 %",
            "blocked: rolling v2 back: too slow",
            "waiting: no worker of v3 has polled yet",
        ]


def test_both_by_time() -> None:
    """What the server keeps and what was done stand in one order, each with its source."""
    seen = Observation(
        "shop",
        "default",
        NOW,
        current="v1",
        ramping=Ramp("v2", 10),
        ramping_changed_at=NOW + timedelta(seconds=9),
        versions=(
            Version(
                "v1", "current", created_at=NOW, last_current_at=NOW + timedelta(seconds=2),
                first_activated_at=NOW + timedelta(seconds=2),
            ),
            Version("v2", "ramping", first_activated_at=NOW + timedelta(seconds=8)),
        ),
    )  # fmt: skip
    deeds = [Event(NOW + timedelta(seconds=7), "rollout: ramp v2 to 10 %")]
    events = as_json(events_of(seen, deeds))
    assert [(event["build_id"], event["event"], event["source"]) for event in events] == [
        ("v1", "registered", "server"),
        ("v1", "became current", "server"),
        (None, "rollout: ramp v2 to 10 %", "controller"),
        ("v2", "first got new runs", "server"),
        ("v2", "ramp set to 10 %", "server"),
    ]
    assert events[0]["at"] == "2026-11-22T12:00:00+00:00"
