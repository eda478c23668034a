"""``python -m client load``: an open-loop load that checks every result.

Start number i is due at i / rate, whatever the server does, and latency counts
from then: a stall shows as latency instead of hiding as a pause. A start that
the server did not take is tried again under the same workflow id until it is.

At most `MAX_STARTING` starts are tried at a time. While Temporal is away, those
due beyond wait as a mere number in the schedule, and are made up for, late but
none left out: an outage of any length takes no memory.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from temporalio.client import Client

from client.calls import outlast, reason_of, start_once
from client.results import read_greeting, read_order
from client.schedule import Start
from client.score import Score

__all__ = ["MAX_STARTING", "Load"]

log = structlog.get_logger(__name__)

MAX_STARTING = 200
PROGRESS_EVERY = 10.0
NEARLY_DONE = 2.0
"""Seconds that open runs get when the load is told to stop."""


@dataclass
class Load:
    """One load on one task queue, to `run` once."""

    client: Client
    score: Score
    starts: Iterator[Start]
    task_queue: str
    stopping: asyncio.Event
    """Once set, nothing more is started, and what is not nearly done is left to the server."""
    deadline: float | None = None
    """Seconds after which open runs are no longer waited for; None: until `stopping`."""

    def __post_init__(self) -> None:
        self._starting = asyncio.Semaphore(MAX_STARTING)
        self._runs: set[asyncio.Task[None]] = set()
        self._prefix = uuid.uuid4().hex[:12]
        self._began = 0.0
        self._not_taken = 0
        self._refused_since: float | None = None

    async def run(self) -> bool:
        """Start what is due and wait for the results; False where not all could be started."""
        self._began = time.monotonic()
        log.info("load begins", task_queue=self.task_queue, id_prefix=self._prefix)
        progress = asyncio.create_task(self._report_progress())
        pace = asyncio.create_task(self._pace())
        await self._wait_for(pace)
        kept_pace = pace.done()
        if kept_pace:
            pace.result()  # raises what ended it before its time
        pace.cancel()
        runs = asyncio.gather(*self._runs)
        await self._wait_for(runs)
        if self.stopping.is_set():
            log.info("load stops", open=self.score.open, wait_seconds=NEARLY_DONE)
            await asyncio.wait({runs}, timeout=NEARLY_DONE)
        runs.cancel()
        progress.cancel()
        await asyncio.gather(runs, return_exceptions=True)
        if self._not_taken:
            log.warning("starts were not taken", not_taken=self._not_taken)
        return kept_pace and not self._not_taken

    async def _wait_for(self, work: asyncio.Future[Any]) -> None:
        """Wait until ``work`` is done, the deadline is over, or `stopping` is set."""
        left = None
        if self.deadline is not None:
            left = max(0.0, self._began + self.deadline - time.monotonic())
        stop = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({work, stop}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()

    async def _pace(self) -> None:
        for start in self.starts:
            await asyncio.sleep(max(0.0, self._began + start.due - time.monotonic()))
            await self._starting.acquire()
            run = asyncio.create_task(self._run(start))
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)

    async def _run(self, start: Start) -> None:
        workflow_id = f"{start.workflow_type.lower()}-{self._prefix}-{start.number:06d}"
        due = self._began + start.due
        try:
            await self._start(start, workflow_id, due)
            await self._finish(start, workflow_id, due)
        except Exception as error:  # noqa: BLE001 - one run's end must not end the load
            self.score.fail(start.workflow_type)
            log.error(
                "workflow failed",
                workflow_id=workflow_id,
                workflow_type=start.workflow_type,
                reason=reason_of(error),
            )

    async def _start(self, start: Start, workflow_id: str, due: float) -> None:
        argument = None
        if start.workflow_type == "Order":
            argument = {"order_id": workflow_id, "seconds": start.order_seconds}
        self.score.attempted(max(0.0, time.monotonic() - due))
        self._not_taken += 1
        try:
            await outlast(
                lambda: start_once(
                    self.client,
                    start.workflow_type,
                    workflow_id,
                    task_queue=self.task_queue,
                    argument=argument,
                ),
                starting=True,
                on_retry=self._on_refused,
            )
        except Exception:  # refused for good: it counts as started, and as failed
            self._on_taken(start)
            raise
        finally:
            self._starting.release()
        self._on_taken(start)

    def _on_refused(self, error: BaseException) -> None:
        self.score.retried()
        if self._refused_since is None:  # a line an outage, not a line a start
            self._refused_since = time.monotonic()
            log.warning("Temporal takes no starts, trying again", reason=reason_of(error))

    def _on_taken(self, start: Start) -> None:
        self._not_taken -= 1
        self.score.took(start.workflow_type)
        if self._refused_since is not None:
            seconds = round(time.monotonic() - self._refused_since, 1)
            self._refused_since = None
            log.info("Temporal takes starts again", after_seconds=seconds)

    async def _finish(self, start: Start, workflow_id: str, due: float) -> None:
        handle = self.client.get_workflow_handle(workflow_id)
        result = await outlast(handle.result)
        latency = time.monotonic() - due
        if start.workflow_type == "Greeting":
            ran = read_greeting(result)
        else:
            ran = read_order(result, workflow_id)
        self.score.complete(start.workflow_type, ran, latency)
        if ran.crossed:
            log.warning("workflow crossed builds", workflow_id=workflow_id, builds=ran.builds)

    async def _report_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_EVERY)
            log.info(
                "progress",
                started=self.score.started,
                completed=self.score.completed,
                failed=self.score.failed,
                crossed=self.score.crossed,
                open=self.score.open,
                not_taken=self._not_taken,
                by_build=dict(self.score.by_build),
            )
