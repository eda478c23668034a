"""What each command of ``python -m client`` does; it returns the exit code."""

from __future__ import annotations

import argparse
import asyncio
import signal

from client.calls import quiet_runtime
from client.greet import greet
from client.load import Load
from client.schedule import schedule
from client.score import Score
from client.subscribe import subscribe
from rollout.base import exit as stack_exit
from rollout.base import logs
from rollout.base.connect import connect_patiently
from rollout.base.signals import unless_stopped
from rollout.base.tracing import traced

__all__ = ["greet_once", "keep_load", "subscribe_once"]


async def greet_once(options: argparse.Namespace) -> int:
    """Start one greeting and print it."""
    logs.configure("client")
    print(await greet(options.task_queue, options.timeout))
    return 0


async def subscribe_once(options: argparse.Namespace) -> int:
    """Start one subscription and print who ran it."""
    logs.configure("client")
    print(await subscribe(options.task_queue, options.cycles, options.every))
    return 0


async def keep_load(options: argparse.Namespace) -> int:
    """Keep a load up until its time is over or a signal ends it; 1 where a run failed."""
    logs.configure("load")
    score = Score()
    if options.metrics_port is not None:
        score.serve(options.metrics_port)
    stopping = _stop_on_signals()
    connecting = connect_patiently(runtime=quiet_runtime(), own=traced("load"))
    client = await unless_stopped(stopping, connecting)
    started_all = True
    if client is not None:
        load = Load(
            client,
            score,
            schedule(
                options.rate,
                orders=options.orders,
                order_seconds=options.order_seconds,
                duration=options.duration,
                seed=options.seed,
            ),
            options.task_queue,
            stopping,
            deadline=None if options.duration is None else options.duration + options.drain,
        )
        started_all = await load.run()
    print(score.as_json() if options.json else score.as_text())
    return 0 if not score.failed and (started_all or stopping.is_set()) else 1


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and Ctrl-C set; a second Ctrl-C ends the process at once."""
    stopping = asyncio.Event()

    def interrupt() -> None:
        if stopping.is_set():
            stack_exit.end(130)
        stopping.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    return stopping
