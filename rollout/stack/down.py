"""Taking the stack down: the load first, then the workers, the rest, and Temporal last.

In that order every run that has begun can be let go of cleanly. Each phase has
a bound, and what outlives all of them is killed: nothing is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time

import psutil

from rollout.base.exit import Failure
from rollout.supervision.command_words import Kind
from rollout.supervision.programs import read
from rollout.supervision.rpc import Supervisor
from rollout.supervision.supervisord import find_supervisord

__all__ = ["down", "take_down"]

# Seconds since the start at which each phase is given up, and all that is left is
# killed. A worker drains its activities meanwhile, which is what takes time.
_PHASES = (("load", 4.0), ("worker", 12.0), ("other", 14.0), ("temporal", 16.0))
_END = 17.0
_BUSY = ("STARTING", "RUNNING", "BACKOFF", "STOPPING")


def down(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout stack down``."""
    parser.epilog = (
        "Runs that are open keep their place and go on after the next `make up`.\n\n"
        "example:\n  rollout stack down"
    )
    parser.set_defaults(run=lambda _given: take_down())


async def take_down() -> int:
    """Stop the stack if it runs, say what is done, and return the exit code."""
    started = time.monotonic()
    supervisord = await find_supervisord()
    if supervisord is None:
        print("down: the stack is not running")
        return 0
    family = _family(supervisord)
    try:
        supervisor = Supervisor()
        await _stop_in_phases(supervisor, started)
        family |= _family(supervisord)
        await supervisor.shutdown()
    except Failure as failure:  # its socket is gone, or it hangs
        print(f"down: {failure}; ending process {supervisord.pid} by signal")
        family |= _family(supervisord)
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisord.terminate()
    _, alive = psutil.wait_procs(family, timeout=max(started + _END - time.monotonic(), 0.5))
    for process in alive:
        with contextlib.suppress(psutil.Error):
            print(f"down: killing {process.name()} (pid {process.pid}), which does not end")
            process.kill()
    psutil.wait_procs(alive, timeout=1)
    print(f"down: stopped in {time.monotonic() - started:.1f} s")
    return 0


def _family(supervisord: psutil.Process) -> set[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return {supervisord, *supervisord.children(recursive=True)}
    return set()


async def _stop_in_phases(supervisor: Supervisor, started: float) -> None:
    kinds = {each.namespec: read(each).kind for each in await supervisor.config()}
    for phase, bound in _PHASES:
        names = [
            name
            for name in await _busy(supervisor)
            # `update` may have forgotten a program, and many kinds have no phase of their own.
            if _phase(kinds.get(name, "other")) == phase
        ]
        if not names:
            continue
        print(f"down: stopping {', '.join(names)}", flush=True)
        for name in names:
            await supervisor.stop(name)
        while left := [name for name in await _busy(supervisor) if name in names]:
            if time.monotonic() > started + bound:
                print(f"down: not waiting for {', '.join(left)} any longer", flush=True)
                break
            await asyncio.sleep(0.1)


async def _busy(supervisor: Supervisor) -> list[str]:
    return [each.namespec for each in await supervisor.processes() if each.state in _BUSY]


def _phase(kind: Kind) -> str:
    return kind if kind in {"load", "worker", "temporal"} else "other"
