"""The planner: tables of observations, and whole rollouts of a synthetic deployment."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rollout.core.actions import (
    Action,
    Block,
    ClaimManager,
    ClearRamp,
    DeleteVersion,
    JoinSet,
    LiftBlock,
    MoveRuns,
    Plan,
    RemoveProgram,
    SetCurrent,
    SetRamp,
    StartGate,
    StartProgram,
    StopProgram,
    Verify,
)
from rollout.core.config import RolloutConfig
from rollout.core.held import Held
from rollout.core.observation import (
    BuildSample,
    GateRun,
    Measurements,
    Observation,
    Ramp,
    Version,
)
from rollout.core.plan import plan
from rollout.core.takeover import UNTRIED
from tests.support.synthetic_deployment import (
    ME,
    T0,
    SyntheticDeployment,
    config,
    fresh,
    routing,
    seen,
    version,
)

V1 = version("v1", "current", first_activated_at=T0 - timedelta(minutes=4))
V2 = version("v2")
LONG_AGO = T0 - timedelta(minutes=3)


class TestReasons:
    """Why nothing happens is always said, and nothing is done meanwhile."""

    @pytest.mark.parametrize(
        ("observation", "intent", "phase", "reason"),
        [
            (seen(exists=False), config(), "waiting", "no worker of deployment d has polled yet"),
            (seen(V2), config(), "waiting", "no worker of v1 has polled yet"),
            (
                seen(version("v1", strategy=None, created_at=T0 - timedelta(seconds=1))),
                config(),
                "waiting",
                "v1 has not declared its strategy yet",
            ),
            (
                seen(V1, current="v1", current_changed_at=LONG_AGO),
                config(),
                "waiting",
                "no worker of v2 has polled yet",
            ),
            (
                seen(V1, replace(V2, workers=0), current="v1", current_changed_at=LONG_AGO),
                config(),
                "waiting",
                "v2 has no live worker",
            ),
            (
                seen(
                    V1,
                    replace(V2, workers=0, started_at=T0 - timedelta(seconds=50)),
                    current="v1",
                    current_changed_at=LONG_AGO,
                ),
                config(),
                "waiting",
                (
                    "v2 has no live worker yet: an SDK sends its first heartbeat up to a minute "
                    "after its start"
                ),
            ),
            (
                seen(V1, replace(V2, workers=None), current="v1", current_changed_at=LONG_AGO),
                config(),
                "waiting",
                "the workers of v2 cannot be counted",
            ),
            (
                seen(V1, V2, current="v1", current_changed_at=T0 - timedelta(seconds=5)),
                config(),
                "progressing",
                "v1 settles for 15 s more",
            ),
            (
                seen(
                    V1,
                    V2,
                    current="v1",
                    ramping=Ramp("v2", 10),
                    ramping_changed_at=T0 - timedelta(seconds=18),
                ),
                config(),
                "progressing",
                "at 10 % for 12 s more",
            ),
            (
                seen(V1, V2, current="v1", ramping=Ramp("v2", 10)),
                config(paused=True),
                "paused",
                "paused in rollout.toml; v2 stays at 10 %",
            ),
            (
                seen(V1, V2, current="v1"),
                config("manual"),
                "manual",
                'pace is "manual" in rollout.toml',
            ),
            (
                seen(V1, V2, current="v1", manager="someone@else"),
                config(),
                "blocked",
                "someone@else manages this deployment",
            ),
            (seen(V2, current="v2"), config(), "complete", "v2 takes all new runs"),
        ],
    )
    def test_waiting_says_why(
        self, observation: Observation, intent: RolloutConfig, phase: str, reason: str
    ) -> None:
        """Each state that waits has its phase and its one sentence, and no action."""
        assert plan(intent, observation, T0, ME) == Plan(phase, reason)  # type: ignore[arg-type]


class TestActions:
    """What is done, in one round, from one observation."""

    @pytest.mark.parametrize(
        ("observation", "intent", "actions"),
        [
            pytest.param(
                seen(version("v1", version_set=None)),
                config(),
                (JoinSet("v1", "v1"), SetCurrent("v1")),
                id="the baseline becomes current where nothing is",
            ),
            pytest.param(
                seen(version("v1", workers=0)),
                config(),
                (SetCurrent("v1"),),
                id="the baseline is not waited for: new runs wait in any case",
            ),
            pytest.param(
                seen(V1, V2, current="v1", manager=""),
                config("all-at-once"),
                (ClaimManager(),),
                id="an unmanaged deployment is claimed before anything is changed",
            ),
            pytest.param(
                seen(V1, V2, current="v1"),
                config("all-at-once"),
                (SetCurrent("v2"),),
                id="all at once needs no settling",
            ),
            pytest.param(
                seen(V1, V2, current="v1", current_changed_at=LONG_AGO),
                config(),
                (SetRamp("v2", 10),),
                id="the first step",
            ),
            pytest.param(
                seen(V1, V2, current="v1", ramping=Ramp("v2", 10), ramping_changed_at=LONG_AGO),
                config(),
                (SetRamp("v2", 50),),
                id="the second step",
            ),
            pytest.param(
                seen(V1, V2, current="v1", ramping=Ramp("v2", 30), ramping_changed_at=LONG_AGO),
                config(),
                (SetRamp("v2", 50),),
                id="a percentage set by hand goes on with the next higher step",
            ),
            pytest.param(
                seen(V1, V2, current="v1", ramping=Ramp("v2", 50), ramping_changed_at=LONG_AGO),
                config(),
                (SetCurrent("v2"),),
                id="after the last step the target becomes current",
            ),
            pytest.param(
                seen(
                    V1,
                    V2,
                    version("v3"),
                    current="v1",
                    ramping=Ramp("v2", 50),
                    ramping_changed_at=LONG_AGO,
                ),
                config(target="v3"),
                (ClearRamp(),),
                id="a new target ends the ramp of the old one first",
            ),
            pytest.param(
                seen(V1, V2, current="v2", ramping=Ramp("v1", 5)),
                config(),
                (ClearRamp(),),
                id="a stray ramp beside the current target is ended",
            ),
            pytest.param(
                seen(
                    V1,
                    version(
                        "v1.1",
                        strategy="compatible",
                        version_set=None,
                        verified={"v1": "passed"},
                    ),
                    current="v1",
                ),
                config("all-at-once", target="v1.1"),
                (JoinSet("v1.1", "v1"), SetCurrent("v1.1")),
                id="a compatible build joins the current version's set",
            ),
            pytest.param(
                seen(V1, version("v2", version_set=None), current="v1"),
                config("all-at-once"),
                (JoinSet("v2", "v2"), SetCurrent("v2")),
                id="an incompatible build begins a set of its own",
            ),
            pytest.param(
                seen(V1, version("v2", strategy=None, version_set=None), current="v1"),
                config("all-at-once"),
                (JoinSet("v2", "v2"), SetCurrent("v2")),
                id="a build that never declares a strategy counts as incompatible",
            ),
        ],
    )
    def test_actions(
        self, observation: Observation, intent: RolloutConfig, actions: tuple[Action, ...]
    ) -> None:
        """The actions are these and no others."""
        assert plan(intent, observation, T0, ME).actions == actions


def wait_for_v2(waiting_age: float = 94.0, **known: object) -> Observation:
    """v2 is current, and nobody takes the new runs."""
    current = version("v2", "current", backlog=1520, waiting_age=waiting_age, **known)
    return seen(current, current="v2", unassigned=1560, stuck=1520)


class TestNotComplete:
    """A rollout is complete only where new runs are taken."""

    def test_new_runs_wait(self) -> None:
        """How many, of what and for how long is said; those in flight are none of them."""
        assert plan(config(), wait_for_v2(), T0, ME) == Plan(
            "waiting",
            "v2 takes all new runs, but 1,520 new runs wait for a worker of v2, "
            "the oldest for about 94 s",
        )
        assert (
            plan(config(), wait_for_v2(95), T0, ME).news
            == plan(config(), wait_for_v2(), T0, ME).news
        )
        assert plan(config(), wait_for_v2(workers=0), T0, ME) == plan(
            config(), wait_for_v2(), T0, ME
        )
        in_flight = replace(wait_for_v2(), stuck=0)
        assert plan(config(), in_flight, T0, ME) == Plan("complete", "v2 takes all new runs")

    def test_whether_they_wait_is_not_known(self) -> None:
        """A count that failed keeps a rollout from being called complete."""
        unknown = replace(wait_for_v2(), unassigned=None, stuck=None)
        assert plan(config(), unknown, T0, ME) == Plan(
            "waiting", "v2 takes all new runs, but whether some wait could not be counted"
        )

    def test_out_of_versioning(self) -> None:
        """So it is where workers without a version are to take them."""
        waiting = replace(wait_for_v2(), current=None)
        decided = plan(config(target="__unversioned__"), waiting, T0, ME)
        assert decided == Plan(
            "waiting",
            "workers without a version take all new runs, but 1,520 new runs wait: "
            "nothing is current",
        )


class TestAge:
    """A plan is made on what is, and not on what was."""

    def test_nothing_is_done_on_an_old_look(self) -> None:
        """After 15 s somebody may have changed the routing."""
        ready = seen(V1, V2, current="v1", current_changed_at=LONG_AGO)
        intent = config(more="[sunset]\nstop = '1s'\n")
        assert plan(intent, ready, T0 + timedelta(seconds=15), ME).actions == (SetRamp("v2", 10),)
        decided = plan(intent, ready, T0 + timedelta(seconds=36), ME)
        assert decided == Plan("waiting", "what was read is 36 s old, and nothing is done on that")
        later = plan(intent, ready, T0 + timedelta(seconds=37), ME)
        assert later.news == decided.news

    def test_a_pause_does_not_age(self) -> None:
        """That it is paused stands in rollout.toml."""
        ready = seen(V1, V2, current="v1", current_changed_at=LONG_AGO)
        decided = plan(config(paused=True), ready, T0 + timedelta(seconds=36), ME)
        assert decided == Plan("paused", "paused in rollout.toml")


class TestRealShares:
    """A target that does not keep up gets no more, whoever looks at failures."""

    def ramp(self, started: int, of: int, **known: object) -> Observation:
        """v2 is meant to get half of the new runs, and that long enough."""
        values: dict[str, object] = {"unassigned": 150, **known}
        return seen(
            replace(V1, started=of - started),
            replace(V2, status="ramping", started=started),
            current="v1",
            ramping=Ramp("v2", 50),
            ramping_changed_at=LONG_AGO,
            **values,
        )

    def test_far_below_what_was_meant(self) -> None:
        """Without any analysis the step is held, and the numbers are told."""
        assert plan(config(), self.ramp(12, 200), T0, ME) == Plan(
            "progressing",
            "held at 50 %: v2 gets 6 % of new runs instead of 50 % (12 of 200): "
            "its workers do not keep up",
        )

    @pytest.mark.parametrize(
        ("started", "of", "known"),
        [
            pytest.param(80, 200, {}, id="a little below"),
            pytest.param(1, 6, {}, id="chance"),
            pytest.param(12, 200, {"unassigned": 0}, id="nothing waits: v1's runs go on as new"),
            pytest.param(0, 0, {}, id="no new run"),
        ],
    )
    def test_nothing_to_hold_for(self, started: int, of: int, known: dict[str, object]) -> None:
        """The target goes on."""
        decided = plan(config(), self.ramp(started, of, **known), T0, ME)
        assert decided.actions == (SetCurrent("v2"),)

    def test_the_hold_has_no_end(self) -> None:
        """However long it lasts, max_hold rolls nobody back for it."""
        more = ANALYSIS
        measured = Measurements(60, BuildSample("v2"), BuildSample("v1"))
        ramp = replace(self.ramp(12, 200), measurements=measured)
        decided = plan(config(more=more), ramp, T0, ME, held=0)
        assert decided.reason.startswith("held at 50 %: v2 gets 6 % of new runs")
        assert not decided.holds


class TestCompatibleRuns:
    """The runs of a set move to its newest build, and only to it."""

    V1 = version("v1", "draining", first_activated_at=T0 - timedelta(minutes=9), open_runs=7)
    V10 = replace(V1, build_id="v1.0", first_activated_at=T0 - timedelta(minutes=5), open_runs=3)
    V11 = version(
        "v1.1",
        "current",
        strategy="compatible",
        version_set="v1",
        first_activated_at=T0 - timedelta(minutes=1),
        open_runs=2,
        verified={"v1": "passed"},
    )
    TARGET = config(target="v1.1")

    def test_they_move_to_the_newer_build(self) -> None:
        """Open runs of the older build move once the newer one is current and routing settled."""
        decided = plan(self.TARGET, seen(self.V1, self.V11, current="v1.1"), T0, ME)
        assert decided == Plan(
            "moving", "7 open runs of its set move to v1.1", (MoveRuns("v1", "v1.1"),)
        )

    def test_none_moves_without_a_replay(self) -> None:
        """Runs of another build than the one it followed are replayed before they move."""
        decided = plan(self.TARGET, seen(self.V1, self.V10, self.V11, current="v1.1"), T0, ME)
        assert decided.actions == (Verify("v1.1", "v1.0"), MoveRuns("v1", "v1.1"))
        passed = replace(self.V11, verified={"v1": "passed", "v1.0": "passed"})
        decided = plan(self.TARGET, seen(self.V1, self.V10, passed, current="v1.1"), T0, ME)
        assert decided.actions == (MoveRuns("v1", "v1.1"), MoveRuns("v1.0", "v1.1"))

    def test_those_that_would_break_stay(self) -> None:
        """Where a replay has failed the runs are left, and the reason says so."""
        broken = replace(self.V11, verified={"v1": "passed", "v1.0": "order-1 breaks"})
        decided = plan(self.TARGET, seen(self.V10, broken, current="v1.1"), T0, ME)
        reason = "v1.1 takes all new runs; the runs of v1.0 stay: order-1 breaks"
        assert decided == Plan("complete", reason)

    def test_they_wait_for_the_routing(self) -> None:
        """While the change is under way, runs may still begin on the old build: no move yet."""
        observation = seen(self.V1, self.V11, current="v1.1", routing_settled=False)
        decided = plan(self.TARGET, observation, T0, ME)
        assert (decided.phase, decided.actions) == ("moving", ())

    def test_an_unknown_count_is_not_taken_for_none(self) -> None:
        """A count that failed keeps the rollout from being called complete."""
        observation = seen(replace(self.V1, open_runs=None), self.V11, current="v1.1")
        assert plan(self.TARGET, observation, T0, ME).phase == "moving"

    def test_they_never_move_back(self) -> None:
        """After a rollback to the older build, the newer build's runs stay where they are."""
        older = replace(self.V1, strategy="compatible", status="current")
        decided = plan(config(target="v1"), seen(older, self.V11, current="v1"), T0, ME)
        assert decided == Plan("complete", "v1 takes all new runs")

    def test_other_sets_stay(self) -> None:
        """Runs of a set that the target does not belong to are left alone."""
        stranger = replace(self.V1, version_set="v0")
        decided = plan(self.TARGET, seen(stranger, self.V11, current="v1.1"), T0, ME)
        assert decided.phase == "complete"

    def test_incompatible_builds_take_nothing(self) -> None:
        """A build that is incompatible takes over no runs, whatever set it stands in."""
        incompatible = replace(self.V11, strategy="incompatible")
        decided = plan(self.TARGET, seen(self.V1, incompatible, current="v1.1"), T0, ME)
        assert decided.phase == "complete"


class TestWithoutManager:
    """A worker that takes its place by itself plans without an identity to claim."""

    def test_it_does_not_claim(self) -> None:
        """Routing is changed in an unmanaged deployment without claiming it."""
        observation = seen(V1, V2, current="v1", manager="")
        assert plan(config("all-at-once"), observation, T0, None).actions == (SetCurrent("v2"),)

    def test_it_respects_a_claim(self) -> None:
        """A managed deployment is left to its manager."""
        observation = seen(V1, V2, current="v1", manager=ME)
        assert plan(config("all-at-once"), observation, T0, None).phase == "blocked"


class TestWholeRollouts:
    """From nothing to complete, each output fed back as the next observation."""

    def started(self) -> SyntheticDeployment:
        """A deployment in which v1 is current and v2 polls."""
        synthetic = SyntheticDeployment()
        synthetic.register(fresh("v1", "compatible"))
        synthetic.register(fresh("v2"))
        return synthetic

    def test_the_shipped_pace(self) -> None:
        """v1 first, and after settling v2 at 10 %, 50 % and 100 %, with the pauses between."""
        synthetic = self.started()
        assert synthetic.run(config(), 120).phase == "complete"
        assert routing(synthetic) == [
            (1, SetCurrent("v1")),
            (21, SetRamp("v2", 10)),
            (51, SetRamp("v2", 50)),
            (81, SetCurrent("v2")),
        ]

    def test_slow_rounds_skip_no_step(self) -> None:
        """A controller that looks only every 45 s still takes every step, one at a time."""
        synthetic = self.started()
        synthetic.run(config(), 400, period=45)
        assert [a for _, a in routing(synthetic)] == [
            SetCurrent("v1"),
            SetRamp("v2", 10),
            SetRamp("v2", 50),
            SetCurrent("v2"),
        ]

    def test_a_new_target_in_mid_ramp(self) -> None:
        """A superseding target ends the old ramp, and starts its own from the first step."""
        synthetic = self.started()
        synthetic.run(config(), 60)
        synthetic.register(fresh("v3"))
        synthetic.run(config(target="v3"), 90)
        assert [a for _, a in routing(synthetic)][3:] == [
            ClearRamp(),
            SetRamp("v3", 10),
            SetRamp("v3", 50),
            SetCurrent("v3"),
        ]

    def test_a_pause_in_mid_ramp(self) -> None:
        """While paused nothing moves; afterwards the ramp goes on where it was."""
        synthetic = self.started()
        synthetic.run(config(), 40)
        before = len(synthetic.history)
        synthetic.run(config(paused=True), 300)
        assert len(synthetic.history) == before
        assert synthetic.run(config(), 60).phase == "complete"

    def test_a_target_that_dies_in_mid_ramp(self) -> None:
        """Its share goes back to the current version, and it begins anew once it lives."""
        synthetic = self.started()
        synthetic.run(config(), 40)
        before = len(routing(synthetic))
        synthetic.change("v2", workers=0)
        decided = synthetic.run(config(), 300)
        assert decided.reason == "v2 has no live worker"
        assert [a for _, a in routing(synthetic)][before:] == [ClearRamp()]
        synthetic.change("v2", workers=1)
        assert synthetic.run(config(), 90).phase == "complete"

    def test_a_restart_of_the_target_in_mid_ramp(self) -> None:
        """A worker that has said goodbye moments ago costs no share; one that stays away does."""
        synthetic = self.started()
        synthetic.run(config(), 40)
        synthetic.change("v2", workers=0, returning=1)
        assert synthetic.run(config(), 3).reason == (
            "v2 has no live worker, and one is on its way back; v2 stays at 10 %"
        )
        assert synthetic.state.ramping == Ramp("v2", 10)
        synthetic.change("v2", returning=0)
        assert synthetic.run(config(), 1).reason == "v2 has no live worker: its share goes back"
        assert synthetic.state.ramping is None

    def test_a_target_that_nobody_knows(self) -> None:
        """A target that is perhaps only misspelt does not end another build's ramp."""
        synthetic = self.started()
        synthetic.run(config(), 40)
        decided = synthetic.run(config(target="v9"), 300)
        assert decided == Plan(
            "waiting",
            "no worker of v9 has polled yet, and no program here would run one; v2 stays at 10 %",
        )
        assert synthetic.state.ramping == Ramp("v2", 10)

    def test_a_target_that_is_about_to_come(self) -> None:
        """One whose program stands here ends the old one's ramp, which nobody wants any more."""
        synthetic = self.started()
        synthetic.run(config(), 40)
        stranger = Version("v9", "unregistered", process="STARTING")
        synthetic.state = replace(synthetic.state, versions=(*synthetic.state.versions, stranger))
        observation = replace(synthetic.observe("v9"), versions=synthetic.state.versions[:2])
        observation = replace(observation, versions=(*observation.versions, stranger))
        assert plan(config(target="v9"), observation, synthetic.now, ME).actions == (ClearRamp(),)

    def test_back_from_workers_without_a_version(self) -> None:
        """Where the baseline's workers are gone, the live target becomes current, not the dead."""
        synthetic = self.started()
        synthetic.run(config(), 120)
        synthetic.run(config(target="__unversioned__"), 5)
        assert synthetic.state.current is None
        synthetic.change("v1", workers=0)
        synthetic.run(config(), 5)
        assert synthetic.state.current == "v2"
        synthetic.state = replace(synthetic.state, current=None)
        synthetic.change("v2", workers=0)
        decided = synthetic.run(config(), 5)
        reason = "no build to make current: no live worker of v1 or v2 that is not blocked"
        assert decided == Plan("waiting", reason)

    def test_a_blocked_build_does_not_come_back_that_way(self) -> None:
        """From workers without a version new runs go to no build that was rolled back."""
        synthetic = self.started()
        synthetic.run(config(), 120)
        synthetic.run(config(target="__unversioned__"), 5)
        synthetic.change("v1", workers=0)
        synthetic.change("v2", blocked="it was bad")
        assert synthetic.run(config(), 5).phase == "blocked"
        assert synthetic.state.current is None
        synthetic.run(config(unblock="v2"), 5)
        assert synthetic.state.current == "v2"

    def test_a_task_queue_without_a_worker(self) -> None:
        """A target that lacks a worker where the current version has one gets no traffic."""
        synthetic = self.started()
        synthetic.change("v1", queues=frozenset({"q", "extra"}))
        synthetic.change("v2", queues=frozenset({"q"}))
        decided = synthetic.run(config(), 40)
        assert decided.reason == "v2 has no live worker on task queue extra, which v1 has"
        assert synthetic.state.ramping is None
        assert synthetic.run(config(ignore_missing_task_queues=True), 1).reason == "next step: 10 %"
        assert routing(synthetic)[-1][1] == SetRamp("v2", 10, ignore_missing_task_queues=True)
        # In mid-ramp its share goes back, as where all of its workers are dead.
        synthetic.run(config(), 1)
        assert synthetic.state.ramping is None

    @pytest.mark.parametrize("build_id", ["v1", "v2"])
    def test_metadata_that_cannot_be_read(self, build_id: str) -> None:
        """What could not be read is not taken for absent: nothing is routed meanwhile."""
        synthetic = self.started()
        synthetic.run(config(), 40)
        before = len(synthetic.history)
        synthetic.change(build_id, described=False, strategy=None, version_set=None)
        decided = synthetic.run(config(), 120)
        assert decided.reason == f"{build_id} could not be described; v2 stays at 10 %"
        assert len(synthetic.history) == before

    def test_somebody_else_takes_over(self) -> None:
        """Nothing is changed while another identity manages the deployment."""
        synthetic = self.started()
        synthetic.run(config(), 40)
        before = len(synthetic.history)
        synthetic.state = replace(synthetic.state, manager="someone@else")
        assert synthetic.run(config(), 100).phase == "blocked"
        assert len(synthetic.history) == before

    def test_a_ramp_changed_by_hand(self) -> None:
        """A percentage set by hand is kept for a pause from then, and then goes on upwards."""
        synthetic = self.started()
        synthetic.run(config(), 30)
        synthetic.state = replace(
            synthetic.state, ramping=Ramp("v2", 80), ramping_changed_at=synthetic.now
        )
        synthetic.run(config(), 40)
        assert [a for _, a in routing(synthetic)][2:] == [SetCurrent("v2")]

    @pytest.mark.parametrize("die_after", range(8))
    def test_a_restart_changes_nothing(self, die_after: int) -> None:
        """A controller killed after any of its actions and started later takes the same steps."""
        synthetic = self.started()
        synthetic.run(config(), 120, die_after=die_after)
        assert len(synthetic.history) == min(die_after, 7)
        synthetic.now += timedelta(seconds=10)
        assert synthetic.run(config(), 150).phase == "complete"
        assert [a for _, a in routing(synthetic)] == [
            SetCurrent("v1"),
            SetRamp("v2", 10),
            SetRamp("v2", 50),
            SetCurrent("v2"),
        ]

    def test_compatible_then_incompatible(self) -> None:
        """v1.1 joins v1's set and takes its runs; v2 begins a set and takes none."""
        synthetic = SyntheticDeployment()
        synthetic.register(fresh("v1", "compatible"))
        synthetic.register(fresh("v1.1", "compatible"))
        synthetic.register(fresh("v2"))
        synthetic.run(config(target="v1"), 5)
        synthetic.change("v1", open_runs=4)
        synthetic.run(config("all-at-once", target="v1.1"), 5)
        synthetic.change("v1.1", open_runs=3)
        synthetic.run(config("all-at-once"), 5)
        assert [a for _, a in synthetic.history if isinstance(a, (JoinSet, MoveRuns))] == [
            JoinSet("v1", "v1"),
            JoinSet("v1.1", "v1"),
            MoveRuns("v1", "v1.1"),
            JoinSet("v2", "v2"),
        ]


GATE = """
[gate]
workflow = "Smoke"
task_queues = ["q", "r"]
retries = 1
"""


class TestGate:
    """No traffic before a pinned run has completed on every task queue."""

    def synthetic(self) -> SyntheticDeployment:
        """A deployment in which v1 is current for long, and v2 polls."""
        synthetic = SyntheticDeployment()
        synthetic.register(fresh("v1"))
        synthetic.run(config(target="v1"), 30)
        synthetic.register(fresh("v2"))
        synthetic.history.clear()
        return synthetic

    def test_each_queue_has_to_pass(self) -> None:
        """One try on each queue, one after the other, and then the first step."""
        synthetic = self.synthetic()
        synthetic.run(config(more=GATE), 4)
        assert [action for _, action in synthetic.history] == [
            StartGate("v2", "q", 1),
            StartGate("v2", "r", 1),
            JoinSet("v2", "v2"),
            SetRamp("v2", 10),
        ]

    def test_a_failed_try_is_repeated(self) -> None:
        """A try that fails is followed by the retries that are configured, and those suffice."""
        synthetic = self.synthetic()
        synthetic.gate_outcome = lambda attempt: "passed" if attempt == 2 else "failed"
        assert synthetic.run(config("all-at-once", more=GATE), 6).phase == "complete"
        tries = [
            (a.task_queue, a.attempt) for _, a in synthetic.history if isinstance(a, StartGate)
        ]
        assert tries == [("q", 1), ("q", 2), ("r", 1), ("r", 2)]

    def test_a_gate_that_stays_shut_blocks(self) -> None:
        """After the last retry nothing more is tried, and the reason says what failed."""
        synthetic = self.synthetic()
        synthetic.gate_outcome = lambda _attempt: "failed"
        decided = synthetic.run(config(more=GATE), 60)
        assert decided == Plan(
            "blocked", "the gate of v2 failed on q: boom; `rollout retry v2` tries again"
        )
        assert len(synthetic.history) == 2
        assert routing(synthetic) == []

    def test_a_workflow_that_the_build_has_not_is_not_tried_again(self) -> None:
        """Its code is what it is: the first try that says so blocks, and names what to mend."""
        lacking = GateRun("q", 1, "failed", "unable to find workflow type: X", lacks_workflow=True)
        observation = seen(V1, V2, current="v1", current_changed_at=LONG_AGO, gates=(lacking,))
        decided = plan(config(more=GATE), observation, T0, ME)
        assert (decided.phase, decided.actions) == ("blocked", ())
        assert decided.reason.startswith("the gate of v2 cannot pass: this build has no workflow ")
        assert "(unable to find workflow type: X); name one that it has" in decided.reason

    def test_a_workflow_that_the_build_does_not_list_is_not_even_tried(self) -> None:
        """Its workers have declared what they can run; one that they have is tried."""
        for listed, phase in ((("A", "B"), "blocked"), (("A", "Smoke"), "progressing")):
            target = replace(V2, workflows=listed)
            observation = seen(V1, target, current="v1", current_changed_at=LONG_AGO)
            decided = plan(config(more=GATE), observation, T0, ME)
            assert decided.phase == phase
            assert bool(decided.actions) == (phase == "progressing")
            said = "this build has no workflow Smoke (it has A, B)"
            assert (said in decided.reason) == (phase == "blocked")

    def test_a_running_gate_is_waited_for(self) -> None:
        """While a try runs nothing is started and nothing is routed."""
        running = GateRun("q", 1, "running")
        observation = seen(V1, V2, current="v1", current_changed_at=LONG_AGO, gates=(running,))
        decided = plan(config(more=GATE), observation, T0, ME)
        assert decided == Plan("progressing", "the gate of v2 runs on q, try 1 of 2")


class TestVerification:
    """A compatible build gets traffic once runs of the current one replay on it."""

    def synthetic(self) -> SyntheticDeployment:
        """A deployment in which v1 is current, and a compatible v1.1 polls."""
        synthetic = SyntheticDeployment()
        synthetic.register(fresh("v1"))
        synthetic.run(config(target="v1"), 5)
        synthetic.register(fresh("v1.1", "compatible"))
        synthetic.history.clear()
        return synthetic

    def test_it_is_tried_first(self) -> None:
        """The replay comes before everything else that concerns the target."""
        synthetic = self.synthetic()
        assert synthetic.run(config("all-at-once", target="v1.1"), 5).phase == "complete"
        assert [action for _, action in synthetic.history][:2] == [
            Verify("v1.1", "v1"),
            JoinSet("v1.1", "v1"),
        ]

    def test_a_broken_replay_blocks(self) -> None:
        """A build whose replay broke gets no traffic, and the reason says what broke."""
        synthetic = self.synthetic()
        synthetic.verify_outcome = "order-1 breaks at event 12"
        decided = synthetic.run(config("all-at-once", target="v1.1"), 30)
        assert decided.phase == "blocked"
        assert decided.reason.startswith("v1.1 is not compatible: order-1 breaks at event 12;")
        assert [action for _, action in synthetic.history] == [Verify("v1.1", "v1")]

    def test_it_holds_for_the_runs_that_were_replayed(self) -> None:
        """A pass against another build's runs says nothing of the current one's."""
        synthetic = self.synthetic()
        synthetic.change("v1.1", verified={"v0": "passed"})
        synthetic.run(config("all-at-once", target="v1.1"), 5)
        assert synthetic.history[0][1] == Verify("v1.1", "v1")

    def test_it_can_be_switched_off(self) -> None:
        """With compatible = "off" nothing is replayed."""
        synthetic = self.synthetic()
        off = config("all-at-once", target="v1.1", more='[verify]\ncompatible = "off"')
        assert synthetic.run(off, 5).phase == "complete"
        assert not [action for _, action in synthetic.history if isinstance(action, Verify)]

    def test_a_build_without_a_replay_command_gets_nothing(self) -> None:
        """Each way out is named, one of them is said in rollout.toml."""
        synthetic = self.synthetic()
        synthetic.verify_outcome = f"{UNTRIED}v1.1 has no replay command"
        decided = synthetic.run(config("all-at-once", target="v1.1"), 30)
        assert decided == Plan(
            "blocked",
            "v1.1 has no replay command, then `rollout retry v1.1`; or deploy it as incompatible, "
            'or set without_replay = "warn" in [verify]',
        )
        assert routing(synthetic) == []
        warn = config("all-at-once", target="v1.1", more='[verify]\nwithout_replay = "warn"')
        assert synthetic.run(warn, 5).phase == "complete"

    def test_what_breaks_is_not_let_through_as_untried(self) -> None:
        """Whoever lets pass what cannot be tried does not let pass what was tried."""
        synthetic = self.synthetic()
        synthetic.verify_outcome = "order-1 breaks at event 12"
        warn = config("all-at-once", target="v1.1", more='[verify]\nwithout_replay = "warn"')
        assert synthetic.run(warn, 30).phase == "blocked"


class TestAutoUpgrade:
    """Runs that move by themselves are replayed before they can."""

    def synthetic(self, **known: object) -> SyntheticDeployment:
        """v1 is current and has six open runs, two of them pinned; v2 is incompatible."""
        synthetic = SyntheticDeployment()
        synthetic.register(fresh("v1"))
        synthetic.run(config(target="v1"), 5)
        synthetic.change("v1", **{"open_runs": 6, "open_pinned": 2, **known})
        synthetic.register(fresh("v2"))
        synthetic.history.clear()
        return synthetic

    def test_they_are_replayed_whatever_the_strategy(self) -> None:
        """Before the target gets anything, and it is said why."""
        synthetic = self.synthetic()
        decided = synthetic.run(config("all-at-once"), 1)
        assert decided == Plan(
            "progressing",
            "replaying runs of v1 on v2, to which its 4 auto-upgrade runs would move",
            (Verify("v2", "v1"),),
        )
        assert synthetic.run(config("all-at-once"), 3).phase == "complete"

    def test_what_breaks_them_gets_nothing(self) -> None:
        """Once they have ended, the target may go on."""
        synthetic = self.synthetic()
        synthetic.verify_outcome = "order-1 breaks at event 12"
        decided = synthetic.run(config("all-at-once"), 30)
        assert decided == Plan(
            "blocked",
            "v2 cannot go on with the 4 auto-upgrade runs of v1: order-1 breaks at event 12; "
            "let them finish first, or mend it and `rollout retry v2`",
        )
        assert routing(synthetic) == []
        synthetic.change("v1", open_runs=2)
        assert synthetic.run(config("all-at-once"), 3).phase == "complete"

    def test_without_a_replay_command_they_hold_it_up(self) -> None:
        """It is said how many there are, and that they may finish first."""
        synthetic = self.synthetic()
        synthetic.verify_outcome = f"{UNTRIED}v2 has no replay command"
        decided = synthetic.run(config("all-at-once"), 30)
        assert decided == Plan(
            "blocked",
            "v1 has 4 auto-upgrade runs, which would move: v2 has no replay command, then "
            "`rollout retry v2`; or let them finish first, or set "
            'without_replay = "warn" in [verify]',
        )

    def test_unknown_is_not_none(self) -> None:
        """Where they cannot be told from pinned ones nothing begins."""
        synthetic = self.synthetic(open_pinned=None)
        assert synthetic.run(config("all-at-once"), 30) == Plan(
            "waiting", "whether v1 has auto-upgrade runs open could not be counted"
        )
        off = config("all-at-once", more='[verify]\ncompatible = "off"')
        assert synthetic.run(off, 3).phase == "complete"


ANALYSIS = """
[analysis]
min_samples = 20
max_hold = "60s"
then = "rollback"
"""


class TestAnalysis:
    """The metrics of target and current decide whether a step is followed by the next."""

    def synthetic(self) -> SyntheticDeployment:
        """A deployment in which v2 has just been ramped to 10 %."""
        synthetic = SyntheticDeployment()
        synthetic.register(fresh("v1"))
        synthetic.register(fresh("v2"))
        synthetic.run(config(more=ANALYSIS), 24)
        assert synthetic.state.ramping == Ramp("v2", 10)
        synthetic.history.clear()
        return synthetic

    def failing(self, target: str, current: str) -> Measurements:
        """Three of ten activities of the target fail."""
        bad = BuildSample(target, activities=300, activity_failures=90, workflows=100)
        return Measurements(60, bad, BuildSample(current, activities=300, workflows=100))

    def test_a_healthy_target_goes_on(self) -> None:
        """Nothing wrong: the shipped pace, unchanged."""
        synthetic = self.synthetic()
        assert synthetic.run(config(more=ANALYSIS), 70).phase == "complete"

    def test_a_failing_target_is_rolled_back_within_its_step(self) -> None:
        """It is blocked first, then the ramp ends, at once; and it stays out."""
        synthetic = self.synthetic()
        synthetic.measure = self.failing
        assert synthetic.run(config(more=ANALYSIS), 1).phase == "blocked"
        assert [type(action) for _, action in synthetic.history] == [Block, ClearRamp]
        assert synthetic.run(config(more=ANALYSIS), 300).reason.startswith("v2 was rolled back: ")
        assert len(synthetic.history) == 2

    def test_while_paused_it_is_only_told(self) -> None:
        """A person has the traffic: the reason says what analysis would do, and nothing is done."""
        synthetic = self.synthetic()
        assert synthetic.run(config(paused=True, more=ANALYSIS), 1).reason == (
            "paused in rollout.toml; v2 stays at 10 %"
        )
        synthetic.measure = self.failing
        decided = synthetic.run(config(paused=True, more=ANALYSIS), 30)
        assert decided.phase == "paused"
        assert decided.reason.startswith(
            "paused in rollout.toml; v2 stays at 10 %; analysis would roll it back: "
        )
        assert not synthetic.history

    def test_killed_between_block_and_routing(self) -> None:
        """A controller killed after the block ends the ramp when it comes back."""
        synthetic = self.synthetic()
        synthetic.measure = self.failing
        synthetic.run(config(more=ANALYSIS), 5, die_after=1)
        assert synthetic.state.ramping == Ramp("v2", 10)
        synthetic.run(config(more=ANALYSIS), 5)
        assert [type(action) for _, action in synthetic.history] == [Block, ClearRamp]

    def test_the_operator_may_lift_the_block(self) -> None:
        """A build named in `unblock` goes through its steps again."""
        synthetic = self.synthetic()
        synthetic.measure = self.failing
        synthetic.run(config(more=ANALYSIS), 5)
        synthetic.measure = SyntheticDeployment().measure
        lifted = config(unblock="v2", more=ANALYSIS)
        assert synthetic.run(lifted, 120).phase == "complete"

    def test_a_block_is_lifted_once(self) -> None:
        """A build that fails again stays out, although `unblock` still names it."""
        synthetic = self.synthetic()
        synthetic.measure = self.failing
        named = config(unblock="v2", more=ANALYSIS)
        decided = synthetic.run(named, 300)
        assert decided.phase == "blocked"
        assert decided.reason.startswith("v2 was rolled back: ")
        kinds = [type(action) for _, action in synthetic.history]
        assert kinds == [Block, ClearRamp, LiftBlock, SetRamp, Block, ClearRamp]

    def test_without_prometheus_it_holds_and_then_does_as_told(self) -> None:
        """Prometheus away never advances; after max_hold the configured end is taken."""
        synthetic = self.synthetic()
        nothing = BuildSample("v2")
        synthetic.measure = lambda _t, _c: Measurements(60, nothing, nothing, problem="no answer")
        assert synthetic.run(config(more=ANALYSIS), 40).reason.startswith("held at 10 %: ")
        assert synthetic.history == []
        synthetic.run(config(more=ANALYSIS), 60)
        assert [type(action) for _, action in synthetic.history] == [Block, ClearRamp]

    def test_what_nobody_looked_at_is_not_held(self) -> None:
        """Away for ten minutes, controller and Prometheus hold from the beginning afterwards."""
        synthetic = self.synthetic()
        few = BuildSample("v2", activities=3)
        synthetic.measure = lambda _t, _c: Measurements(60, few, BuildSample("v1"))
        synthetic.run(config(more=ANALYSIS), 50)
        synthetic.held = Held()  # a restart
        synthetic.now += timedelta(seconds=600)
        assert synthetic.run(config(more=ANALYSIS), 60).reason.startswith("held at 10 %: ")
        assert synthetic.history == []
        synthetic.run(config(more=ANALYSIS), 5)
        assert [type(action) for _, action in synthetic.history] == [Block, ClearRamp]
        reason = str(synthetic.state.version("v2").blocked)
        assert reason.startswith("held for 61 s, longer than max_hold (60 s): ")

    def test_a_gap_between_looks_is_not_held(self) -> None:
        """Nor is time in which the server could not be read, however short the looks beside it."""
        synthetic = self.synthetic()
        few = BuildSample("v2", activities=3)
        synthetic.measure = lambda _t, _c: Measurements(60, few, BuildSample("v1"))
        for _ in range(8):
            synthetic.run(config(more=ANALYSIS), 5)
            synthetic.now += timedelta(seconds=60)
        assert synthetic.held.seconds < 60
        assert synthetic.history == []

    def test_a_pause_is_not_held(self) -> None:
        """After a long `pause` the step is held from the beginning."""
        synthetic = self.synthetic()
        few = BuildSample("v2", activities=3)
        synthetic.measure = lambda _t, _c: Measurements(60, few, BuildSample("v1"))
        synthetic.run(config(more=ANALYSIS), 80)
        synthetic.run(config(paused=True, more=ANALYSIS), 600)
        synthetic.run(config(more=ANALYSIS), 30)
        assert synthetic.history == []
        assert 25 <= synthetic.held.seconds <= 30

    def test_unmeasured_is_held(self) -> None:
        """A look that brought no measurements at all holds the step."""
        synthetic = self.synthetic()
        synthetic.measure = lambda _t, _c: None
        decided = synthetic.run(config(more=ANALYSIS), 60)
        assert decided.reason == "held at 10 %: nothing has been measured yet"
        assert synthetic.history == []


def steps_to(build_id: str) -> list[Action]:
    """The shipped way to a build."""
    return [SetRamp(build_id, 10), SetRamp(build_id, 50), SetCurrent(build_id)]


class TestRollback:
    """Back to a version that was current before."""

    def synthetic(self) -> SyntheticDeployment:
        """A deployment in which v2 has followed v1."""
        synthetic = SyntheticDeployment()
        synthetic.register(fresh("v1"))
        synthetic.register(fresh("v2"))
        synthetic.run(config("all-at-once", target="v1"), 5)
        synthetic.run(config("all-at-once"), 5)
        assert synthetic.state.current == "v2"
        synthetic.history.clear()
        return synthetic

    def test_it_is_one_change_at_once(self) -> None:
        """A target that was current before the current one is current in one change, unramped."""
        synthetic = self.synthetic()
        assert (
            synthetic.run(config(target="v1", rollback=True, more=GATE + ANALYSIS), 3).phase
            == "complete"
        )
        assert routing(synthetic) == [(10, SetCurrent("v1", ignore_missing_task_queues=True))]

    def test_it_starts_stopped_workers_first(self) -> None:
        """Where the old workers have been stopped they are started, and then routed to."""
        synthetic = self.synthetic()
        synthetic.change("v1", process="STOPPED", workers=0)
        assert synthetic.run(config(target="v1", rollback=True), 3).phase == "complete"
        back = SetCurrent("v1", ignore_missing_task_queues=True)
        assert [action for _, action in synthetic.history] == [StartProgram("v1"), back]

    def test_dead_workers_are_waited_for(self) -> None:
        """Where the old workers are dead and not ours to start, it waits and says so."""
        synthetic = self.synthetic()
        synthetic.change("v1", process=None, workers=0)
        decided = synthetic.run(config(target="v1", rollback=True), 3)
        assert decided == Plan("waiting", "rolling back to v1, which has no live worker")

    def test_in_mid_ramp_it_ends_the_ramp(self) -> None:
        """A target set back to the current version in mid-ramp ends the ramp, and no more."""
        synthetic = self.synthetic()
        synthetic.register(fresh("v3"))
        synthetic.run(config(target="v3"), 30)
        synthetic.history.clear()
        synthetic.run(config(target="v2", rollback=True), 3)
        assert [action for _, action in synthetic.history] == [ClearRamp()]

    def test_another_ramp_ends_first(self) -> None:
        """What ramps may be the bad build: it loses its share even while the old one is awaited."""
        synthetic = self.synthetic()
        synthetic.register(fresh("v3"))
        synthetic.run(config(target="v3"), 30)
        synthetic.change("v1", process=None, workers=0)
        synthetic.history.clear()
        synthetic.change("v1", described=False)
        decided = synthetic.run(config(target="v1", rollback=True), 1)
        assert decided.reason == "rolling back to v1: v3 gets no more new runs"
        assert [action for _, action in synthetic.history] == [ClearRamp()]
        synthetic.change("v1", described=True)
        decided = synthetic.run(config(target="v1", rollback=True), 1)
        assert decided == Plan("waiting", "rolling back to v1, which has no live worker")
        synthetic.change("v1", workers=1)
        synthetic.run(config(target="v1", rollback=True), 2)
        assert synthetic.state.current == "v1"

    def test_it_does_not_outlive_its_target(self) -> None:
        """A target that is set later by hand goes through its steps, whatever `rollback` names."""
        synthetic = self.synthetic()
        synthetic.run(config(target="v1", rollback=True), 3)
        synthetic.history.clear()
        synthetic.run(config(target="v2", rollback="v1"), 22)
        assert [action for _, action in routing(synthetic)] == [SetRamp("v2", 10)]

    def test_only_the_way_back_has_to_be_described(self) -> None:
        """What cannot be read of another version holds no rollback up."""
        synthetic = self.synthetic()
        synthetic.change("v2", described=False)
        assert synthetic.run(config(target="v1", rollback=True), 3).phase == "complete"

    def test_forward_again_takes_the_steps(self) -> None:
        """After a rollback the newer version goes through all its steps again."""
        synthetic = self.synthetic()
        synthetic.run(config(target="v1", rollback=True), 3)
        synthetic.history.clear()
        synthetic.run(config(), 120)
        assert [action for _, action in routing(synthetic)] == steps_to("v2")

    def test_a_target_alone_is_no_rollback(self) -> None:
        """Without the word, an older target goes through gate and steps like any other."""
        synthetic = self.synthetic()
        synthetic.run(config(target="v1"), 120)
        assert [action for _, action in routing(synthetic)] == steps_to("v1")

    def test_a_blocked_build_is_not_gone_back_to(self) -> None:
        """A block holds for a rollback, too."""
        synthetic = self.synthetic()
        synthetic.change("v1", blocked="it was bad")
        decided = synthetic.run(config(target="v1", rollback=True), 30)
        assert (decided.phase, routing(synthetic)) == ("blocked", [])


SUNSET = """
[sunset]
stop = "10s"
delete = "30s"
keep = {keep}
"""


class TestSunset:
    """What becomes of versions that nothing needs any longer."""

    def synthetic(self, more: str) -> SyntheticDeployment:
        """A deployment in which v2 has followed v1, which still has three runs open."""
        synthetic = SyntheticDeployment()
        synthetic.register(fresh("v1"))
        synthetic.register(fresh("v2"))
        synthetic.run(config("all-at-once", target="v1", more=more), 5)
        synthetic.change("v1", open_runs=3)
        synthetic.run(config("all-at-once", more=more), 5)
        synthetic.history.clear()
        return synthetic

    def test_stop_remove_and_delete(self) -> None:
        """Once drained: stopped after its delay, removed after the other, then deleted."""
        more = SUNSET.format(keep=0)
        synthetic = self.synthetic(more)
        synthetic.run(config("all-at-once", more=more), 60)
        assert synthetic.history == []
        synthetic.change("v1", open_runs=0)
        synthetic.run(config("all-at-once", more=more), 60)
        assert synthetic.history == [
            (80, StopProgram("v1")),
            (100, RemoveProgram("v1")),
            (101, DeleteVersion("v1")),
        ]

    def test_by_default_processes_are_a_persons(self) -> None:
        """Without [sunset] nothing is stopped, and nothing that was stopped is started."""
        synthetic = self.synthetic("")
        synthetic.change("v1", process="STOPPED", workers=0)
        synthetic.run(config("all-at-once"), 600)
        synthetic.change("v1", open_runs=0)
        synthetic.run(config("all-at-once"), 600)
        assert synthetic.history == []

    def test_the_last_ones_stay_warm(self) -> None:
        """The last `keep` versions that were current stay as they are; older ones go."""
        more = SUNSET.format(keep=1)
        synthetic = self.synthetic(more)
        synthetic.change("v1", open_runs=0)
        synthetic.run(config("all-at-once", more=more), 120)
        assert synthetic.history == []
        synthetic.register(fresh("v3"))
        synthetic.run(config("all-at-once", target="v3", more=more), 120)
        assert [action for _, action in synthetic.history][2:] == [
            StopProgram("v1"),
            RemoveProgram("v1"),
            DeleteVersion("v1"),
        ]

    def test_needed_again(self) -> None:
        """A version that has runs again after it was stopped gets its workers back."""
        more = SUNSET.format(keep=0)
        synthetic = self.synthetic(more)
        synthetic.change("v1", open_runs=0)
        synthetic.run(config("all-at-once", more=more), 15)
        assert synthetic.state.version("v1").process == "STOPPED"
        synthetic.change("v1", open_runs=1)
        synthetic.run(config("all-at-once", more=more), 30)
        assert synthetic.history[-1][1] == StartProgram("v1")

    def test_a_bad_build_stays_down(self) -> None:
        """A blocked build whose workers somebody has stopped is not started again."""
        more = SUNSET.format(keep=0)
        synthetic = self.synthetic(more)
        synthetic.change("v1", process="STOPPED", workers=0, blocked="it was bad")
        synthetic.run(config("all-at-once", more=more), 60)
        assert synthetic.history == []

    def test_one_of_several_programs(self) -> None:
        """A stopped program beside one that runs is started again, where runs are open."""
        more = SUNSET.format(keep=0)
        synthetic = self.synthetic(more)
        synthetic.change("v1", partly_stopped=True)
        synthetic.run(config("all-at-once", more=more), 1)
        assert synthetic.history[0][1] == StartProgram("v1")

    def test_what_somebody_has_started_again_is_let_be(self) -> None:
        """The delays of a drained version count from its workers' start, where that is later."""
        more = SUNSET.format(keep=0)
        synthetic = self.synthetic(more)
        synthetic.change("v1", open_runs=0)
        synthetic.run(config("all-at-once", more=more), 15)
        assert synthetic.state.version("v1").process == "STOPPED"
        synthetic.change("v1", process="RUNNING", workers=1, started_at=synthetic.now)
        before = len(synthetic.history)
        synthetic.run(config("all-at-once", more=more), 5)
        assert len(synthetic.history) == before
        synthetic.run(config("all-at-once", more=more), 30)
        assert synthetic.history[before][1] == StopProgram("v1")

    def test_superseded_versions_are_not_leaked(self) -> None:
        """A version that never had traffic goes too, once a later target is current."""
        more = SUNSET.format(keep=0)
        synthetic = SyntheticDeployment()
        synthetic.register(fresh("v1"))
        synthetic.run(config(target="v1", more=more), 60)
        synthetic.register(fresh("v2"))
        synthetic.run(config(target="v1", more=more), 120)
        assert synthetic.state.version("v2").process == "RUNNING"  # it may be next
        synthetic.now += timedelta(seconds=60)
        synthetic.register(fresh("v3"))
        synthetic.run(config("all-at-once", target="v3", more=more), 120)
        assert {v.build_id for v in synthetic.state.versions} == {"v3"}

    def test_what_only_a_gate_ran_on_may_be_next(self) -> None:
        """A newer version that reads drained because its gate has ended is not superseded."""
        more = SUNSET.format(keep=0)
        synthetic = SyntheticDeployment()
        synthetic.register(fresh("v1"))
        synthetic.run(config(target="v1", more=more), 60)
        tried = version("v2", "drained", drained_since=T0, created_at=synthetic.now)
        observation = synthetic.observe("v1")
        observation = replace(observation, versions=(*observation.versions, tried))
        assert tried.shown_status == "gate only"
        assert plan(config(target="v1", more=more), observation, synthetic.now, ME).actions == ()

    def test_idle_auto_upgrade_runs_hold_nothing(self) -> None:
        """A drained version on which they sleep is stopped like another, and not started again."""
        more = SUNSET.format(keep=0)
        synthetic = self.synthetic(more)
        synthetic.change("v1", open_runs=2, open_pinned=0)
        synthetic.run(config("all-at-once", more=more), 25)
        assert [action for _, action in synthetic.history] == [StopProgram("v1")]

    @pytest.mark.parametrize(("seconds", "actions"), [(0, ()), (3, (StopProgram("v1"),))])
    def test_zero_is_wanted_twice(self, seconds: int, actions: tuple[Action, ...]) -> None:
        """A chain of runs that reads 0 between two of them is not stopped in that moment."""
        drained = version(
            "v1",
            "drained",
            first_activated_at=LONG_AGO,
            drained_since=LONG_AGO,
            zero_since=T0 - timedelta(seconds=seconds),
        )
        observation = seen(drained, version("v2", "current"), current="v2")
        more = SUNSET.format(keep=0)
        assert plan(config(more=more), observation, T0, ME).actions == actions

    def test_a_version_with_workers_elsewhere_is_not_deleted(self) -> None:
        """Without a program here but with live workers, the record is left alone."""
        more = SUNSET.format(keep=0)
        synthetic = self.synthetic(more)
        synthetic.change("v1", open_runs=0, process=None, workers=2)
        synthetic.run(config("all-at-once", more=more), 120)
        assert synthetic.history == []

    def test_while_paused_nothing_is_taken_away(self) -> None:
        """A paused rollout stops and deletes nothing."""
        more = SUNSET.format(keep=0)
        synthetic = self.synthetic(more)
        synthetic.change("v1", open_runs=0)
        synthetic.run(config("all-at-once", paused=True, more=more), 120)
        assert synthetic.history == []


def test_out_of_versioning() -> None:
    """The way back to workers without a version ends a ramp first, and then needs one change."""
    synthetic = SyntheticDeployment()
    synthetic.register(fresh("v1"))
    synthetic.register(fresh("v2"))
    synthetic.run(config(), 30)
    synthetic.history.clear()
    away = config(target="__unversioned__")
    assert plan(away, synthetic.observe("__unversioned__"), synthetic.now, ME).actions == (
        ClearRamp(),
    )
    observation = seen(V1, V2, current="v1")
    assert plan(away, observation, T0, ME).actions == (SetCurrent(""),)
    assert plan(away, seen(V1, V2), T0, ME).phase == "complete"
