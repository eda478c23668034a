"""Bringing the stack up: check, start supervisord, and show each part as it becomes ready."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import httpx
import psutil
from rich.console import Console
from rich.status import Status

from rollout.base.exit import Failure
from rollout.base.locks import alone
from rollout.base.settings import LOG_DIR, ROOT, SUPERVISORD_CONF, VAR, VENV_BIN
from rollout.install.setup import link_programs
from rollout.stack import readiness, summary
from rollout.stack.check import problems
from rollout.stack.down import take_down
from rollout.supervision import conf as supervisor_conf
from rollout.supervision.launch import NOT_NEEDED
from rollout.supervision.programs import Command, commands, read
from rollout.supervision.rpc import NotRunning, Process, Supervisor
from rollout.supervision.supervisord import find_supervisord, leftovers

__all__ = ["up"]

_SHOWN_LOG_LINES = 8
_FIRST_WORKFLOW_SECONDS = 15.0  # by then it has completed, if it can
_LEFTOVER_SECONDS = 20.0  # a worker drains for 10
# Of the rollout, while nothing is current: those that pass only by a person's doing.
_HELD = ("waiting", "paused", "manual", "blocked")
_POLL_SECONDS = 0.2  # often enough to look prompt; the machine has a stack to start
_EPILOG = """\
Ctrl-C stops everything again. So does a part that does not become ready in time,
unless --keep is given.

examples:
  rollout stack up
  rollout stack up --timeout 120 --keep
"""


def up(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout stack up``."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="wait so long (60)"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave everything running if it does not become ready"
    )
    parser.set_defaults(run=_run)


def _run(given: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends as Ctrl-C does
    if not (VAR / "programs").is_dir():
        raise Failure("the stack is not set up; run `make setup`")
    with alone(VAR / "run" / "up.lock", "another `make up` is under way"):
        running = asyncio.run(find_supervisord())
        if running is not None:
            print(f"up: the stack is already running (supervisord is process {running.pid})")
            return 0 if asyncio.run(_show_running(running, given.timeout)) else 1
        return _begin(given.timeout, keep=given.keep)


def _begin(timeout: float, *, keep: bool) -> int:
    link_programs()
    _wait_for_leftovers()
    found = problems()
    for problem in found:
        print(f"up: {problem.text}", file=sys.stderr)
    if code := max((problem.code for problem in found), default=0):
        print("up: nothing was started", file=sys.stderr)
        return code
    configured = [read(program) for program in supervisor_conf.read(SUPERVISORD_CONF).programs]
    return _start(configured, timeout, keep=keep)


def _wait_for_leftovers() -> None:
    """Let a killed supervisord's programs end: they hold ports, and new ones would run beside."""
    own = psutil.Process()
    left = set(leftovers()) - {own, *own.parents()}
    if left:
        count = "a process" if len(left) == 1 else f"{len(left)} processes"
        print(f"up: waiting for {count} of a supervisord that was killed", flush=True)
        psutil.wait_procs(left, timeout=_LEFTOVER_SECONDS)


def _start(programs: Sequence[Command], timeout: float, *, keep: bool) -> int:
    try:
        with _interrupts_held():
            began = time.monotonic()
            _start_supervisord()
        stopped = {each.name for each in programs if not each.program.autostart}
        if asyncio.run(_show_readiness(programs, stopped, timeout, began=began)):
            return 0
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("up: interrupted, stopping everything again", file=sys.stderr, flush=True)
        asyncio.run(take_down())
        raise
    if keep:
        print("up: what has started is left running; `make down` stops it", file=sys.stderr)
    else:
        asyncio.run(take_down())
    return 1


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block, so that it never meets half a supervisord."""
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    previous = {each: signal.signal(each, hold) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
    if held:
        raise KeyboardInterrupt


def _start_supervisord() -> None:
    """Start it and return once it is a daemon, or raise `Failure` with what it said."""
    done = subprocess.run(
        [str(VENV_BIN / "supervisord"), "-c", str(SUPERVISORD_CONF)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        start_new_session=True,  # a terminal's Ctrl-C is for this command alone
    )
    if done.returncode:
        said = " ".join(done.stdout.split()) or f"exit code {done.returncode}"
        raise Failure(f"supervisord did not start: {said}")


@dataclass
class _Progress:
    """What has become true so far, shown as it does."""

    began: float
    waiting: list[readiness.Step]
    status: Status
    console: Console
    unneeded: set[str]
    """Programs that their launcher leaves out, and that nobody need see."""
    states: dict[str, str] = field(default_factory=dict)

    def tell(self, text: str) -> None:
        self.console.print(f"{time.monotonic() - self.began:6.1f} s  {text}", soft_wrap=True)

    def done(self, step: readiness.Step) -> None:
        self.waiting.remove(step)
        self.tell(step.text)

    def not_running(self) -> list[str]:
        return [name for name, state in self.states.items() if state != "RUNNING"]

    def lost(self) -> bool:
        """Whether supervisord has given a program up."""
        return "FATAL" in self.states.values()

    def complete(self) -> bool:
        return bool(self.states) and not self.waiting and not self.not_running()

    def show_waiting(self) -> None:
        pending = [step.text for step in self.waiting] or self.not_running()
        self.status.update(f"waiting until {pending[0]}" if pending else "")


async def _show_running(supervisord: psutil.Process, timeout: float) -> bool:
    """`_show_readiness` of a stack that runs, as that supervisord has it; nothing is changed."""
    supervisor = Supervisor()
    environ: Mapping[str, str] = os.environ
    with contextlib.suppress(psutil.Error):
        environ = supervisord.environ()
    try:
        # The files may say something else by now, and so may this process's environment.
        loaded = commands(await supervisor.config(), environ)
        processes = await supervisor.processes()
    except NotRunning as error:
        raise Failure(
            f"supervisord (process {supervisord.pid}) runs and does not answer; `make down` ends it"
        ) from error
    # One that cannot be started fails, and its log says why.
    programs = [each for each in loaded if each.needed and not each.complaint]
    stopped = {each.name for each in processes if each.state == "STOPPED"}
    return await _show_readiness(programs, stopped, timeout, began=time.monotonic())


async def _show_readiness(
    programs: Sequence[Command], stopped: set[str], timeout: float, *, began: float
) -> bool:
    """Show each step as it comes true, then where to look; False where something did not."""
    console = Console(highlight=False)
    for name in sorted(stopped):
        console.print(f"{name} is stopped; `supervisorctl start {name}` starts it")
    for each in programs:
        if each.kind == "load" and not each.needed:
            console.print(f"{each.name} is left out, with the rest of the demo: NO_DEMO is set")
    wanted = [each for each in programs if each.needed and each.name not in stopped]
    with console.status("starting") as status:
        progress = _Progress(
            began=began,
            waiting=readiness.steps(wanted),
            status=status,
            console=console,
            unneeded={each.name for each in programs if not each.needed},
        )
        await _watch(wanted, progress, stopped, timeout)
    if not progress.complete():
        _explain(progress, timeout)
        return False
    progress.tell(f"ready, {len(progress.states)} programs are RUNNING")
    print(f"\n{summary.text(wanted)}")
    return True


async def _watch(
    programs: Sequence[Command], progress: _Progress, stopped: set[str], timeout: float
) -> None:
    supervisor = Supervisor()
    # trust_env: a proxy in the environment has nothing to say about loopback.
    async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
        while time.monotonic() < progress.began + timeout:
            processes: list[Process] = []
            with contextlib.suppress(NotRunning):
                processes = await _needed(supervisor, progress.unneeded)
            progress.states = {
                each.name: each.state for each in processes if each.name not in stopped
            }
            for step in await readiness.ready(client, progress.waiting):
                progress.done(step)
            if [step.text for step in progress.waiting] == [readiness.FIRST_WORKFLOW]:
                await _excuse_load(programs, progress)
            if progress.complete() or progress.lost():
                return
            progress.show_waiting()
            await asyncio.sleep(_POLL_SECONDS)


async def _needed(supervisor: Supervisor, unneeded: set[str]) -> list[Process]:
    """What supervisord runs, less what is left out: that is unloaded, and shown no more."""
    processes = []
    for each in await supervisor.processes():
        if each.name in unneeded:
            with contextlib.suppress(Failure):  # tried again at the next look
                await supervisor.remove_group(each.group)
        elif each.exit_status != NOT_NEEDED:
            processes.append(each)
    return processes


async def _excuse_load(programs: Sequence[Command], progress: _Progress) -> None:
    """Do not wait for a first workflow where rollout.toml lets no build have new runs yet."""
    if progress.not_running() or time.monotonic() < progress.began + _FIRST_WORKFLOW_SECONDS:
        return
    status = await asyncio.to_thread(summary.rollout_status, programs)
    if status and status["current"] is None and status["phase"] in _HELD:
        progress.waiting.clear()
        progress.tell(f"no workflow can complete yet: {status['phase']}: {status['reason']}")
        if not any(each.kind == "worker" for each in programs):
            progress.tell("`NO_DEMO=1 make up` leaves the demo's load out")


def _explain(progress: _Progress, timeout: float) -> None:
    """Say what is missing, and show the end of the logs that may say why."""
    when = "" if progress.lost() else f" after {timeout:g} s"
    print(f"up: not ready{when}: {'; '.join(_missing(progress))}", file=sys.stderr)
    for name in _blamed(progress):
        log = LOG_DIR / f"{name}.log"
        lines = [f"  {line}" for line in _last_lines(log)] or ["  (empty)"]
        print(f"\nthe end of {os.path.relpath(log)}:", *lines, sep="\n", file=sys.stderr)


def _missing(progress: _Progress) -> list[str]:
    if not progress.states:
        return ["supervisord does not answer"]
    down = progress.not_running()
    return [
        *(f"{name} is {progress.states[name]}" for name in down),
        *(f"not yet: {step.text}" for step in progress.waiting if step.program not in down),
    ]


def _blamed(progress: _Progress) -> list[str]:
    """The programs whose logs to show: those given up, or else all that are late."""
    late = [*progress.not_running(), *(step.program for step in progress.waiting)]
    lost = [name for name, state in progress.states.items() if state == "FATAL"]
    return lost or [*dict.fromkeys(late)] or ["supervisord"]


def _last_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as log:
            log.seek(max(os.fstat(log.fileno()).st_size - 20_000, 0))
            return log.read().decode(errors="replace").splitlines()[-_SHOWN_LOG_LINES:]
    except OSError:
        return []
