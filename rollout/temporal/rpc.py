"""Calls to the server's API: how long one may take, when to ask again, what its times mean."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.service import RPCError, RPCStatusCode

from rollout.base.retrying import Attempt, jittered, retrying

__all__ = [
    "CHANGE_TIMEOUT",
    "THROTTLED",
    "TIMEOUT",
    "WITHOUT_ANSWER",
    "Throttled",
    "latest",
    "patiently",
    "time_of",
]

log = structlog.get_logger(__name__)

T = TypeVar("T")

_SHORTEST_PAUSE, _LONGEST_PAUSE, _PATIENCE = 0.1, 0.5, 10.0
"""Seconds: between two tries of a call that the server was too busy for, and for all of them."""

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


@dataclass
class Throttled:
    """How often the server has told this process to ask less."""

    calls: int = 0

    def note(self, attempt: Attempt) -> None:
        """Count one refusal; `patiently` asks again."""
        self.calls += 1
        # A command has no log: what it prints, as JSON perhaps, is all that it says.
        if structlog.is_configured() and (self.calls == 1 or self.calls % 100 == 0):
            log.warning("throttled", calls=self.calls, error=str(attempt.error))


THROTTLED = Throttled()
"""Of all calls of this process."""


async def patiently(call: Callable[..., Awaitable[T]], /, *given: Any, **named: Any) -> T:  # noqa: ANN401
    """``call`` with what is ``given``, asked again for a while where the server is too busy.

    It queues few questions to one deployment; with several observers it now and then answers
    that there are too many.
    """
    return await retrying(
        lambda: call(*given, **named),
        again=lambda error: (
            isinstance(error, RPCError) and error.status == RPCStatusCode.RESOURCE_EXHAUSTED
        ),
        pauses=jittered(itertools.repeat(_LONGEST_PAUSE), least=_SHORTEST_PAUSE),
        told=THROTTLED.note,
        seconds=_PATIENCE,
    )


def time_of(stamp: Timestamp) -> datetime | None:
    """A protobuf time in UTC; None where it was never set."""
    if not stamp.seconds:
        return None
    return stamp.ToDatetime(tzinfo=timezone.utc)


def latest(*times: datetime | None) -> datetime | None:
    """The last of those ``times`` that are known; None where none is."""
    return max((time for time in times if time is not None), default=None)
