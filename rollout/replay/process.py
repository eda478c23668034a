"""A worker's own command, run to replay histories instead of to poll.

The code of a build may live in a folder and an environment of its own, and rollout
imports no worker, so that each replay is a process: its worker's command with ``--replay``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rollout.base.exit import Failure
from rollout.base.last_words import sentence
from rollout.base.settings import ROOT, SUPERVISORD_CONF
from rollout.supervision import conf as supervisor_conf
from rollout.supervision.programs import Program, workers
from rollout.supervision.rpc import NotRunning, Supervisor, own_url

__all__ = ["ReplayCommand", "replay_command", "run_replay"]

_LONGEST_LINE = 1 << 20


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

    Raises `Failure` where no program here runs the build.
    """
    filed = (await asyncio.to_thread(supervisor_conf.read, SUPERVISORD_CONF)).programs
    try:
        loaded = await (supervisor or Supervisor(own_url(environ))).config()
    except NotRunning:
        programs: Sequence[Program] = filed
    else:
        environments = {each.namespec: each.environment for each in filed}
        programs = [
            replace(p, environment=environments.get(p.namespec), from_files=True) for p in loaded
        ]
    for worker in workers(programs, environ):
        if (worker.deployment, worker.build_id) == (deployment, build_id) and worker.is_runner:
            return ReplayCommand(
                build_id=build_id,
                words=worker.invocation("--replay"),
                cwd=worker.program.directory or ROOT,
                environ=worker.environ,
            )
    raise Failure(
        f"no program here runs {build_id} of {deployment}, so that its code cannot be tried; "
        "run this on a machine that has it, or add it with `rollout add`"
    )


async def run_replay(
    command: ReplayCommand, histories: AsyncIterator[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What the replay says of each of ``histories``, in their order.

    ``histories`` are the lines of its input (`rollout.replay.python`); they are asked for one at
    a time. Raises `Failure` where the replay cannot be started, fails, or takes more
    than its timeout.
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
            process.kill()
        await process.wait()


async def _talk(
    process: asyncio.subprocess.Process, build_id: str, histories: AsyncIterator[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    if stdin is None or stdout is None or stderr is None:
        raise RuntimeError("the replay was started without pipes")
    said = asyncio.create_task(_last_line(stderr))
    reading = asyncio.create_task(_outcomes(stdout))
    try:
        await _feed(stdin, histories)
        outcomes = await reading
        last = await said
        code = await process.wait()
    finally:
        said.cancel()
        reading.cancel()
    if code != 0:
        reason = (sentence(last) or last)[:300] or f"exit code {code}"
        raise Failure(f"the code of {build_id} cannot be tried: {reason}")
    return outcomes


async def _feed(stdin: asyncio.StreamWriter, histories: AsyncIterator[Mapping[str, Any]]) -> None:
    try:
        async for history in histories:
            # Making megabytes of JSON would hold up the controller's loop.
            line = await asyncio.to_thread(json.dumps, history)
            stdin.write(line.encode() + b"\n")
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()
    except ConnectionError:  # it has ended; its exit code and last line say why
        return


async def _outcomes(stdout: asyncio.StreamReader) -> list[dict[str, Any]]:
    return [json.loads(line) async for line in stdout]


async def _last_line(stderr: asyncio.StreamReader) -> str:
    """The last line that is not blank; all are read, so that the process never waits for us."""
    last: deque[bytes] = deque(maxlen=1)
    rest = b""
    while chunk := await stderr.read(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        last.extend(line for line in (*lines, rest) if line.strip())
        rest = rest[-_LONGEST_LINE:]
    return last[0].decode(errors="replace").strip() if last else ""
