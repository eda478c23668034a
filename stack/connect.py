"""The one way to a Temporal client.

Where to, with which namespace, API key and TLS, is read as the `temporal` CLI
reads it: ``TEMPORAL_ADDRESS``, ``TEMPORAL_NAMESPACE``, ``TEMPORAL_API_KEY``,
``TEMPORAL_TLS*``, ``TEMPORAL_PROFILE`` and ``TEMPORAL_CONFIG_FILE``
(`temporalio.envconfig`). Without any of them it is the embedded server.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
import tenacity
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from stack.exit import Failure, Misuse
from stack.settings import temporal_address

__all__ = ["connect", "connect_patiently", "is_transient"]

log = structlog.get_logger(__name__)

_TRANSIENT = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.ABORTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNKNOWN,
}


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: the server is away, busy or restarting."""
    if isinstance(error, RPCError):
        return error.status in _TRANSIENT
    # Client.connect reports an unreachable server so.
    return isinstance(error, RuntimeError) and "onnect" in str(error)


def _connect_config() -> dict[str, Any]:
    config_file = os.environ.get("TEMPORAL_CONFIG_FILE")
    if config_file and not Path(config_file).is_file():  # envconfig would ignore it in silence
        raise Misuse(f"TEMPORAL_CONFIG_FILE={config_file} does not exist")
    try:
        config: dict[str, Any] = {**ClientConfig.load_client_connect_config()}
    except Exception as error:
        raise Misuse(f"Temporal's client configuration cannot be used: {error}") from error
    config.setdefault("target_host", temporal_address())
    return config


async def connect(
    *,
    runtime: Runtime | None = None,
    timeout: timedelta = timedelta(seconds=5),
    identity: str | None = None,
) -> Client:
    """A connected client, or `Failure` with the address that did not answer within ``timeout``."""
    config = _connect_config()
    if identity:
        config["identity"] = identity
    try:
        return await asyncio.wait_for(
            Client.connect(**config, runtime=runtime), timeout.total_seconds()
        )
    except (RuntimeError, RPCError, TimeoutError, asyncio.TimeoutError) as error:
        reason = "no answer" if isinstance(error, asyncio.TimeoutError) else _short(error)
        raise Failure(
            f"Temporal is not reachable at {config['target_host']} ({reason}); "
            "is it running? set TEMPORAL_ADDRESS for another address"
        ) from error


async def connect_patiently(
    *, runtime: Runtime | None = None, identity: str | None = None
) -> Client:
    """A connected client, however long Temporal is away: with backoff and a log line a try.

    A process that ended instead would be FATAL to supervisord after a few seconds.
    """

    def tell(state: tenacity.RetryCallState) -> None:
        log.warning(
            "waiting for Temporal",
            attempt=state.attempt_number,
            retry_in_seconds=round(state.upcoming_sleep, 1),
            error=str(state.outcome.exception()) if state.outcome else None,
        )

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, Failure) and not isinstance(error, Misuse)
        ),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
        before_sleep=tell,
        reraise=True,
    )
    client: Client = await retrying(connect, runtime=runtime, identity=identity)
    return client


def _short(error: BaseException) -> str:
    """The last, most telling part of a transport error."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text if len(text) <= 120 else "connection failed"
