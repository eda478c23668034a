"""Worker hosts: who is silent, what the target waits for; a silent one makes nothing safe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.base.exit import Misuse
from rollout.core.actions import (
    Block,
    ClearRamp,
    DeleteVersion,
    SetCurrent,
    SetRamp,
    StopProgram,
    TellHosts,
)
from rollout.core.config import RolloutConfig
from rollout.core.config_file import parse
from rollout.core.host_notes import EVERY, Beat, Host, Hosts, noted_on, wanted_config, wanted_text
from rollout.core.hosts import hosts_shown, lacks_hosts, others_with
from rollout.core.observation import BuildSample, Measurements, Observation, Ramp
from rollout.core.plan import plan
from rollout.core.sunset import sunset
from rollout.core.verdict import safe_to_stop
from rollout.core.warned import warnings
from tests.support.examples import many
from tests.support.synthetic_deployment import ME, T0, config, seen, version

STATES = ("RUNNING", "STARTING", "BACKOFF", "STOPPING", "STOPPED", "EXITED", "FATAL")
SILENT = "host b has been silent since 11:58:30 UTC: what runs there is not known"
LONG_AGO = T0 - timedelta(minutes=3)


def host(name: str, silent: bool = False, **builds: str) -> Host:
    """A host that said moments ago what it runs."""
    heard = T0 - timedelta(seconds=90 if silent else 3)
    return Host(name, f"{name}.example", builds, heard, silent)


def rollout(*hosts: Host, polls: Mapping[str, int] | None = None, **known: object) -> Observation:
    """v1 is current, v2 the target; by default a worker of v2 polls on every host."""
    found = {f"{each.name}.example": 1 for each in hosts} if polls is None else polls
    v1 = version("v1", "current", first_activated_at=T0 - timedelta(minutes=4), process=None)
    v2 = version("v2", process=None, worker_hosts=found)
    told = {"current": "v1", "current_changed_at": LONG_AGO, "wanted": wanted_text(config())}
    return seen(v1, v2, hosts=hosts, **{**told, **known})


def said(name: str, *, n: int, at: datetime) -> dict[str, Beat]:
    """The notes of one host."""
    return {name: Beat(n=n, at=at, hostname=name, builds={"v1": "RUNNING"})}


class TestSilence:
    """A host lives while its beat changes, by our own clock."""

    @pytest.mark.parametrize("skew", [-3600.0, -5.0, 0.0, 5.0, 3600.0])
    def test_a_beat_that_goes_on_is_heard_whatever_the_host_s_clock(self, skew: float) -> None:
        """Once a change was seen the clock does not matter; nor does it after the last one."""
        hosts, now = Hosts(), T0
        for n in range(3):
            now += timedelta(seconds=EVERY)
            hosts = hosts.saw(said("a", n=n, at=now + timedelta(seconds=skew)), now)
        assert [each.silent for each in hosts.known(now) or ()] == [False]
        later = now + timedelta(seconds=3 * EVERY + 21)
        hosts = hosts.saw(said("a", n=2, at=now + timedelta(seconds=skew)), later)
        assert [each.silent for each in hosts.known(later) or ()] == [True]

    @pytest.mark.parametrize(
        ("ahead", "silent"), [(-120.0, True), (-30.0, False), (5.0, False), (11.0, True)]
    )
    def test_the_first_look_believes_only_what_can_be(self, ahead: float, silent: bool) -> None:
        """A note that is old, or from the future, may be of a host that is long gone."""
        hosts = Hosts().saw(said("a", n=7, at=T0 + timedelta(seconds=ahead)), T0)
        assert [each.silent for each in hosts.known(T0) or ()] == [silent]

    def test_nobody_knows_before_the_first_look(self) -> None:
        """No notes that were read are no hosts; notes that were not read are unknown ones."""
        assert Hosts().known(T0) is None
        assert Hosts().saw({}, T0).known(T0) == ()

    def test_a_note_of_another_form_says_nothing(self) -> None:
        """Anybody may write metadata, and a later version of this may write other notes."""
        beat = Beat(n=1, at=T0, hostname="a", builds={"v1": "RUNNING"})
        assert Beat.read(beat.text()) == beat
        assert Beat.read("soon") is Beat.read('{"n": 1}') is None
        assert Beat.read(beat.text().replace("15.0", "0")) is None

    def test_notes_are_left_where_they_are_looked_at(self) -> None:
        """That is the current version, else the one that ramps, else the newest."""
        created = {"v1": T0 - timedelta(1), "v2": T0, "v0": None}
        assert noted_on("v1", "v2", created) == "v1"
        assert noted_on(None, "v1", created) == "v1"
        assert noted_on(None, None, created) == "v2"
        assert noted_on("gone", None, {}) is None


class TestWaiting:
    """More traffic waits until the target is where it has to be."""

    @pytest.mark.parametrize(
        ("hosts", "reason"),
        [
            ((host("a", v1="RUNNING"),), "there is no program of v2 on a, which serves v1"),
            (
                (host("a", v1="RUNNING", v2="RUNNING"), host("b", v1="RUNNING", v2="STARTING")),
                "v2 is STARTING on b, which serves v1",
            ),
            (
                (host("a", v1="FATAL", v2="FATAL"), host("b", v1="RUNNING", v2="RUNNING")),
                "v2 is FATAL on a, which serves v1",
            ),
            (
                (host("a", v1="RUNNING", v2="RUNNING"), host("b", silent=True, v2="RUNNING")),
                f"{SILENT} (`rollout forget-host b` if it is gone for good)",
            ),
        ],
    )
    def test_all_that_serve_the_current_version(self, hosts: tuple[Host, ...], reason: str) -> None:
        """Each is waited for by name, and a silent one is unknown whatever it said last."""
        decided = plan(config(), rollout(*hosts), T0, ME)
        assert (decided.phase, decided.reason, decided.actions) == ("waiting", reason, ())

    def test_a_host_that_does_not_serve_the_current_version_is_not_waited_for(self) -> None:
        """One that was stopped by somebody, and one that is new, hold nothing up."""
        hosts = (host("a", v1="RUNNING", v2="RUNNING"), host("b", v1="STOPPED"), host("c", v0="X"))
        assert plan(config(), rollout(*hosts), T0, ME).actions == (SetRamp("v2", 10.0),)

    def test_a_process_that_runs_is_not_yet_a_worker_that_polls(self) -> None:
        """The heartbeats of the workers name their machine, where the machines' names differ."""
        hosts = (host("a", v1="RUNNING", v2="RUNNING"), host("b", v1="RUNNING", v2="RUNNING"))
        observed = rollout(*hosts, polls={"a.example": 1})
        reason = "v2 runs on b, but no worker of it there polls yet, which serves v1"
        assert plan(config(), observed, T0, ME).reason == reason
        twins = tuple(replace(each, hostname="box") for each in hosts)
        assert plan(config(), replace(observed, hosts=twins), T0, ME).actions

    def test_this_machine_counts_too(self) -> None:
        """Its own programs are seen in its own supervisord, without a note."""
        observed = rollout(host("a", v1="RUNNING", v2="RUNNING"), here="main")
        v1, v2 = observed.versions
        both = replace(observed, versions=(replace(v1, process="RUNNING"), v2))
        reason = "there is no program of v2 on main, which serves v1"
        assert lacks_hosts("all", both, v2) == reason

    def test_so_many(self) -> None:
        """With a number only those that run it count; which, does not matter."""
        hosts = (host("a", v1="RUNNING", v2="RUNNING"), host("b", silent=True, v2="RUNNING"))
        observed = rollout(*hosts, host("c", v1="RUNNING"))
        two = _with_hosts("2")
        assert plan(two, observed, T0, ME).reason == "v2 runs on 1 of 2 hosts: a"
        more = rollout(*hosts, host("c", v1="RUNNING", v2="RUNNING"), wanted=wanted_text(two))
        assert plan(two, more, T0, ME).actions == (SetRamp("v2", 10.0),)
        for wrong in ('"some"', "0", "true"):
            with pytest.raises(Misuse):
                _with_hosts(wrong)

    def test_unknown_hosts_hold_it_up(self) -> None:
        """Where the notes could not be read nobody knows who serves."""
        decided = plan(config(), replace(rollout(), hosts=None), T0, ME)
        assert (decided.phase, decided.reason) == ("waiting", "which hosts there are is not known")

    def test_a_rollback_does_not_wait(self) -> None:
        """Traffic is taken away from a target that fails, whoever is silent."""
        bad = BuildSample("v2", activities=400, activity_failures=200, workflows=400)
        measured = Measurements(60, bad, BuildSample("v1", activities=400, workflows=400))
        observed = rollout(
            host("a", v1="RUNNING", v2="RUNNING"),
            host("b", silent=True, v1="RUNNING"),
            ramping=Ramp("v2", 10),
            ramping_changed_at=LONG_AGO,
            measurements=measured,
        )
        decided = plan(config(more="[analysis]"), observed, T0, ME)
        assert [type(action) for action in decided.actions[:2]] == [Block, ClearRamp]

    def test_a_ramp_stays_where_it_is(self) -> None:
        """A host that falls silent on the way takes nothing back, and lets nothing on."""
        hosts = (host("a", v1="RUNNING", v2="RUNNING"), host("b", silent=True, v1="RUNNING"))
        observed = rollout(*hosts, ramping=Ramp("v2", 10), ramping_changed_at=LONG_AGO)
        decided = plan(config(), observed, T0, ME)
        assert (decided.phase, decided.actions) == ("waiting", ())
        assert decided.reason.endswith("; v2 stays at 10 %")


class TestWanted:
    """What the controller tells the hosts."""

    def test_they_are_told_once(self) -> None:
        """Where there are hosts, and again when what is wanted changes."""
        hosts = (host("a", v1="RUNNING", v2="RUNNING"),)
        untold = rollout(*hosts, wanted=None)
        told = TellHosts("v1", wanted_text(config()))
        assert told in plan(config(), untold, T0, ME).actions
        assert told not in plan(config(), rollout(*hosts), T0, ME).actions
        assert plan(config(), rollout(wanted=None), T0, ME).actions == (SetRamp("v2", 10.0),)
        paused = config(paused=True)
        assert plan(paused, rollout(*hosts), T0, ME).actions == (
            TellHosts("v1", wanted_text(paused)),
        )

    @pytest.mark.parametrize("sunset_", ["", '[sunset]\nstop = "5m"\ndelete = "1h"\nkeep = 0'])
    def test_it_is_what_the_file_says(self, sunset_: str) -> None:
        """A host decides by the same target and the same [sunset]."""
        wanted = config(rollback=True, paused=True, more=sunset_)
        found = wanted_config("d", wanted_text(wanted))
        assert found is not None
        assert found.sunset == wanted.sunset
        assert (found.deployment.target, found.deployment.rolls_back) == ("v2", True)
        assert found.deployment.paused

    def test_without_a_word_nothing_is_wanted(self) -> None:
        """Nobody's word is no word for retiring anything."""
        assert wanted_config("d", None) is wanted_config("d", "whatever") is None


class TestRetiring:
    """What a silent host, and one that has a program left, mean for an old version."""

    def test_a_silent_host_is_named(self) -> None:
        """In the verdict and among the warnings."""
        silent = host("b", silent=True)
        observed = _drained(host("a", v2="RUNNING"), silent)
        point = safe_to_stop(observed, "v1", "v2", T0).evidence[-1]
        assert (point.check, point.ok, point.detail) == ("hosts", False, SILENT)
        assert SILENT in warnings(observed)

    def test_all_were_heard(self) -> None:
        """Then they do not speak against it, and without any there is no such point."""
        observed = _drained(host("a", v2="RUNNING"))
        assert safe_to_stop(observed, "v1", "v2", T0).safe_to_stop
        alone = safe_to_stop(_drained(), "v1", "v2", T0)
        assert alone.safe_to_stop
        assert "hosts" not in {point.check for point in alone.evidence}

    def test_it_is_deleted_only_when_no_host_has_it(self) -> None:
        """A worker there would bring it back."""
        wanted = config(more='[sunset]\nstop = "1s"\ndelete = "1s"\nkeep = 0')
        there = host("a", v1="STOPPED", v2="RUNNING")
        assert others_with(_drained(there), "v1") == ("a",)
        assert sunset(wanted, _drained(there), T0) == ()
        assert sunset(wanted, _drained(host("a", v2="RUNNING")), T0) == (DeleteVersion("v1"),)

    def test_a_host_goes_by_the_same_rules(self) -> None:
        """With its own supervisord's states, and what it was told, it stops what is drained."""
        told = wanted_config("d", wanted_text(config(more='[sunset]\nstop = "1s"\nkeep = 0')))
        assert told is not None
        observed = _drained(host("a", v1="RUNNING", v2="RUNNING"), here="a")
        v1, v2 = observed.versions
        mine = replace(observed, versions=(replace(v1, process="RUNNING"), v2))
        assert plan(told, mine, T0, ME).actions == (StopProgram("v1"),)

    def test_how_many(self) -> None:
        """Running ones, of those with a program; a question mark where some are silent."""
        observed = rollout(
            host("a", v1="RUNNING"), host("b", v1="STOPPED"), host("c", silent=True, v1="RUNNING")
        )
        assert hosts_shown(observed, "v1") == "1/3?"
        assert hosts_shown(observed, "v2") == "-"
        assert hosts_shown(replace(observed, hosts=None), "v1") == "?"


def _with_hosts(value: str) -> RolloutConfig:
    return parse(f'[deployment]\nname = "d"\ntarget = "v2"\nhosts = {value}')


def _drained(*hosts: Host, **known: object) -> Observation:
    """v2 is current, and v1 drained."""
    v1 = version(
        "v1", "drained", first_activated_at=T0 - timedelta(minutes=9), drained_since=LONG_AGO,
        last_current_at=T0 - timedelta(minutes=8), process=None, workers=0,
    )  # fmt: skip
    v2 = version("v2", "current", first_activated_at=LONG_AGO, process=None)
    told = wanted_text(config(more='[sunset]\nstop = "1s"\nkeep = 0'))
    routed = {"current": "v2", "current_changed_at": LONG_AGO, "wanted": told}
    return seen(v1, v2, hosts=hosts, **{**routed, **known})


builds = st.dictionaries(st.sampled_from(("v0", "v1", "v2")), st.sampled_from(STATES))
some_hosts = st.lists(
    st.builds(host, st.sampled_from("abcd"), st.booleans()).flatmap(
        lambda found: builds.map(lambda mine: replace(found, builds=mine))
    ),
    unique_by=lambda found: found.name,
    max_size=4,
).map(tuple)
amounts = st.one_of(st.just("all"), st.integers(1, 4))


@settings(max_examples=many(300))
@given(some_hosts, st.data())
def test_a_silent_host_never_makes_anything_safe(
    hosts: tuple[Host, ...], data: st.DataObject
) -> None:
    """Whoever falls silent, whatever was safe to stop is not, and what was not does not become."""
    before = _drained(*hosts)
    silent = data.draw(st.sets(st.sampled_from([each.name for each in hosts] or [""])))
    after = _drained(*(replace(each, silent=each.silent or each.name in silent) for each in hosts))
    for build_id in ("v1", "v2"):
        was = safe_to_stop(before, build_id, "v2", T0).safe_to_stop
        now = safe_to_stop(after, build_id, "v2", T0).safe_to_stop
        assert was or not now
        assert not (now and any(each.silent for each in after.hosts or ()))


@settings(max_examples=many(300))
@given(some_hosts, amounts, st.data())
def test_a_missing_host_never_makes_the_target_ready(
    hosts: tuple[Host, ...], amount: int | Literal["all"], data: st.DataObject
) -> None:
    """A host that loses its program of the target, its worker or its voice readies nothing."""
    before = rollout(*hosts)
    v2 = before.version("v2")
    lost = data.draw(st.sets(st.sampled_from([each.name for each in hosts] or [""])))
    how = data.draw(st.sampled_from(("program", "voice", "worker")))

    def after(found: Host) -> Host:
        if found.name not in lost or how == "worker":
            return found
        if how == "voice":
            return replace(found, silent=True)
        kept = {build: state for build, state in found.builds.items() if build != "v2"}
        return replace(found, builds=kept)

    gone = {f"{name}.example" for name in lost} if how == "worker" else set()
    polls = {name: n for name, n in v2.worker_hosts.items() if name not in gone}
    then = rollout(*map(after, hosts), polls=polls)
    if lacks_hosts(amount, before, v2):
        assert lacks_hosts(amount, then, then.version("v2"))
    if lacks_hosts(amount, then, then.version("v2")):
        raising = (SetRamp, SetCurrent)
        wanted = _with_hosts(f'"{amount}"' if amount == "all" else str(amount))
        actions = plan(wanted, then, T0, ME).actions
        assert not any(isinstance(action, raising) for action in actions)
