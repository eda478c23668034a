"""A build's replay command, run on histories: the one that its program names, or its worker's own.

The code of a build may live in a folder, an environment and a language of its own, and rollout
imports no worker, so that each replay is a process: the command in ``ROLLOUT_REPLAY``, or the
command of `rollout worker` with ``--replay``. What the two say to each other is in
`rollout.replay.protocol`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rollout.base.exit import Failure
from rollout.base.last_words import sentence
from rollout.base.settings import ROOT, SUPERVISORD_CONF
from rollout.replay.protocol import NoVerdict, Verdicts
from rollout.supervision import conf as supervisor_conf
from rollout.supervision import contract
from rollout.supervision.programs import Command, Program, workers
from rollout.supervision.rpc import NotRunning, Supervisor, own_url

__all__ = ["NoReplay", "ReplayCommand", "replay_command", "run_replay"]

_LONGEST_LINE = 1 << 20


class NoReplay(Failure):
    """The build's program is known, and nothing says how its code replays a history."""


@dataclass(frozen=True)
class ReplayCommand:
    """How to start the replay of one build."""

    build_id: str
    words: tuple[str, ...]
    cwd: Path
    environ: Mapping[str, str]
    timeout: float = 120.0
    """Seconds that the replay of all the runs may take."""


async def replay_command(
    deployment: str,
    build_id: str,
    supervisor: Supervisor | None = None,
    environ: Mapping[str, str] = os.environ,
) -> ReplayCommand:
    """The replay by the build's program in supervisord, or where that is away in its files.

    Raises `Failure` where no program here runs the build, and `NoReplay` where one does that
    is no `rollout worker` and has no ``ROLLOUT_REPLAY``.
    """
    filed = (await asyncio.to_thread(supervisor_conf.read, SUPERVISORD_CONF)).programs
    try:
        loaded = await (supervisor or Supervisor(own_url(environ))).config()
    except NotRunning:
        programs: Sequence[Program] = filed
    else:
        environments = {each.namespec: each.environment for each in filed}
        programs = [
            replace(
                program,
                environment=program.environment or environments.get(program.namespec),
                from_files=True,
            )
            for program in loaded
        ]
    ours = [
        worker
        for worker in workers(programs, environ)
        if (worker.deployment, worker.build_id) == (deployment, build_id)
    ]
    for worker in ours:
        if words := _replay_words(worker):
            folder = worker.program.directory or ROOT
            return ReplayCommand(build_id, words, cwd=folder, environ=worker.environ)
    if ours:
        raise NoReplay(
            f"{build_id} has no replay command, so that its code cannot be tried: name one with "
            f"`rollout add --replay`, or as {contract.REPLAY} in the environment of {ours[0].name}"
        )
    raise Failure(
        f"no program here runs {build_id} of {deployment}, so that its code cannot be tried; "
        "run this on a machine that has it, or add it with `rollout add`"
    )


def _replay_words(worker: Command) -> tuple[str, ...]:
    """How the code of ``worker`` is tried; empty where nobody says. Raises `Failure`."""
    told = worker.contract.get(contract.REPLAY)
    if not told:
        return worker.invocation("--replay") if worker.is_runner else ()
    try:
        return tuple(shlex.split(told))
    except ValueError as error:
        raise Failure(
            f"the code of {worker.build_id} cannot be tried: {contract.REPLAY} of {worker.name}, "
            f"{told!r}, is not a command: {error}"
        ) from error


async def run_replay(
    command: ReplayCommand, histories: AsyncIterator[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What the replay says of each of ``histories``, in their order.

    ``histories`` are the lines of its input (`rollout.replay.protocol`); they are asked for one at
    a time. Raises `Failure` where the replay cannot be started, fails, takes more than its timeout,
    or does not give each of them one verdict and nothing else.
    """
    build_id = command.build_id
    try:
        process = await asyncio.create_subprocess_exec(
            *command.words,
            cwd=command.cwd,
            # Its log matters only where it fails, and then to a person.
            env={**command.environ, "LOG_FORMAT": "console", "LOG_LEVEL": "error"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            # With what it starts itself: `npm run replay` is three processes.
            start_new_session=True,
        )
    except OSError as error:
        raise Failure(f"the code of {build_id} cannot be tried: {error}") from error
    try:
        return await asyncio.wait_for(_talk(process, build_id, histories), command.timeout)
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise Failure(
            f"the replay on {build_id} took longer than {command.timeout:g} s; try a smaller sample"
        ) from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _talk(
    process: asyncio.subprocess.Process, build_id: str, histories: AsyncIterator[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    if stdin is None or stdout is None or stderr is None:
        raise RuntimeError("the replay was started without pipes")
    verdicts = Verdicts()
    said = asyncio.create_task(_last_line(stderr))
    talking = [
        asyncio.create_task(_feed(stdin, histories, verdicts)),
        asyncio.create_task(_listen(stdout, verdicts)),
    ]
    try:
        await asyncio.gather(*talking)
        last = await said
        code = await process.wait()
        if code == 0:
            return verdicts.all()
    except NoVerdict as error:
        raise Failure(f"the code of {build_id} cannot be tried: {error}") from error
    finally:
        for task in (said, *talking):
            task.cancel()
        await asyncio.gather(said, *talking, return_exceptions=True)
    reason = (sentence(last) or last)[:300] or f"exit code {code}"
    raise Failure(f"the code of {build_id} cannot be tried: {reason}")


async def _feed(
    stdin: asyncio.StreamWriter, histories: AsyncIterator[Mapping[str, Any]], verdicts: Verdicts
) -> None:
    try:
        async for history in histories:
            verdicts.ask(history)
            # Making megabytes of JSON would hold up the controller's loop.
            line = await asyncio.to_thread(json.dumps, history)
            stdin.write(line.encode() + b"\n")
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()
    except ConnectionError:  # it has ended; its exit code, its last line or its verdicts say why
        return


async def _listen(stdout: asyncio.StreamReader, verdicts: Verdicts) -> None:
    try:
        async for line in stdout:
            verdicts.answer(line)
    except ValueError as error:  # a line without end, as asyncio tells it
        raise NoVerdict(
            f"its replay printed more than {_LONGEST_LINE} bytes as one line"
        ) from error


async def _last_line(stderr: asyncio.StreamReader) -> str:
    """The last line that is not blank; all are read, so that the process never waits for us."""
    last: deque[bytes] = deque(maxlen=1)
    rest = b""
    while chunk := await stderr.read(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        last.extend(line for line in (*lines, rest) if line.strip())
        rest = rest[-_LONGEST_LINE:]
    return last[0].decode(errors="replace").strip() if last else ""
