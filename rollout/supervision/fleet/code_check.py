"""The check of a build by its own command, `rollout worker --check`, before anything changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from rollout.base.exit import Failure, Misuse
from rollout.base.last_words import last_words

__all__ = ["refuse_code"]

_CHECK_SECONDS = 60.0
_NO_RUNNER = "No module named rollout"


async def refuse_code(
    words: Sequence[str],
    folder: Path,
    environ: Mapping[str, str] | None = None,
    *,
    user: str | None = None,
) -> None:
    """Raise `Misuse` or `Failure` where the command in ``words`` refuses its options or code.

    It runs in ``folder``, with ``environ`` or, where that is None, this process's environment;
    as ``user``, or, where that is None, as this process's own.
    """
    code, lines = await _said([*words, "--check"], folder, environ, user)
    if not code:
        return
    reason = last_words(lines) or (lines[-1] if lines else "its check said nothing")
    if reason.endswith(_NO_RUNNER):
        raise Failure(
            f"{words[0]} has no `rollout worker`: install it there with "
            "pip install 'temporal-worker-rollout[worker]'"
        )
    raise (Misuse if code == Misuse.code else Failure)(reason)


async def _said(
    words: Sequence[str], folder: Path, environ: Mapping[str, str] | None, user: str | None
) -> tuple[int, list[str]]:
    """The exit code, and what it said on stderr."""
    try:
        checking = await asyncio.create_subprocess_exec(
            *words,
            cwd=folder,
            env=environ,
            user=user,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise Failure(f"{words[0]} is missing; run `make setup`") from error
    try:
        _, said = await asyncio.wait_for(checking.communicate(), _CHECK_SECONDS)
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise Failure(f"the check of the build took more than {_CHECK_SECONDS:g} s") from error
    finally:
        if checking.returncode is None:
            checking.kill()
            await checking.wait()
    return checking.returncode or 0, said.decode(errors="replace").strip().splitlines()
