"""The versionings that a worker may run under: all that differs between them is said here.

A worker that can be told `--versioning` looks its `Versioning` up in `VERSIONINGS` once, and
asks it for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tenacity
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import WorkerDeploymentConfig

from rollout.base.connect import is_transient
from rollout.base.exit import Failure, Misuse
from rollout.base.logger import get_logger
from rollout.temporal.routing import DeploymentRouting
from rollout.temporal.version_sets import VersionSetRouting
from rollout.worker import defaults
from rollout.worker.app import App
from rollout.worker.declaration import Declaration, admit, declare
from rollout.worker.options import Options
from rollout.worker.self_routing import take_place

__all__ = ["BEHAVIORS", "VERSIONINGS", "Identity", "Versioning"]

log = get_logger(__name__)

BEHAVIORS: Mapping[str, VersioningBehavior] = {
    "pinned": VersioningBehavior.PINNED,
    "auto-upgrade": VersioningBehavior.AUTO_UPGRADE,
}

_LONGEST_WAIT = 2.0
"""Seconds between two tries to declare: the planner takes a build for undeclared after 5."""
_LONG = 10.0
"""Seconds; the server mostly knows a build within one of its worker's first poll."""


@dataclass(frozen=True)
class Identity:
    """How a worker names itself to the server; the SDK wants the build id in one place of two."""

    build_id: str | None = None
    use_worker_versioning: bool = False
    deployment_config: WorkerDeploymentConfig | None = None


@dataclass(frozen=True)
class Versioning:
    """No version: the way in and out of the others, and what those change."""

    name: str = "none"
    takes_strategy: bool = False
    routed: bool = False
    """Whether something here routes its runs: then it takes --managed, and behaviors of runs."""

    def refuse_options(self, options: Options) -> None:
        """Raise `Misuse` where two of the options exclude each other."""
        if self.routed:
            return
        if options.managed:
            raise Misuse(
                f"--managed goes with --versioning deployment alone: with {self.name} there is "
                "nothing for the rollout controller to route; leave one of the two out"
            )
        if options.behavior != defaults.BEHAVIOR:
            raise Misuse(
                f"--behavior {options.behavior} goes with --versioning deployment alone; "
                f"leave it out with {self.name}"
            )

    def refuse_app(self, app: App) -> None:
        """A workflow with a behavior of its own hangs on a worker without a deployment's version.

        The server rejects each of its completions there, and says so to nobody.
        """
        if app.behaviors and not self.routed:
            names = ", ".join(sorted(app.behaviors))
            raise Misuse(
                f"{app.module}: {names} cannot run with --versioning {self.name}: take "
                "versioning_behavior= out of @workflow.defn, or use --versioning deployment"
            )

    def identity(self, options: Options) -> Identity:
        """How the worker names itself."""
        return Identity(build_id=options.build_id)

    async def before_polling(self, client: Client, build: Declaration, options: Options) -> None:
        """Do what must be done before the first poll. Raises `Failure` where it must not poll."""

    async def settle_in(
        self, client: Client, build: Declaration, options: Options, identity: str
    ) -> None:
        """Do what can be done once the worker polls, as ``identity``."""


@dataclass(frozen=True)
class _VersionSets(Versioning):
    """The older API: the worker takes its place before it polls, and the server routes."""

    name: str = "version-sets"
    takes_strategy: bool = True

    def identity(self, options: Options) -> Identity:
        return Identity(build_id=options.build_id, use_worker_versioning=True)

    async def before_polling(self, client: Client, build: Declaration, options: Options) -> None:
        for task_queue in options.task_queues:
            routing = VersionSetRouting(client, task_queue)
            if await routing.take_place(build.build_id, build.strategy) == "superseded":
                log.warning(
                    "this build gets no tasks: a newer one of its version set has taken them over; "
                    "its worker can be stopped once that one polls",
                    task_queue=task_queue,
                )


@dataclass(frozen=True)
class _Deployment(Versioning):
    """A worker deployment's version: declared once it polls, and routed by us."""

    name: str = "deployment"
    takes_strategy: bool = True
    routed: bool = True

    def identity(self, options: Options) -> Identity:
        return Identity(
            deployment_config=WorkerDeploymentConfig(
                version=WorkerDeploymentVersion(options.deployment, options.build_id),
                use_worker_versioning=True,
                default_versioning_behavior=BEHAVIORS[options.behavior],
            )
        )

    async def before_polling(self, client: Client, build: Declaration, options: Options) -> None:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(is_transient), wait=tenacity.wait_fixed(0.5)
        )
        await retrying(admit, client, build, allow_changed_code=options.allow_changed_code)

    async def settle_in(
        self, client: Client, build: Declaration, options: Options, identity: str
    ) -> None:
        """Declare the build once the server knows it, and, unless managed, take its place."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(is_transient)
            | tenacity.retry_if_result(lambda ok: not ok),
            wait=tenacity.wait_exponential(multiplier=0.2, max=_LONGEST_WAIT),
            before_sleep=_say_that_it_takes_long,
        )
        routing = DeploymentRouting(client, build.deployment, identity)
        try:
            await retrying(declare, client, build, routing)
        except RPCError as error:
            raise Failure(f"{build.build_id} cannot be declared: {error.message}") from error
        log.info("declared", strategy=build.strategy, behavior=build.behavior)
        if not options.managed:
            await take_place(routing, build.deployment, options.task_queues, build.build_id)


def _say_that_it_takes_long(state: tenacity.RetryCallState) -> None:
    unreachable = state.outcome is not None and state.outcome.failed
    if (state.seconds_since_start or 0) > _LONG and not unreachable:
        log.warning(
            "the server does not know this build yet, although its worker polls; is the deployment "
            "at its limit of versions (`rollout status` says so)?"
        )


VERSIONINGS: Mapping[str, Versioning] = {
    each.name: each for each in (_Deployment(), _VersionSets(), Versioning())
}
"""Each by its name, as `--versioning` takes it."""
