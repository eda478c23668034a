"""The stack's supervisord among the machine's processes, and what a dead one left behind."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

from rollout.base.exit import Failure
from rollout.base.settings import ROOT, SOCKET, SUPERVISORD_CONF
from rollout.supervision.rpc import Supervisor

__all__ = ["find_supervisord", "leftovers"]


async def find_supervisord() -> psutil.Process | None:
    """The supervisord of this stack, even if its socket or its pid file is lost."""
    with contextlib.suppress(Failure, psutil.NoSuchProcess):
        return psutil.Process(await Supervisor(timeout=2).pid())
    return next(filter(_is_our_supervisord, psutil.process_iter()), None)


def _is_our_supervisord(process: psutil.Process) -> bool:
    try:
        words, folder = process.cmdline(), Path(process.cwd())
    except psutil.Error:  # another user's, or it has just ended
        return False
    if not any(Path(word).name == "supervisord" for word in words[:2]):
        return False
    given = [words[i + 1] for i in range(len(words) - 1) if words[i] in ("-c", "--configuration")]
    # A daemon has changed into ROOT, so that a relative path no longer leads there.
    conf = Path(given[0] if given else SUPERVISORD_CONF.name)
    in_root = folder == ROOT and conf.name == SUPERVISORD_CONF.name and not conf.is_absolute()
    return in_root or (folder / conf).resolve() == SUPERVISORD_CONF


def leftovers() -> list[psutil.Process]:
    """Every process that a supervisord of this stack has started.

    Where none runs, its predecessor was killed, and these are about to end: the
    kernel has told them (`rollout.supervision.launch`), and a worker drains first.
    """
    return [each for each in psutil.process_iter() if _is_of_this_stack(each)]


def _is_of_this_stack(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):  # another user's, or it has just ended
        # supervisord puts it into the environment of what it starts.
        return process.environ().get("SUPERVISOR_SERVER_URL") == f"unix://{SOCKET}"
    return False
