"""Deleting the server's record of a version that nobody needs any longer."""

from __future__ import annotations

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.workflowservice.v1 import DeleteWorkerDeploymentVersionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.exit import Failure
from rollout.core.unlearned import COULD_NOT_LEARN
from rollout.temporal.rpc import CHANGE_TIMEOUT, WITHOUT_ANSWER

__all__ = ["NotYet", "delete_version"]

_LATER = {
    "active pollers": "the server still remembers workers of {build}: it forgets them 5 min after "
    "the last one has stopped (dynamic config matching.PollerHistoryTTL)",
    "draining": "runs that began on {build} are still open, or were until just now",
    "current or ramping": "new runs go to {build}",
}
"""What the server's refusals mean (temporal: service/worker/workerdeployment, version_workflow)."""
_TRANSIENT = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.ABORTED,
    RPCStatusCode.CANCELLED,
)


class NotYet(Failure):
    """The version cannot be deleted now, but may be later; `reason` says what it waits for."""

    def __init__(self, build_id: str, reason: str, said: str = "") -> None:
        super().__init__(said or f"{build_id} cannot be deleted yet: {reason}")
        self.reason = reason


async def delete_version(client: Client, deployment: str, build_id: str, identity: str) -> None:
    """Delete the version's record; one that does not exist is done already.

    Raises `NotYet` where the server says that it is routed to, draining, or was
    polled for within its poller memory (5 min), or where the server is busy or
    away; `Failure` with the server's words for anything else, such as another
    manager. Drainage is never skipped. Ask again after a second at the earliest: tried
    five times a second, server 1.32 never comes round to finding a version drained.
    """
    request = DeleteWorkerDeploymentVersionRequest(
        namespace=client.namespace,
        deployment_version=WorkerDeploymentVersion(deployment_name=deployment, build_id=build_id),
        skip_drainage=False,
        identity=identity,
    )
    try:
        await client.workflow_service.delete_worker_deployment_version(
            request, timeout=CHANGE_TIMEOUT
        )
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return
        raise _explained(build_id, error) from error


def _explained(build_id: str, error: RPCError) -> Failure:
    for words, meaning in _LATER.items():
        if error.status == RPCStatusCode.FAILED_PRECONDITION and words in error.message:
            return NotYet(build_id, meaning.format(build=build_id))
    if error.status in WITHOUT_ANSWER:
        reason = f"the server gave no answer ({error.message or error.status.name})"
        told = f"{COULD_NOT_LEARN} {build_id} was deleted: {reason}; the next look finds out"
        return NotYet(build_id, reason, told)
    if error.status in _TRANSIENT:
        return NotYet(build_id, f"the server did not carry it out ({error.message})")
    return Failure(f"the server refused to delete {build_id}: {error.message}")
