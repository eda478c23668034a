"""For a worker with a `main()` of its own: what its environment says, as Temporal's SDK takes it.

All of it is optional (docs/python-workers.md has the six lines that do without), and none of it
needs more than temporalio and structlog.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.runtime import Runtime
from temporalio.worker import WorkerDeploymentConfig

from rollout.base import logs
from rollout.base.exit import Misuse
from rollout.supervision import contract
from rollout.worker.telemetry import make_runtime

__all__ = ["configure_logs", "deployment_config", "runtime", "version"]

_LAST_PORT = 65_535


def version(environ: Mapping[str, str] = os.environ) -> WorkerDeploymentVersion:
    """The version that this process is to be. Raises `Misuse` where nothing says so."""
    for name in (contract.DEPLOYMENT, contract.BUILD_ID):
        if not environ.get(name):
            raise Misuse(f"{name} is not set: `rollout add` sets it, and so can you")
    return WorkerDeploymentVersion(environ[contract.DEPLOYMENT], environ[contract.BUILD_ID])


def deployment_config(
    behavior: VersioningBehavior = VersioningBehavior.PINNED,
    environ: Mapping[str, str] = os.environ,
) -> WorkerDeploymentConfig:
    """For `Worker`; ``behavior`` is that of workflows that say nothing themselves."""
    return WorkerDeploymentConfig(
        version=version(environ),
        use_worker_versioning=True,
        default_versioning_behavior=behavior,
    )


def runtime(environ: Mapping[str, str] = os.environ) -> Runtime:
    """For `Client.connect`: a heartbeat every two seconds, and metrics with the version's labels.

    They are served on ROLLOUT_METRICS_PORT, and nowhere where that is not set. Raises `Failure`
    where the port is taken.
    """
    this = version(environ)
    text = environ.get(contract.METRICS_PORT) or None
    if text is not None and not (text.isdecimal() and 1 <= int(text) <= _LAST_PORT):
        raise Misuse(f"{contract.METRICS_PORT}={text!r} is not a port")
    number = None if text is None else int(text)
    return make_runtime(number, deployment=this.deployment_name, build_id=this.build_id)


def configure_logs(service: str = "worker", environ: Mapping[str, str] = os.environ) -> None:
    """JSON records, or text on a terminal, that name the version (`rollout.base.logs`).

    ``rollout logs`` merges them with those of the other processes.
    """
    this = version(environ)
    logs.configure(service, build_id=this.build_id, deployment_name=this.deployment_name)
