"""`[scale]`: how many processes a draining build keeps, and what a target has before traffic."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.agent.loop import local_plan
from rollout.core.actions import ScaleProgram, SetCurrent, SetRamp, StartProgram, StopProgram
from rollout.core.config_file import parse
from rollout.core.host_notes import Host, wanted_config, wanted_text
from rollout.core.hosts import may_act
from rollout.core.observation import Observation, Processes, Ramp, Version
from rollout.core.plan import plan
from tests.support.synthetic_deployment import ME, T0, SyntheticDeployment, config, seen, version

SHRINK = '[scale]\ndraining = "shrink"\nruns_per_process = 10\n'
MATCH = '[scale]\ntarget = "match"\n'
LONG_AGO = T0 - timedelta(minutes=3)
FOUR = Processes(4, 4, 4)


def draining(runs: int | None = 20, **known: object) -> Version:
    """v1 with four processes here, from which new runs have gone."""
    told = {"first_activated_at": LONG_AGO, "last_current_at": LONG_AGO, "zero_since": None}
    return version("v1", "draining", open_runs=runs, **{"processes": FOUR, **told, **known})


def left(v1: Version, more: str = SHRINK, paused: bool = False, **known: object) -> object:
    """What is done about v1's processes, where v2 is current."""
    routed = {"current": "v2", "current_changed_at": LONG_AGO, **known}
    found = seen(v1, version("v2", "current"), **routed)
    actions = plan(config(more=more, paused=paused), found, T0, ME).actions
    ours = [a for a in actions if isinstance(a, ScaleProgram | StartProgram | StopProgram)]
    return ours[0] if ours else None


class TestShrink:
    """A draining build keeps fewer processes as its runs end."""

    @pytest.mark.parametrize(
        ("runs", "processes"), [(0, 1), (1, 1), (8, 1), (9, 2), (16, 2), (17, 3), (25, None)]
    )
    def test_as_many_as_its_runs_need_and_a_quarter_more(
        self, runs: int, processes: int | None
    ) -> None:
        """At least one, and never more than there are."""
        wanted = ScaleProgram("v1", processes) if processes else None
        assert left(draining(runs)) == wanted

    def test_drained_it_has_one(self) -> None:
        """Which answers queries, and may be needed for a rollback."""
        drained = replace(draining(0), status="drained", drained_since=LONG_AGO)
        assert left(drained) == ScaleProgram("v1", 1)

    @pytest.mark.parametrize(
        "known",
        [
            {"runs": None},
            {"open_pinned": None, "runs": 900},
            {"backlog": None},
            {"backlog": 1},
            {"counted_at": T0 - timedelta(seconds=31)},
            {"described_at": T0 - timedelta(seconds=31)},
            {"counted_at": T0 + timedelta(seconds=31)},
            {"processes": None},
            {"processes": replace(FOUR, changing=True)},
            {"processes": replace(FOUR, scalable=False)},
            {"processes": Processes(4, 2, 2)},
            {"processes": Processes(3, 3, 3)},
        ],
    )
    def test_what_is_not_known_takes_none_away(self, known: dict[str, object]) -> None:
        """Nor does work that waits, a program between two states, or one of another hand."""
        assert left(draining(**{"runs": 20, **known})) is None  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "known", [{"routing_settled": False}, {"stuck": None}, {"stuck": 1}, {"hosts": None}]
    )
    def test_nor_does_a_routing_under_way(self, known: dict[str, object]) -> None:
        """Or a new run that waits, or hosts that are not known."""
        assert left(draining(8), **known) is None  # type: ignore[arg-type]

    def test_by_default_and_paused_nothing_is_done(self) -> None:
        """It is asked for, and a pause takes nothing away."""
        assert left(draining(8), more="") is None
        assert left(draining(8), paused=True) is None

    def test_the_target_keeps_its_processes(self) -> None:
        """Although it drains, as after a rollback that is taken back."""
        found = seen(draining(8), version("v2", "current"), current="v2")
        decided = plan(config(target="v1", more=SHRINK), found, T0, ME)
        assert not [a for a in decided.actions if isinstance(a, ScaleProgram)]

    def test_what_is_stopped_on_the_way_is_not_started_again(self) -> None:
        """Sunset starts what runs need again; what has just been taken away they do not."""
        more = f'{SHRINK}[sunset]\nstop = "1h"\nkeep = 0\n'
        half = {"processes": Processes(4, 2, 2), "partly_stopped": True}
        assert left(draining(16, **half), more=more) == ScaleProgram("v1", 2)
        assert left(draining(17, **half), more=more) == StartProgram("v1")

    def test_what_is_to_be_stopped_is_not_scaled_first(self) -> None:
        """One thing at a time."""
        more = f'{SHRINK}[sunset]\nstop = "1s"\nkeep = 0\n'
        drained = replace(
            draining(0), status="drained", drained_since=LONG_AGO, zero_since=LONG_AGO
        )
        assert left(drained, more=more) == StopProgram("v1")

    def test_hosts_share_it(self) -> None:
        """Each keeps its part of what all need; a silent one has none that counts."""
        a, b = (Host(name, name, {"v1": "RUNNING"}) for name in "ab")
        assert left(draining(24), hosts=(a, b), here="a") == ScaleProgram("v1", 2)
        assert left(draining(24), hosts=(a, replace(b, silent=True)), here="a") == ScaleProgram(
            "v1", 3
        )

    @given(st.lists(st.one_of(st.none(), st.integers(0, 60)), max_size=30))
    def test_it_only_goes_down_and_never_to_nothing(self, counts: list[int | None]) -> None:
        """Whatever the counts are, look after look."""
        processes = 4
        for runs in counts:
            here = Processes(processes, processes, processes)
            action = left(draining(runs, processes=here))
            if action is not None:
                assert isinstance(action, ScaleProgram)
                assert 1 <= action.processes < processes
                assert runs is not None
                assert action.processes * 10 >= runs
                processes = action.processes


class TestMatch:
    """The target has the current build's number of processes before it gets traffic."""

    def rollout(self, v2: Version, **known: object) -> Observation:
        """v1 is current with four processes, each polling."""
        v1 = version(
            "v1", "current", first_activated_at=LONG_AGO, processes=FOUR,
            workers=8, worker_processes={"m": 4},
        )  # fmt: skip
        return seen(v1, v2, current="v1", current_changed_at=LONG_AGO, **known)

    def test_it_is_scaled_and_waited_for(self) -> None:
        """First here, by supervisord, then until each process polls."""
        v2 = version("v2", processes=Processes(1, 1, 1), worker_processes={"m": 1})
        decided = plan(config(more=MATCH), self.rollout(v2), T0, ME)
        assert decided.actions == (ScaleProgram("v2", 4),)
        assert decided.reason == "v2 has 1 process running here, v1 has 4"
        decided = plan(config(more=MATCH), self.rollout(replace(v2, processes=FOUR)), T0, ME)
        assert decided.reason == "v2 has 1 process polling on m, v1 has 4"
        assert decided.actions == ()
        ready = replace(v2, processes=FOUR, worker_processes={"m": 4})
        assert plan(config(more=MATCH), self.rollout(ready), T0, ME).actions == (
            SetRamp("v2", 10),
        )  # fmt: skip

    def test_by_default_nothing_is_waited_for(self) -> None:
        """One process of a new build may do."""
        v2 = version("v2", processes=Processes(1, 1, 1), worker_processes={"m": 1})
        assert plan(config(), self.rollout(v2), T0, ME).actions == (SetRamp("v2", 10),)

    def test_more_traffic_waits_too(self) -> None:
        """A ramp stays where it is while the current build has more."""
        v2 = version("v2", "ramping", processes=Processes(2, 2, 2), worker_processes={"m": 2})
        found = self.rollout(v2, ramping=Ramp("v2", 10), ramping_changed_at=LONG_AGO)
        decided = plan(config(more=MATCH), found, T0, ME)
        assert decided.actions == (ScaleProgram("v2", 4),)
        assert decided.reason == "v2 has 2 processes running here, v1 has 4; v2 stays at 10 %"

    @pytest.mark.parametrize(
        "known",
        [
            {"processes": replace(FOUR, total=1, running=1, up=1, scalable=False)},
            {"processes": Processes(1, 0, 1, changing=True)},
            {"processes": FOUR, "worker_processes": {"m": 3}},
        ],
    )
    def test_where_it_cannot_be_scaled_it_waits(self, known: dict[str, object]) -> None:
        """A program by hand, one that still starts, one that does not poll."""
        v2 = version("v2", **known)  # type: ignore[arg-type]
        decided = plan(config(more=MATCH), self.rollout(v2), T0, ME)
        assert (decided.phase, decided.actions) == ("waiting", ())

    def test_an_unknown_number_is_waited_for(self) -> None:
        """As the target's own is."""
        found = self.rollout(version("v2"))
        unknown = replace(found, versions=(replace(found.version("v1"), workers=None),))
        unknown = replace(unknown, versions=(*unknown.versions, found.version("v2")))
        reason = plan(config(more=MATCH), unknown, T0, ME).reason
        assert reason == "the workers of v1 cannot be counted"

    def test_a_rollback_does_not_wait(self) -> None:
        """What has shrunk gets its processes beside the traffic, not before it."""
        v2 = version(
            "v2", "draining", first_activated_at=LONG_AGO, last_current_at=LONG_AGO,
            processes=Processes(1, 1, 1), worker_processes={"m": 1},
        )  # fmt: skip
        back = plan(config(rollback=True, more=MATCH), self.rollout(v2), T0, ME)
        assert back.actions == (
            SetCurrent("v2", ignore_missing_task_queues=True),
            ScaleProgram("v2", 4),
        )

    def test_there_and_back(self) -> None:
        """A whole rollout: the target grows, gets traffic, and what it follows shrinks."""
        synthetic = SyntheticDeployment()
        more = f"{MATCH}draining = 'shrink'\n"
        synthetic.register(version("v1", processes=FOUR, worker_processes={"here": 4}))
        synthetic.run(config("all-at-once", target="v1", more=more), 60)
        synthetic.register(
            version("v2", processes=Processes(1, 1, 1), worker_processes={"here": 1})
        )
        synthetic.change("v1", open_runs=3)
        synthetic.run(config("all-at-once", more=more), 120)
        assert [a for _, a in synthetic.history if isinstance(a, ScaleProgram | SetCurrent)] == [
            SetCurrent("v1"),
            ScaleProgram("v2", 4),
            SetCurrent("v2"),
            ScaleProgram("v1", 1),
        ]


class TestHosts:
    """A host's agent does the same for the programs there."""

    def test_it_is_told(self) -> None:
        """What is not asked for is not in the note, which stays what it was."""
        assert wanted_text(config()) == '{"keep":1,"target":"v2"}'
        told = wanted_config("d", wanted_text(config(more=f"{SHRINK}target = 'match'")))
        assert told is not None
        assert told.scale == parse(f"[deployment]\ntarget='v'\n{SHRINK}target='match'").scale

    def test_it_does_it(self) -> None:
        """Of the plan what is about its programs; a whole look only where it may be due."""
        found = seen(draining(8), version("v2", "current"), current="v2")
        wanted = config(more=SHRINK)
        assert local_plan(wanted, found, T0).actions == (ScaleProgram("v1", 1),)
        assert may_act(wanted, {"v1": "RUNNING"}, {"v1": "draining", "v2": "current"})
        assert not may_act(config(), {"v1": "RUNNING"}, {"v1": "draining", "v2": "current"})
        match = config(more=MATCH)
        assert may_act(match, {"v2": "RUNNING"}, {"v1": "current", "v2": "inactive"})
        assert not may_act(match, {"v2": "RUNNING"}, {"v1": "draining", "v2": "current"})
