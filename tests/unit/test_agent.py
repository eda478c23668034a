"""The agent of a worker host: what it does of a plan, when it looks, and what it has scraped."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import timedelta

import pytest

from rollout.agent.loop import local_plan
from rollout.agent.targets import host_targets, reached_at
from rollout.commands.host import host_name
from rollout.core.actions import SetRamp, StartProgram, StopProgram
from rollout.core.hosts import may_act
from rollout.core.observation import Observation, Ramp
from rollout.supervision import contract
from rollout.supervision.programs import Program
from tests.support.synthetic_deployment import T0, config, seen, version

QUICK = '[sunset]\nstop = "1s"\nkeep = 0'
LONG_AGO = T0 - timedelta(minutes=3)


def drained(**known: object) -> Observation:
    """v1 is drained, v2 current, and v3 wanted; all of them run here."""
    v1 = version(
        "v1", "drained", first_activated_at=LONG_AGO, last_current_at=LONG_AGO,
        drained_since=LONG_AGO,
    )  # fmt: skip
    v2 = version("v2", "current", first_activated_at=LONG_AGO)
    routed = {"current": "v2", "current_changed_at": LONG_AGO}
    return seen(v1, v2, version("v3"), **{**routed, **known})


class TestLocalPlan:
    """Of the controller's plan only what is about programs, and on this host's own."""

    def test_it_routes_nothing(self) -> None:
        """Where the controller ramps v3, the host stops v1 and leaves the ramp to it."""
        wanted = config(target="v3", more=QUICK)
        assert local_plan(wanted, drained(), T0).actions == (StopProgram("v1"),)
        assert SetRamp("v3", 10.0) not in local_plan(wanted, drained(), T0).actions

    def test_a_rollback_starts_what_was_stopped_here(self) -> None:
        """As the controller does on its own machine."""
        back = config(target="v1", rollback=True, more=QUICK)
        v1, *others = drained(ramping=Ramp("v3", 10)).versions
        stopped = seen(
            replace(v1, process="STOPPED", workers=0), *others,
            current="v2", current_changed_at=LONG_AGO,
        )  # fmt: skip
        assert local_plan(back, stopped, T0).actions == (StartProgram("v1"),)

    def test_without_a_manager_nothing_is_done(self) -> None:
        """Nobody decides then."""
        wanted = config(target="v3", more=QUICK)
        assert local_plan(wanted, drained(manager=""), T0).actions == ()


@pytest.mark.parametrize(
    ("builds", "more", "worth"),
    [
        ({"v2": "RUNNING", "v3": "RUNNING"}, QUICK, False),
        ({"v1": "RUNNING"}, QUICK, True),
        ({"v1": "RUNNING"}, "", False),
        ({"v1": "STOPPED"}, QUICK, True),
        ({"v1": "STOPPED"}, "", False),
        ({"v1": "STOPPED"}, '[sunset]\ndelete = "1h"', True),
        ({"v3": "STOPPED"}, "", False),
        ({}, QUICK, False),
    ],
)
def test_it_looks_only_where_something_may_be_due(
    builds: dict[str, str], more: str, worth: bool
) -> None:
    """A whole look costs the server ten questions, for each host."""
    statuses = {v.build_id: v.status for v in drained().versions}
    assert may_act(config(target="v3", more=more), builds, statuses) == worth


class TestTargets:
    """What Prometheus is to scrape on a host."""

    def test_workers_of_the_deployment_alone(self) -> None:
        """Each with its build and the host, at the address by which Prometheus reaches them."""

        def worker(deployment: str, build_id: str, port: str) -> Program:
            variables = {
                contract.DEPLOYMENT: deployment,
                contract.BUILD_ID: build_id,
                contract.METRICS_PORT: port,
            }
            return Program(f"w-{build_id}", f"w-{build_id}", "node w.js", environment=variables)

        programs = [worker("shop", "v1", "9101"), worker("other", "x", "9102")]
        labels = {"job": "worker", "build_id": "v1", "deployment_name": "shop", "program": "w-v1"}
        assert host_targets(programs, "shop", "web-1", "10.0.0.11") == [
            {"targets": ["10.0.0.11:9101"], "labels": {**labels, "host": "web-1"}}
        ]

    @pytest.mark.parametrize(
        ("metrics_host", "bind", "address"),
        [
            ("", "10.0.0.11", "127.0.0.1"),
            ("10.0.0.12", "10.0.0.11", "10.0.0.12"),
            ("0.0.0.0", "10.0.0.11", "10.0.0.11"),  # noqa: S104
            ("0.0.0.0", "127.0.0.1", "web-1"),  # noqa: S104
        ],
    )
    def test_where_they_are_reached(
        self, metrics_host: str, bind: str, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The workers serve where METRICS_HOST says, whatever the list of them is bound to."""
        monkeypatch.setenv("METRICS_HOST", metrics_host)
        assert reached_at(bind, "web-1") == address


def test_a_name_is_plain() -> None:
    """It is part of a key, of a label, and of a command line."""
    assert host_name("web-1.example") == "web-1.example"
    for wrong in ("", "a b", "-x", "a/b", "x" * 64):
        with pytest.raises(argparse.ArgumentTypeError):
            host_name(wrong)
