"""The one way to a Temporal client.

Where to, with which namespace, API key and TLS, is read as the `temporal` CLI
reads it: ``TEMPORAL_ADDRESS``, ``TEMPORAL_NAMESPACE``, ``TEMPORAL_API_KEY``,
``TEMPORAL_TLS*``, ``TEMPORAL_PROFILE`` and ``TEMPORAL_CONFIG_FILE``
(`temporalio.envconfig`). Without any of them it is the embedded server.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import tenacity
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.exit import Failure, Misuse
from rollout.base.logger import get_logger
from rollout.base.settings import temporal_address

__all__ = ["Refused", "connect", "connect_patiently", "is_transient"]

log = get_logger(__name__)

_TRANSIENT = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.ABORTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNKNOWN,
}
# Client.connect reports what goes wrong as the text of its Rust error alone. Of a
# server's answer that text has the status; of TLS the name of what failed.
_REFUSAL = re.compile(r"code: (Unauthenticated|PermissionDenied|InvalidArgument|NotFound)\b")
_BAD_TLS = re.compile(r"InvalidContentType|PrivateKeyParseError|CertificateParseError|InvalidCert")
_QUOTED = re.compile(r'(?:message|error): "((?:[^"\\]|\\.)+)"')
_LONGEST_REASON = 160


class Refused(Failure):
    """The server has answered, and it says no: to try again changes nothing."""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: the server is away, busy or restarting."""
    if isinstance(error, RPCError):
        return error.status in _TRANSIENT
    # Client.connect reports an unreachable server so.
    text = str(error)
    refused = _REFUSAL.search(text) or _BAD_TLS.search(text)
    return isinstance(error, RuntimeError) and "onnect" in text and not refused


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
    own: Mapping[str, Any] | None = None,
) -> Client:
    """A connected client, or `Failure` with the address that did not answer within ``timeout``.

    The failure is a `Refused` or a `Misuse` where the same call cannot succeed later.
    ``own``: further options of `Client.connect`, which win over the environment's.
    """
    config = {**_connect_config(), **(own or {})}
    if identity:
        config["identity"] = identity
    try:
        return await asyncio.wait_for(
            Client.connect(**config, runtime=runtime), timeout.total_seconds()
        )
    except (RuntimeError, RPCError, ValueError, TimeoutError, asyncio.TimeoutError) as error:
        raise _failure(error, config["target_host"]) from error


async def connect_patiently(
    *,
    runtime: Runtime | None = None,
    identity: str | None = None,
    own: Mapping[str, Any] | None = None,
) -> Client:
    """A connected client, however long Temporal is away: with backoff and a log line a try.

    A process that ended instead would be FATAL to supervisord after a few seconds. It
    does end where no later try can succeed: then a person has to see it.
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
            lambda error: isinstance(error, Failure) and not isinstance(error, (Misuse, Refused))
        ),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
        before_sleep=tell,
        reraise=True,
    )
    client: Client = await retrying(connect, runtime=runtime, identity=identity, own=own)
    return client


def _failure(error: BaseException, address: str) -> Failure:
    """What to tell of an ``error`` of Client.connect."""
    text = str(error)
    reason = _reason(error)
    if isinstance(error, ValueError) and "target" not in text:
        return Misuse(f"Temporal's client configuration cannot be used: {reason}")
    if isinstance(error, ValueError):
        return Misuse(f"{address!r} is no address of a Temporal server ({reason}): give HOST:PORT")
    if _BAD_TLS.search(text):
        return Misuse(
            f"TLS with Temporal at {address} failed ({reason}): check TEMPORAL_TLS and "
            "the files that TEMPORAL_TLS_* name"
        )
    if _REFUSAL.search(text):
        return Refused(f"Temporal at {address} refuses this client: {reason}")
    return Failure(
        f"Temporal is not reachable at {address} ({reason}); "
        "is it running? set TEMPORAL_ADDRESS for another address"
    )


def _reason(error: BaseException) -> str:
    """The innermost, most telling part of an error of Client.connect."""
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return "no answer"
    text = " ".join(str(error).split()) or type(error).__name__
    if quoted := _QUOTED.findall(text):
        text = quoted[-1]
    elif "InvalidContentType" in text:
        text = "the server does not speak TLS"
    elif "transport::Error(" in text:  # Error(Transport, ConnectError(... InvalidX(UnknownIssuer)
        text = re.findall(r"\w+", text)[-1]
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
