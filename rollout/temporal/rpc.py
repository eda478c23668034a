"""Calls to the server's API: how long one may take, when to ask again, what its times mean."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import tenacity
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.service import RPCError, RPCStatusCode

__all__ = ["CHANGE_TIMEOUT", "TIMEOUT", "latest", "patiently", "time_of"]

TIMEOUT = timedelta(seconds=5)
"""Of a call that reads."""

CHANGE_TIMEOUT = timedelta(seconds=10)
"""Of a call that changes something."""

patiently = tenacity.AsyncRetrying(
    # The server queues few questions to one deployment; with several observers
    # it now and then answers that there are too many.
    retry=tenacity.retry_if_exception(
        lambda error: (
            isinstance(error, RPCError) and error.status == RPCStatusCode.RESOURCE_EXHAUSTED
        )
    ),
    wait=tenacity.wait_random(0.1, 0.5),
    stop=tenacity.stop_after_delay(10),
    reraise=True,
)


def time_of(stamp: Timestamp) -> datetime | None:
    """A protobuf time in UTC; None where it was never set."""
    if not stamp.seconds:
        return None
    return stamp.ToDatetime(tzinfo=timezone.utc)


def latest(*times: datetime | None) -> datetime | None:
    """The last of those ``times`` that are known; None where none is."""
    return max((time for time in times if time is not None), default=None)
