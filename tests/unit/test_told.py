"""What the controller logs of rollout.toml and of its plans: what is new, and that once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rollout.base.exit import Misuse
from rollout.controller.intent import Intent
from rollout.controller.loop import Told
from rollout.controller.past import all_deeds
from rollout.core.observation import BuildSample, Measurements, Observation, Ramp
from rollout.core.plan import plan
from tests.support.synthetic_deployment import ME, T0, config, seen, version

V1 = version("v1", "current", first_activated_at=T0 - timedelta(minutes=4))
V2 = version("v2")
FEW = Measurements(60, BuildSample("v2", workflows=3), BuildSample("v1", workflows=300))
RAMPING = seen(
    V1, V2, current="v1", ramping=Ramp("v2", 10), ramping_changed_at=T0, measurements=FEW
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A rollout.toml that wants v2."""
    path = tmp_path / "rollout.toml"
    path.write_text('[deployment]\nname = "d"\ntarget = "v2"\n')
    return path


class TestPlans:
    """Compared by what they say, and not by how they say it."""

    def test_another_build_is_news(self, file: Path, tmp_path: Path) -> None:
        """Waiting for v3 after waiting for v2 is logged, and `history` tells of both."""
        told = Told(Intent(file))
        with capture_logs() as logged:
            for target in ("v2", "v2", "v3"):
                told.plan(plan(config(target=target), seen(V1, current="v1"), T0, ME))
        reasons = [f"no worker of {build} has polled yet" for build in ("v2", "v3")]
        assert [line["reason"] for line in logged] == reasons
        lines = [json.dumps({"timestamp": T0.isoformat(), "level": "info", **r}) for r in logged]
        (tmp_path / "rollout.log").write_text("".join(f"{line}\n" for line in lines))
        deeds = [event.text for event in all_deeds(tmp_path, "d")]
        assert deeds == [f"waiting: {reason}" for reason in reasons]

    @pytest.mark.parametrize(
        ("first", "more", "seconds"),
        [
            (seen(V1, V2, current="v1", current_changed_at=T0), "", 19),
            (RAMPING, "", 29),
            pytest.param(RAMPING, "[analysis]\n", 29, id="a pause that analysis looks on"),
        ],
    )
    def test_a_countdown_is_told_once(
        self, first: Observation, more: str, seconds: int, file: Path
    ) -> None:
        """However often it is planned anew."""
        told = Told(Intent(file))
        with capture_logs() as logged:
            for second in range(seconds):
                now = T0 + timedelta(seconds=second)
                told.plan(plan(config(more=more), replace(first, at=now), now, ME))
        assert len(logged) == 1

    def test_a_held_step_is_told_once(self, file: Path) -> None:
        """Samples that come in are no news; too few workflows after a slow p95 are."""
        told = Told(Intent(file))
        now = T0 + timedelta(seconds=31)
        with capture_logs() as logged:
            for count in range(10):
                few = replace(FEW, target=BuildSample("v2", workflows=count))
                held = replace(RAMPING, at=now, measurements=few)
                told.plan(plan(config(more="[analysis]\n"), held, now, ME))
            away = replace(RAMPING, at=now, measurements=replace(FEW, problem="no answer"))
            told.plan(plan(config(more="[analysis]\n"), away, now, ME))
        assert [line["reason"] for line in logged] == [
            "held at 10 %: analysis short of samples: 0 of 20 workflows and activities of v2",
            "held at 10 %: Prometheus cannot be asked: no answer; traffic stays",
        ]

    def test_the_next_percentage_is_news(self, file: Path) -> None:
        """The same countdown at another step is another one."""
        told = Told(Intent(file))
        with capture_logs() as logged:
            for percentage in (10, 50):
                at = replace(RAMPING, ramping=Ramp("v2", percentage))
                told.plan(plan(config(), at, T0, ME))
        assert len(logged) == 2


class TestIntent:
    """rollout.toml, read again and again."""

    def test_the_last_good_one_stays_in_force(self, file: Path) -> None:
        """While the file is broken, or gone, its problem is a sentence; mended, it is followed."""
        good = file.read_text()
        intent = Intent(file)
        file.write_text("[broken")
        assert intent.refresh().deployment.target == "v2"
        assert intent.problem
        assert intent.problem.startswith("rollout.toml")
        file.unlink()
        assert intent.refresh().deployment.target == "v2"
        assert "cannot be read" in str(intent.problem)
        file.write_text(good.replace("v2", "v3"))
        assert intent.refresh().deployment.target == "v3"
        assert intent.problem is None

    def test_broken_from_the_beginning(self, file: Path) -> None:
        """There is nothing to stay in force, so it is the caller's mistake."""
        file.write_text("[broken")
        with pytest.raises(Misuse):
            Intent(file)

    def test_another_name(self, file: Path) -> None:
        """Whoever cannot follow it says what to do; others do."""
        fixed, free = Intent(file, renamed="restart it"), Intent(file)
        file.write_text(file.read_text().replace('"d"', '"other"'))
        assert fixed.refresh().deployment.name == "d"
        assert fixed.problem == "deployment.name has changed: restart it"
        assert free.refresh().deployment.name == "other"

    def test_each_change_is_told_once(self, file: Path) -> None:
        """What has changed, and what is wrong, is one line each."""
        intent = Intent(file)
        told = Told(intent)
        with capture_logs() as logged:
            for text in ('name = "d"\ntarget = "v3"\n', "broken", 'name = "d"\ntarget = "v3"\n'):
                file.write_text(f"[deployment]\n{text}")
                for _ in range(2):
                    intent.refresh()
                    told.intent(intent)
        assert [line["event"] for line in logged] == [
            "rollout.toml has changed",
            "rollout.toml is not followed until it is mended",
        ]
        assert logged[0]["changes"] == 'target = "v3" (was "v2")'
