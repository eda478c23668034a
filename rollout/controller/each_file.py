"""One task for each deployment's file in a folder: none of them can stop another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from rollout.base.exit import Failure, Misuse
from rollout.base.logger import bind, get_logger
from rollout.core.config_folder import files_of, is_folder, name_in

__all__ = ["for_each_file"]

log = get_logger(__name__)

_PERIOD = 2.0
"""Seconds between two looks at the folder; a task that has failed is begun again after as many."""

Follow = Callable[[Path, str], Awaitable[None]]


async def for_each_file(path: Path, follow: Follow) -> None:
    """Run ``follow`` with the file at ``path`` and its deployment, or each of that folder.

    In a folder tasks begin and end as files come and go, for ever; one that fails is told, and
    begun again. What ends the task of a single file is raised.
    """
    if not is_folder(path):
        await follow(path, name_in(path))
        return
    tasks: dict[Path, asyncio.Task[None]] = {}
    told: dict[Path, str] = {}
    try:
        while True:
            there = files_of(path)
            for file in tasks.keys() - set(there):
                log.info("the file is gone", file=str(file))
                await _end(tasks.pop(file))
            _tell(tasks, told)
            for file in there:
                if file not in tasks:
                    tasks[file] = asyncio.create_task(_one(follow, file, name_in(file)))
            await asyncio.sleep(_PERIOD)
    finally:
        for task in tasks.values():
            await _end(task)


async def _one(follow: Follow, file: Path, deployment: str) -> None:
    """``follow``, with the deployment's name in whatever it logs."""
    bind(deployment_name=deployment)
    await follow(file, deployment)


def _tell(tasks: dict[Path, asyncio.Task[None]], told: dict[Path, str]) -> None:
    """Take out the tasks that have ended, and say why where that is news."""
    for file, task in [(file, task) for file, task in tasks.items() if task.done()]:
        del tasks[file]
        error = None if task.cancelled() else task.exception()
        if error is None or str(error) == told.get(file):
            continue
        told[file] = str(error)
        expected = isinstance(error, (Failure, Misuse))
        log.error(
            "this deployment is not followed until it is mended",
            file=str(file),
            error=str(error),
            exc_info=None if expected else error,
        )


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel ``task``, and wait for it a while: a cancellation may be swallowed on its way."""
    task.cancel()
    await asyncio.wait({task}, timeout=_PERIOD)
