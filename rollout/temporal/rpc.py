"""Calls to the server's API: how long one may take, when to ask again, what its times mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import tenacity
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.service import RPCError, RPCStatusCode

from rollout.base import logs
from rollout.base.logger import get_logger

__all__ = [
    "CHANGE_TIMEOUT",
    "THROTTLED",
    "TIMEOUT",
    "WITHOUT_ANSWER",
    "Throttled",
    "latest",
    "patiently",
    "sentence",
    "time_of",
]

log = get_logger(__name__)

TIMEOUT = timedelta(seconds=5)
"""Of a call that reads."""

CHANGE_TIMEOUT = timedelta(seconds=10)
"""Of a call that changes something."""


WITHOUT_ANSWER = (
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNKNOWN,
)
"""How a call ends that the server may have carried out all the same."""


def sentence(error: RPCError) -> str:
    """What a person is told of a call that ended with ``error``: a timeout is no refusal."""
    if error.status in WITHOUT_ANSWER:
        return (
            f"the server did not answer ({error.message}): what was asked for may have been done "
            "all the same; `rollout status` tells"
        )
    return f"the server refused: {error.message}"


@dataclass
class Throttled:
    """How often the server has told this process to ask less."""

    calls: int = 0

    def note(self, state: tenacity.RetryCallState) -> None:
        """Count one refusal; `patiently` asks again."""
        self.calls += 1
        if logs.is_configured() and (self.calls == 1 or self.calls % 100 == 0):
            said = state.outcome.exception() if state.outcome else None
            log.warning("throttled", calls=self.calls, error=str(said))


THROTTLED = Throttled()
"""Of all calls of this process."""

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
    before_sleep=THROTTLED.note,
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
