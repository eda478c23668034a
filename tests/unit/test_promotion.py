"""`rollout promote`: a person lets a ramp go on that is held."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from rollout.base.exit import Failure, Misuse
from rollout.core.actions import Block, ClearRamp, Plan, SetCurrent, SetRamp
from rollout.core.config import Promotion, RolloutConfig
from rollout.core.config_file import edit, load
from rollout.core.observation import BuildSample, Measurements, Ramp
from rollout.core.plan import plan
from rollout.core.promotion import has_arrived, promotion
from tests.support.synthetic_deployment import (
    ME,
    SyntheticDeployment,
    config,
    fresh,
    routing,
    seen,
    version,
)

ANALYSIS = "[analysis]\nmin_samples = 20\n"


def intent(
    promote: str | None = None, pace: str = "progressive", then: str = "hold"
) -> RolloutConfig:
    """The shipped pace with analysis, and a promotion."""
    whole = config(pace, more=f'{ANALYSIS}then = "{then}"\n')
    wanted = Promotion(promote) if promote else None
    deployment = msgspec.structs.replace(whole.deployment, promote=wanted)
    return msgspec.structs.replace(whole, deployment=deployment)


def few(target: str, current: str) -> Measurements:
    """Too little to go on."""
    return Measurements(60, BuildSample(target, workflows=3), BuildSample(current, workflows=300))


def failing(target: str, current: str) -> Measurements:
    """A third of the target's activities fails."""
    bad = BuildSample(target, activities=300, activity_failures=90)
    return Measurements(60, bad, BuildSample(current, activities=300))


@pytest.fixture
def held() -> SyntheticDeployment:
    """A deployment that is held at 10 %, long after the pause."""
    deployment = SyntheticDeployment()
    deployment.register(fresh("v1"))
    deployment.register(fresh("v2"))
    deployment.measure = few
    decided = deployment.run(intent(), 120)
    assert decided.reason.startswith("held at 10 %")
    deployment.history.clear()
    return deployment


def planned(deployment: SyntheticDeployment, wanted: RolloutConfig, held: float = 0.0) -> Plan:
    """What a controller that has held the step for ``held`` seconds would do now."""
    return plan(wanted, deployment.observe("v2"), deployment.now, ME, held=held)


class TestPlan:
    """What the controller makes of it."""

    def test_one_step(self, held: SyntheticDeployment) -> None:
        """The ramp goes to the step that is named, and is held there as it was before."""
        decided = held.run(intent("v2@50"), 300)
        assert [action for _, action in routing(held)] == [SetRamp("v2", 50)]
        assert decided.reason.startswith("held at 50 %: analysis short of samples")

    def test_to_the_end(self, held: SyntheticDeployment) -> None:
        """At 100 % the target becomes current at once, without the steps between."""
        held.run(intent("v2@100"), 5)
        assert [action for _, action in routing(held)] == [SetCurrent("v2")]
        assert planned(held, intent("v2@100")).phase == "complete"

    def test_a_pause_is_cut_short(self) -> None:
        """It need not have been over."""
        deployment = SyntheticDeployment()
        deployment.register(fresh("v1"))
        deployment.register(fresh("v2"))
        assert deployment.run(intent(), 25).reason.startswith("at 10 % for ")
        deployment.history.clear()
        deployment.run(intent("v2@50"), 1)
        assert [action for _, action in routing(deployment)] == [SetRamp("v2", 50)]

    @pytest.mark.parametrize("other", ["v2@10", "v2@5", "v3@50"])
    def test_it_does_not_outlive_its_purpose(self, held: SyntheticDeployment, other: str) -> None:
        """What is passed, or is about another build, changes nothing."""
        assert planned(held, intent(other)) == planned(held, intent())

    def test_before_the_first_step_it_is_nothing(self) -> None:
        """It skips no settling, gate or replay: there is nothing yet that could be held."""
        deployment = SyntheticDeployment()
        deployment.register(fresh("v1"))
        deployment.register(fresh("v2"))
        assert deployment.run(intent("v2@100"), 15).reason.startswith("v1 settles for ")

    def test_a_proof_is_stronger(self, held: SyntheticDeployment) -> None:
        """What would be rolled back is rolled back."""
        held.measure = failing
        assert held.run(intent("v2@100"), 1).phase == "blocked"
        assert [type(action) for _, action in held.history] == [Block, ClearRamp]

    def test_a_hold_that_has_become_too_long_is_not(self, held: SyntheticDeployment) -> None:
        """Of `then = "rollback"` a person decides otherwise."""
        held.now += timedelta(seconds=900)
        assert planned(held, intent(then="rollback"), held=900).phase == "blocked"
        decided = planned(held, intent("v2@50", then="rollback"), held=900)
        assert SetRamp("v2", 50) in decided.actions

    def test_dead_workers_get_nothing(self, held: SyntheticDeployment) -> None:
        """Without workers the share goes back, whatever was wished."""
        held.change("v2", workers=0)
        assert held.run(intent("v2@100"), 1).phase == "waiting"
        assert [action for _, action in routing(held)] == [ClearRamp()]


class TestCommand:
    """How far it goes, and where it is refused."""

    @pytest.mark.parametrize(
        ("at", "full", "wanted"),
        [(10, False, "v2@50"), (50, False, "v2@100"), (7.5, False, "v2@10"), (10, True, "v2@100")],
    )
    def test_how_far(self, held: SyntheticDeployment, at: float, full: bool, wanted: str) -> None:
        """One step on, or all the way."""
        held.state = replace(held.state, ramping=Ramp("v2", at))
        asked = promotion(intent(), held.observe("v2"), planned(held, intent()), full=full)
        assert asked == Promotion(wanted)

    @pytest.mark.parametrize(
        ("change", "refusal"),
        [
            ({"workers": 0}, "v2 cannot be promoted: v2 has no live worker: its share goes back"),
            ({"blocked": "bad"}, "v2 cannot be promoted: v2 was rolled back: bad; "),
        ],
    )
    def test_what_nobody_can_decide(
        self, held: SyntheticDeployment, change: dict[str, object], refusal: str
    ) -> None:
        """Missing workers and a block are refused with their reason."""
        held.change("v2", **change)
        with pytest.raises(Failure) as refused:
            promotion(intent(), held.observe("v2"), planned(held, intent()), full=True)
        assert str(refused.value).startswith(refusal)

    def test_paused(self, held: SyntheticDeployment) -> None:
        """Paused by a person, it is for a person to go on first."""
        paused = config(paused=True, more=ANALYSIS)
        with pytest.raises(Failure, match=r"paused in rollout\.toml.*`rollout resume` goes on"):
            promotion(paused, held.observe("v2"), planned(held, paused), full=False)

    def test_no_ramp(self) -> None:
        """Where nothing ramps nothing is held."""
        there = seen(version("v2", "current"), current="v2")
        with pytest.raises(Failure, match="no ramp of v2 is held: v2 takes all new runs"):
            promotion(intent(), there, plan(intent(), there, there.at, ME), full=False)

    def test_by_hand(self, held: SyntheticDeployment) -> None:
        """With pace "manual" the controller would not follow."""
        manual = intent(pace="manual")
        with pytest.raises(Failure, match=r'pace is "manual" in rollout\.toml'):
            promotion(manual, held.observe("v2"), planned(held, manual), full=False)

    @pytest.mark.parametrize(
        ("current", "ramp", "arrived"),
        [
            ("v1", None, False),
            ("v1", Ramp("v2", 10), False),
            ("v1", Ramp("v2", 50), True),
            ("v1", Ramp("v3", 50), False),
            ("v2", None, True),
        ],
    )
    def test_arrival(self, current: str, ramp: Ramp | None, arrived: bool) -> None:
        """It is there with its share, or as the current one."""
        now = seen(version("v1"), version("v2"), current=current, ramping=ramp)
        assert has_arrived(Promotion("v2@50"), now) is arrived


class TestFile:
    """In rollout.toml."""

    def test_there_and_gone(self, tmp_path: Path) -> None:
        """It is written and taken out, and the rest stays as it was."""
        path = tmp_path / "rollout.toml"
        text = '[deployment] # mine\nname = "d"\ntarget = "v2"\n'
        path.write_text(text)
        edit(path, "deployment", promote=str(Promotion("a@b@12.5")))
        wanted = load(path).deployment.promote
        assert wanted is not None
        assert (wanted.build_id, wanted.percentage) == ("a@b", 12.5)
        edit(path, "deployment", promote=None)
        assert path.read_text() == text

    @pytest.mark.parametrize("value", ['"v2"', "50", '"v2@0"', '"v2@101"', '"@50"', '"v2@nan"'])
    def test_what_it_cannot_be(self, tmp_path: Path, value: str) -> None:
        """The line and the right shape are named."""
        path = tmp_path / "rollout.toml"
        path.write_text(f'[deployment]\nname = "d"\ntarget = "v2"\npromote = {value}\n')
        with pytest.raises(Misuse) as refused:
            load(path)
        assert str(refused.value).startswith("rollout.toml line 4: deployment.promote: ")
        assert str(refused.value).endswith('is not a build and a percentage, as "v2@50"')
