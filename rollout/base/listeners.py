"""Who listens on a port of this machine."""

from __future__ import annotations

import contextlib
import shlex
from typing import Any

import psutil

from rollout.base.settings import metrics_host
from rollout.base.sockets import can_listen

__all__ = ["describe", "holder", "is_free"]

_LOOPBACK = "127.0.0.1"


def is_free(number: int) -> bool:
    """Whether port ``number`` is free, on loopback and where metrics are served."""
    return number > 0 and can_listen(_LOOPBACK, number) and can_listen(metrics_host(), number)


def holder(number: int) -> psutil.Process | None:
    """The process that listens on a port; None where this user may not know."""
    with contextlib.suppress(psutil.AccessDenied):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.pid and _listens_on(connection, number):
                return psutil.Process(connection.pid)
        return None
    for process in psutil.process_iter():  # macOS shows a user nothing but their own
        with contextlib.suppress(psutil.Error):
            if any(_listens_on(each, number) for each in process.net_connections(kind="tcp")):
                return process
    return None


def describe(process: psutil.Process | None) -> str:
    """A process as a person may recognise it."""
    if process is None:
        return "a process of another user"
    try:
        words = process.cmdline() or [process.name()]
        text = shlex.join(words)
    except psutil.Error:
        return f"the process with pid {process.pid}"
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return f"{process.name()} (pid {process.pid}: {short})"


def _listens_on(connection: Any, number: int) -> bool:  # noqa: ANN401 - psutil has two types
    listens = connection.status == psutil.CONN_LISTEN
    return listens and bool(connection.laddr) and connection.laddr.port == number
