"""The ways in which somebody is told: a program, a webhook, and whatever Apprise knows."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec

from rollout.base.exit import Failure
from rollout.core.config import Notify, Secret, WebAddress

__all__ = ["Message", "Send", "channels"]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What is told, as its JSON has it: a contract."""

    id: str
    """The same at each try, so that whoever gets it twice can tell."""
    event: str
    text: str
    """One sentence."""
    at: str
    """RFC 3339."""
    deployment: str
    namespace: str
    build_id: str | None
    target: str
    current: str | None
    ramping: dict[str, Any] | None
    phase: str
    reason: str


Send = Callable[[Message], Awaitable[None]]
"""Tells somebody, or raises `Failure`, which names no secret."""


def channels(notify: Notify | None) -> Mapping[str, Send]:
    """Each way of ``[notify]``, by a name that stays the same while the file does."""
    if notify is None:
        return {}
    found: dict[str, Send] = {}
    if notify.command:
        found["command"] = partial(_run, notify)
    if notify.webhook is not None:
        found["webhook"] = partial(_post, notify, notify.webhook)
    for number, place in enumerate(notify.apprise, start=1):
        found[f"apprise {number}"] = partial(_apprise, notify, place)
    return found


async def _run(notify: Notify, message: Message) -> None:
    """Run the command, and end all that it has started where it takes too long."""
    program = notify.command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *notify.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise Failure(f"{program} cannot be started: {error.strerror}") from error
    try:
        said = await _within(notify, process.communicate(msgspec.json.encode(message) + b"\n"))
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        lines = said[1].decode(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        raise Failure(f"{program} ended with {process.returncode}{last}")


async def _post(notify: Notify, place: WebAddress, message: Message) -> None:
    url = str(place) if place.startswith("http") else _found(Secret(place))
    headers = {name: _found(secret) for name, secret in notify.headers.items()}
    headers["Content-Type"] = "application/json"
    try:
        async with httpx.AsyncClient(timeout=notify.timeout) as client:
            body = msgspec.json.encode(message)
            answer = await _within(notify, client.post(url, content=body, headers=headers))
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise Failure(f"the webhook cannot be reached: {type(error).__name__}") from error
    if not answer.is_success:
        raise Failure(f"the webhook answered {answer.status_code} {answer.reason_phrase}")


async def _apprise(notify: Notify, place: Secret, message: Message) -> None:
    try:
        apprise: Any = importlib.import_module("apprise")
    except ImportError as error:
        raise Failure("Apprise is not installed here: `pip install apprise`") from error
    service = apprise.Apprise()
    if not service.add(_found(place)):
        raise Failure(f"what {place} holds is no URL that Apprise knows")
    title = f"{message.deployment}: {message.event}"
    if not await _within(notify, asyncio.to_thread(service.notify, body=message.text, title=title)):
        raise Failure(f"the service of {place} did not take it")


async def _within(notify: Notify, work: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever it gives
    try:
        return await asyncio.wait_for(work, notify.timeout)
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise Failure(f"it took longer than {notify.timeout:g} s") from error


def _found(secret: Secret) -> str:
    """What is kept at ``secret``; it may change, so it is read each time."""
    kind, _, place = secret.partition(":")
    if kind == "env":
        if not (found := os.environ.get(place, "").strip()):
            raise Failure(f"the environment variable {place} is not set")
        return found
    try:
        found = Path(place).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{place} cannot be read: {error}") from error
    if not found:
        raise Failure(f"{place} is empty")
    return found
