"""Which server a command asks: the one of the stack that runs here, unless told otherwise.

A shell that has lost a variable, or kept one of another day, would otherwise ask one server about
the processes of another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path

from rollout.base import logger
from rollout.base.exit import Failure
from rollout.base.settings import HOME, ROLLOUT_FILE, SOCKET
from rollout.controller.last_good import Followed, follow
from rollout.supervision.surroundings import World, adopt, of_running_stack, of_supervisord

__all__ = [
    "enter",
    "followed_here",
    "is_elsewhere",
    "refuse_elsewhere",
    "refuse_own_file",
    "refuse_worker_host",
]

_elsewhere: ContextVar[bool] = ContextVar("elsewhere", default=False)


def enter(
    *, elsewhere: bool, changes: bool, environ: MutableMapping[str, str] = os.environ
) -> None:
    """Make ``environ`` describe the server to ask, and say first where the shell said otherwise.

    A command that ``changes`` anything is refused then, with a `Failure` that names it;
    ``elsewhere`` means the shell's own server, and no process here. Under supervisord the
    environment is the stack's own.
    """
    _elsewhere.set(elsewhere)
    logger.on_stderr()  # what is logged on the way is no part of what a command prints
    if elsewhere or ("SUPERVISOR_SERVER_URL" in environ and not HOME.is_set_up):
        return
    world = _world_here()
    if world is None:
        return
    differences = adopt(world, environ)
    if not differences:
        return
    told = "; ".join(differences)
    if changes:
        raise Failure(f"{told}: unset it, or say --elsewhere to leave the stack that runs here be")
    print(f"! {told}; the running stack's is asked (--elsewhere: this shell's)", file=sys.stderr)


def _world_here() -> World | None:
    """That of the home that was set up, as its rollout.ini says; else of the running stack."""
    if HOME.is_set_up:
        return World.of(HOME.environment)
    return of_running_stack() or _behind_the_socket()


def _behind_the_socket() -> World | None:
    """The world of a supervisord that answers here, whatever became of its pid file."""
    if SOCKET.exists():
        import asyncio  # noqa: PLC0415 - mostly there is the file, or no supervisord

        from rollout.supervision.rpc import Supervisor  # noqa: PLC0415

        with suppress(Failure):
            return of_supervisord(asyncio.run(Supervisor(timeout=1).pid()))
    return None


def is_elsewhere() -> bool:
    """Whether another server than the running stack's may be asked: nothing here belongs to it."""
    return _elsewhere.get()


def refuse_elsewhere(what: str) -> None:
    """Raise `Failure` where another server is asked, and the command is about ``what`` here."""
    if is_elsewhere():
        raise Failure(f"--elsewhere touches no {what} here: leave it out")


def refuse_worker_host(path: Path) -> None:
    """Raise `Failure` on a worker host, whose rollout.toml at ``path`` nobody follows."""
    from rollout.agent.lock import is_worker_host  # noqa: PLC0415 - only what steers needs it

    deployment = follow(path).config.deployment.name
    if not is_elsewhere() and is_worker_host(deployment):
        raise Failure(
            f"this is a worker host of {deployment}, which routes nothing: say it beside the "
            "controller (`rollout status` names it)"
        )


def refuse_own_file(path: Path) -> None:
    """Raise `Failure` where another server is asked, and ``path`` steers the stack that is here."""
    own = ROLLOUT_FILE.resolve()
    if is_elsewhere() and own in (path.resolve(), path.resolve().parent):
        raise Failure(
            f"{path} is what the stack here follows: with --elsewhere name the other one's own "
            "with --config"
        )


def followed_here(path: Path) -> Followed:
    """What the file at ``path`` asks for, to be changed; what is wrong with it is said first.

    Raises as `refuse_own_file` and `follow` do.
    """
    refuse_own_file(path)
    followed = follow(path)
    if followed.warning:
        print(f"! {followed.warning}", file=sys.stderr)
    return followed
