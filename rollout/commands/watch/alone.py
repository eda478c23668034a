"""What `rollout watch` reads from the server itself, while no controller here tells."""

from __future__ import annotations

import time

from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError

from rollout.base.connect import connect
from rollout.base.exit import Failure
from rollout.commands.shared import supervisor_here
from rollout.controller.observing import look
from rollout.core.config import RolloutConfig
from rollout.core.observation import Observation
from rollout.temporal.observer import Observer

__all__ = ["Alone"]


class Alone:
    """Looks at one deployment again and again, at the pace of an observer."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
        self._client: Client | None = None
        self._observer: Observer | None = None
        self._looks_again_at = 0.0

    async def observe(self, config: RolloutConfig) -> Observation | None:
        """What is seen now; None where the last look was a moment ago.

        Raises `Failure` where the server does not answer, `Misuse` where it cannot be asked.
        """
        if time.monotonic() < self._looks_again_at:
            return None
        if self._client is None:
            # Temporal's core would log an outage into the picture.
            self._client = await connect(runtime=Runtime(telemetry=TelemetryConfig(logging=None)))
        if self._observer is None:
            here = supervisor_here()
            self._observer = Observer(self._client, self._deployment, here, at_once=False)
        try:
            seen = await look(self._client, config, self._observer)
        except RPCError as error:
            said = error.message.splitlines()[0]
            raise Failure(f"could not read from Temporal: {said}") from error
        self._looks_again_at = time.monotonic() + self._observer.pace.routing
        return seen
