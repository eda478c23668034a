"""``python -m rollout.temporal.probe``, for the preflight: whether the namespace is served."""

from __future__ import annotations

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.connect import Refused, connect
from rollout.base.exit import run

__all__ = ["probe"]


async def probe() -> int:
    """0 where the namespace is served; raises what `connect` does, and `Refused` where it is not.

    Any other error of the server's says nothing: this client may work and not be allowed to ask.
    """
    client = await connect()
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            address = client.service_client.config.target_host
            raise Refused(
                f"Temporal at {address} has no namespace {client.namespace!r}: "
                "create it, or set TEMPORAL_NAMESPACE"
            ) from error
    return 0


if __name__ == "__main__":
    run("connect", probe)
