"""``python -m rollout.temporal.namespace``, for the preflight: whether the namespace is served."""

from __future__ import annotations

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.connect import Refused, connect
from rollout.base.exit import run

__all__: list[str] = []


async def _probe() -> int:
    """0 where it is served. Raises `Failure` where the server is away, or has no such namespace."""
    client = await connect()
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as error:
        # Any other error: this client may work and not be allowed to ask.
        if error.status is RPCStatusCode.NOT_FOUND:
            address = client.service_client.config.target_host
            raise Refused(
                f"Temporal at {address} has no namespace {client.namespace!r}: "
                "create it, or set TEMPORAL_NAMESPACE"
            ) from error
    return 0


if __name__ == "__main__":
    run("connect", _probe)
