"""The planner: tables of observations, and whole rollouts on a synthetic clock and server."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import pytest

from rollout.config import RolloutConfig, parse
from rollout.model import (
    Action,
    ClaimManager,
    ClearRamp,
    JoinSet,
    MoveRuns,
    Observation,
    Plan,
    Ramp,
    SetCurrent,
    SetRamp,
    Version,
)
from rollout.plan import plan

T0 = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)
ME = "rollout@here"


def config(pace: str = "progressive", *, target: str = "v2", paused: bool = False) -> RolloutConfig:
    """The shipped pace, towards ``target``."""
    return parse(
        f"""
        [deployment]
        name = "d"
        baseline = "v1"
        target = "{target}"
        pace = "{pace}"
        paused = {str(paused).lower()}
        [progressive]
        settle = "20s"
        steps = [{{ percentage = 10, pause = "30s" }}, {{ percentage = 50, pause = "30s" }}]
        """
    )


def version(build_id: str, status: str = "inactive", **known: object) -> Version:
    """A version with a live worker that has declared itself incompatible."""
    values: dict[str, object] = {
        "strategy": "incompatible",
        "version_set": build_id,
        "created_at": T0 - timedelta(minutes=5),
        "open_runs": 0,
        "backlog": 0,
        "workers": 1,
    }
    return Version(build_id, status, **{**values, **known})  # type: ignore[arg-type]


def seen(*versions: Version, **known: object) -> Observation:
    """An observation at T0 of a deployment that this planner manages."""
    values: dict[str, object] = {"deployment": "d", "namespace": "n", "at": T0, "manager": ME}
    return Observation(versions=versions, **{**values, **known})  # type: ignore[arg-type]


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
                    version("v1.1", strategy="compatible", version_set=None),
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


class TestCompatibleRuns:
    """The runs of a set move to its newest build, and only to it."""

    V1 = version("v1", "draining", first_activated_at=T0 - timedelta(minutes=9), open_runs=7)
    V11 = version(
        "v1.1",
        "current",
        strategy="compatible",
        version_set="v1",
        first_activated_at=T0 - timedelta(minutes=1),
        open_runs=2,
    )
    TARGET = config(target="v1.1")

    def test_they_move_to_the_newer_build(self) -> None:
        """Open runs of the older build move once the newer one is current and routing settled."""
        decided = plan(self.TARGET, seen(self.V1, self.V11, current="v1.1"), T0, ME)
        assert decided == Plan(
            "moving", "7 open runs of its set move to v1.1", (MoveRuns("v1", "v1.1"),)
        )

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


@dataclass
class FakeServer:
    """The routing rules of a server, applied to actions on a clock of its own."""

    now: datetime = T0
    state: Observation = field(default_factory=lambda: seen(exists=False, manager=""))
    history: list[tuple[int, Action]] = field(default_factory=list)

    def register(self, build: Version) -> None:
        """A first worker of the build polls."""
        self.state = replace(self.state, exists=True, versions=(*self.state.versions, build))

    def change(self, build_id: str, **values: object) -> None:
        """Something else about a version changes."""
        self.state = replace(
            self.state,
            versions=tuple(
                replace(v, **values) if v.build_id == build_id else v  # type: ignore[arg-type]
                for v in self.state.versions
            ),
        )

    def apply(self, action: Action) -> None:
        """Do what the real server does."""
        self.history.append((int((self.now - T0).total_seconds()), action))
        if isinstance(action, ClaimManager):
            self.state = replace(self.state, manager=ME)
        elif isinstance(action, JoinSet):
            self.change(action.build_id, version_set=action.version_set)
        elif isinstance(action, SetCurrent):
            ramping = self.state.ramping
            if ramping and ramping.build_id == action.build_id:
                ramping = None
            self.state = replace(
                self.state,
                current=action.build_id,
                current_changed_at=self.now,
                ramping=ramping,
            )
            self.change(action.build_id, first_activated_at=self.now)
        elif isinstance(action, SetRamp):
            assert action.build_id != self.state.current, "FAILED_PRECONDITION"
            ramp = Ramp(action.build_id, action.percentage)
            self.state = replace(self.state, ramping=ramp, ramping_changed_at=self.now)
            self.change(action.build_id, first_activated_at=self.now)
        elif isinstance(action, ClearRamp):
            self.state = replace(self.state, ramping=None, ramping_changed_at=self.now)
        else:
            self.change(action.source, open_runs=0)

    def run(
        self, intent: RolloutConfig, seconds: int, period: int = 1, die_after: int | None = None
    ) -> Plan:
        """Observe, plan and act every ``period`` seconds; returns the last plan.

        With ``die_after`` the controller is killed after so many actions, in
        the middle of a plan if that is where they end.
        """
        for _ in range(0, seconds, period):
            observation = replace(self.state, at=self.now)
            decided = plan(intent, observation, self.now, ME)
            for action in decided.actions:
                if len(self.history) == die_after:
                    return decided
                self.apply(action)
            self.now += timedelta(seconds=period)
        return decided


def fresh(build_id: str, strategy: str = "incompatible") -> Version:
    """A version as it appears, before it belongs to a set."""
    return version(build_id, strategy=strategy, version_set=None)


def routing(server: FakeServer) -> list[tuple[int, Action]]:
    """What the server was asked to route, and when."""
    return [(at, a) for at, a in server.history if not isinstance(a, (ClaimManager, JoinSet))]


class TestWholeRollouts:
    """From nothing to complete, each output fed back as the next observation."""

    def started(self) -> FakeServer:
        """A server on which v1 is current and v2 polls."""
        server = FakeServer()
        server.register(fresh("v1", "compatible"))
        server.register(fresh("v2"))
        return server

    def test_the_shipped_pace(self) -> None:
        """v1 first, and after settling v2 at 10 %, 50 % and 100 %, with the pauses between."""
        server = self.started()
        assert server.run(config(), 120).phase == "complete"
        assert routing(server) == [
            (1, SetCurrent("v1")),
            (21, SetRamp("v2", 10)),
            (51, SetRamp("v2", 50)),
            (81, SetCurrent("v2")),
        ]

    def test_slow_rounds_skip_no_step(self) -> None:
        """A controller that looks only every 45 s still takes every step, one at a time."""
        server = self.started()
        server.run(config(), 400, period=45)
        assert [a for _, a in routing(server)] == [
            SetCurrent("v1"),
            SetRamp("v2", 10),
            SetRamp("v2", 50),
            SetCurrent("v2"),
        ]

    def test_a_new_target_in_mid_ramp(self) -> None:
        """A superseding target ends the old ramp, and starts its own from the first step."""
        server = self.started()
        server.run(config(), 60)
        server.register(fresh("v3"))
        server.run(config(target="v3"), 90)
        assert [a for _, a in routing(server)][3:] == [
            ClearRamp(),
            SetRamp("v3", 10),
            SetRamp("v3", 50),
            SetCurrent("v3"),
        ]

    def test_a_pause_in_mid_ramp(self) -> None:
        """While paused nothing moves; afterwards the ramp goes on where it was."""
        server = self.started()
        server.run(config(), 40)
        before = len(server.history)
        server.run(config(paused=True), 300)
        assert len(server.history) == before
        assert server.run(config(), 60).phase == "complete"

    def test_a_target_that_dies_in_mid_ramp(self) -> None:
        """The ramp stands still while the target has no live worker, and goes on after."""
        server = self.started()
        server.run(config(), 40)
        before = len(server.history)
        server.change("v2", workers=0)
        decided = server.run(config(), 300)
        assert decided.reason == "v2 has no live worker; v2 stays at 10 %"
        assert len(server.history) == before
        server.change("v2", workers=1)
        assert server.run(config(), 60).phase == "complete"

    def test_somebody_else_takes_over(self) -> None:
        """Nothing is changed while another identity manages the deployment."""
        server = self.started()
        server.run(config(), 40)
        before = len(server.history)
        server.state = replace(server.state, manager="someone@else")
        assert server.run(config(), 100).phase == "blocked"
        assert len(server.history) == before

    def test_a_ramp_changed_by_hand(self) -> None:
        """A percentage set by hand is kept for a pause from then, and then goes on upwards."""
        server = self.started()
        server.run(config(), 30)
        server.state = replace(server.state, ramping=Ramp("v2", 80), ramping_changed_at=server.now)
        server.run(config(), 40)
        assert [a for _, a in routing(server)][2:] == [SetCurrent("v2")]

    @pytest.mark.parametrize("die_after", range(8))
    def test_a_restart_changes_nothing(self, die_after: int) -> None:
        """A controller killed after any of its actions and started later takes the same steps."""
        server = self.started()
        server.run(config(), 120, die_after=die_after)
        assert len(server.history) == min(die_after, 7)
        server.now += timedelta(seconds=10)
        assert server.run(config(), 150).phase == "complete"
        assert [a for _, a in routing(server)] == [
            SetCurrent("v1"),
            SetRamp("v2", 10),
            SetRamp("v2", 50),
            SetCurrent("v2"),
        ]

    def test_compatible_then_incompatible(self) -> None:
        """v1.1 joins v1's set and takes its runs; v2 begins a set and takes none."""
        server = FakeServer()
        server.register(fresh("v1", "compatible"))
        server.register(fresh("v1.1", "compatible"))
        server.register(fresh("v2"))
        server.run(config(target="v1"), 5)
        server.change("v1", open_runs=4)
        server.run(config("all-at-once", target="v1.1"), 5)
        server.change("v1.1", open_runs=3)
        server.run(config("all-at-once"), 5)
        assert [a for _, a in server.history if isinstance(a, (JoinSet, MoveRuns))] == [
            JoinSet("v1", "v1"),
            JoinSet("v1.1", "v1"),
            MoveRuns("v1", "v1.1"),
            JoinSet("v2", "v2"),
        ]
