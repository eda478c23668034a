"""What the versionings ask of a worker's options and code, and how each names the worker."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion

from rollout.base.exit import Misuse
from rollout.worker.app import App
from rollout.worker.options import Options
from rollout.worker.versioning import VERSIONINGS, Identity

OPTIONS = Options(
    build_id="v1",
    strategy="compatible",
    deployment="d",
    task_queue="q",
    metrics_port=None,
    managed=False,
    allow_changed_code=False,
    drain=timedelta(seconds=10),
)
UNROUTED = ("version-sets", "none")


@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Moving:
    """A workflow with a behavior of its own."""

    @workflow.run
    async def run(self) -> None:
        """Do nothing."""


class TestOptions:
    """Options that exclude each other."""

    @pytest.mark.parametrize("name", UNROUTED)
    def test_a_controller_routes_deployments_alone(self, name: str) -> None:
        """--managed is refused where the controller would have nothing to route."""
        with pytest.raises(Misuse, match=f"--managed goes with .* with {name} there is"):
            VERSIONINGS[name].refuse_options(replace(OPTIONS, managed=True))

    @pytest.mark.parametrize("name", UNROUTED)
    def test_behaviors_are_those_of_deployments(self, name: str) -> None:
        """--behavior is refused where the server would not hear of it."""
        with pytest.raises(Misuse, match=f"--behavior auto-upgrade .* leave it out with {name}"):
            VERSIONINGS[name].refuse_options(replace(OPTIONS, behavior="auto-upgrade"))

    def test_a_deployment_takes_them_all(self) -> None:
        """A deployment's version may be managed, and its runs may move by themselves."""
        VERSIONINGS["deployment"].refuse_options(
            replace(OPTIONS, managed=True, behavior="auto-upgrade")
        )

    def test_strategies(self) -> None:
        """A worker without a version needs no strategy; the others do."""
        needing = [name for name, each in VERSIONINGS.items() if each.takes_strategy]
        assert needing == ["deployment", "version-sets"]


class TestCode:
    """Workflows with a behavior of their own."""

    @pytest.mark.parametrize("name", UNROUTED)
    def test_they_would_hang(self, name: str) -> None:
        """They are refused by name on a worker without a deployment's version."""
        with pytest.raises(Misuse, match=f"own: Moving cannot run with --versioning {name}"):
            VERSIONINGS[name].refuse_app(App("own", [Moving], [], "c0de"))

    def test_they_run_on_a_deployment(self) -> None:
        """A deployment's version may have them."""
        VERSIONINGS["deployment"].refuse_app(App("own", [Moving], [], "c0de"))


class TestIdentity:
    """The build id goes to one of two places: the SDK refuses both."""

    def test_without_a_version(self) -> None:
        """The build id is a mere name."""
        assert VERSIONINGS["none"].identity(OPTIONS) == Identity("v1")

    def test_in_a_version_set(self) -> None:
        """The build id is what the server routes by."""
        assert VERSIONINGS["version-sets"].identity(OPTIONS) == Identity("v1", True)

    def test_in_a_deployment(self) -> None:
        """The version and the behavior of its runs are said instead of the build id."""
        found = VERSIONINGS["deployment"].identity(replace(OPTIONS, behavior="auto-upgrade"))
        assert (found.build_id, found.use_worker_versioning) == (None, False)
        assert found.deployment_config is not None
        assert found.deployment_config.version == WorkerDeploymentVersion("d", "v1")
        assert found.deployment_config.use_worker_versioning
        behavior = found.deployment_config.default_versioning_behavior
        assert behavior == VersioningBehavior.AUTO_UPGRADE
