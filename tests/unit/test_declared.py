"""What the programs of workers that declare nothing themselves say, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rollout.core.actions import ClaimManager, Declare, JoinSet, Plan, SetRamp
from rollout.core.observation import Told
from rollout.core.plan import plan
from rollout.core.warned import warnings
from rollout.temporal.gate import has_no_workflow
from tests.support.synthetic_deployment import (
    ME,
    T0,
    SyntheticDeployment,
    config,
    fresh,
    seen,
    version,
)

TOLD = Told("compatible", "abc")
V1 = version("v1", "current", first_activated_at=T0 - timedelta(hours=1))
LONG_AGO = T0 - timedelta(hours=1)


class TestDeclarations:
    """What a program says is written on its version."""

    def test_it_is_written_before_anything_is_routed_there(self) -> None:
        """Then the rollout goes on as that of any build, by the strategy that was told."""
        synthetic = SyntheticDeployment()
        synthetic.register(fresh("v1"))
        synthetic.run(config(target="v1"), 30)
        synthetic.history.clear()
        build = replace(fresh("v2"), strategy=None, fingerprint=None, told=TOLD)
        synthetic.register(build)
        synthetic.run(config(more='[verify]\ncompatible = "off"'), 4)
        assert [action for _, action in synthetic.history] == [
            Declare("v2", "compatible", "abc"),
            JoinSet("v2", "v1"),
            SetRamp("v2", 10),
        ]
        assert str(synthetic.history[0][1]) == "declare v2: strategy compatible, code abc"

    def test_meanwhile_it_is_waited_for(self) -> None:
        """The reason says for what."""
        build = replace(version("v2"), told=TOLD)
        decided = plan(config(), seen(V1, build, current="v1", current_changed_at=LONG_AGO), T0, ME)
        assert decided == Plan(
            "waiting",
            "what the program of v2 says is being declared",
            (Declare("v2", "compatible", "abc"),),
        )

    @pytest.mark.parametrize(
        "build",
        [
            version("v2"),
            replace(version("v2", strategy="compatible", fingerprint="abc"), told=TOLD),
            replace(version("v2", "unregistered"), told=TOLD),
            replace(version("v2", described=False), told=TOLD),
            replace(version("v2", fingerprint="abc"), told=Told()),
        ],
    )
    def test_nothing_is_written_twice_nor_on_what_is_not_known(self, build: object) -> None:
        """Nor where no program says anything, or says what is there."""
        observation = seen(V1, build, current="v1", current_changed_at=LONG_AGO)  # type: ignore[arg-type]
        actions = plan(config(), observation, T0, ME).actions
        assert not [action for action in actions if isinstance(action, Declare)]

    def test_a_deployment_is_claimed_first(self) -> None:
        """As before any other change of the controller's."""
        build = replace(version("v2"), told=TOLD)
        observation = seen(build, current=None, manager="")
        assert plan(config(), observation, T0, ME).actions == (ClaimManager(),)


class TestOtherCode:
    """A build id that has come back with another folder's code."""

    def test_it_gets_no_traffic_and_both_codes_are_named(self) -> None:
        """What is written is not overwritten: runs are pinned to that code."""
        build = replace(version("v2", fingerprint="old"), told=Told("incompatible", "new"))
        observation = seen(V1, build, current="v1", current_changed_at=LONG_AGO)
        decided = plan(config(), observation, T0, ME)
        said = "v2 was deployed with code old, and its program here says code new"
        assert (decided.phase, decided.actions) == ("blocked", ())
        assert decided.reason.startswith(said)
        assert any(each.startswith(said) for each in warnings(observation))

    def test_a_strategy_that_was_told_anew_counts(self) -> None:
        """As that of a worker which declares itself does."""
        build = replace(version("v2", fingerprint="abc"), told=TOLD)
        observation = seen(V1, build, current="v1", current_changed_at=LONG_AGO)
        assert plan(config(), observation, T0, ME).actions == (Declare("v2", "compatible", None),)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Workflow class Greeting is not registered on this worker, available workflows: X", True),
        ("Workflow type Greeting is not registered on this worker, available workflows: X", True),
        (
            "workflow of type 'Greeting': no such function is exported by the workflow bundle",
            True,
        ),
        ("unable to find workflow type: Greeting. Supported types: [Order]", True),
        ('Unknown workflow type "Greeting". Known types are [Order]', True),
        ("Workflow class Other is not registered on this worker, available workflows: X", False),
        ("Failed decoding arguments of Greeting", False),
    ],
)
def test_a_missing_workflow_is_known_in_the_words_of_each_sdk(said: str, expected: bool) -> None:
    """A task that fails for another reason may yet succeed, and is tried again."""
    assert has_no_workflow(said, "Greeting") is expected
