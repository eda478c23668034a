"""supervisord's event listener protocol: what it tells on stdin, acknowledged on stdout.

See http://supervisord.org/events.html. A single stray byte on stdout would make
supervisord ignore this listener without a word, so `claim_stdout` takes it away
from everything else in the process.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Event", "claim_stdout", "listen", "parse_tokens", "stdin_reader"]

_READY = b"READY\n"
_OK = b"RESULT 2\nOK"


@dataclass(frozen=True)
class Event:
    """One event, named as in the ``events`` option of an ``[eventlistener:x]`` section."""

    name: str
    payload: Mapping[str, str]


def claim_stdout() -> int:
    """A descriptor of this process's stdout; from now on anything printed goes to stderr."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    return ours


async def stdin_reader() -> asyncio.StreamReader:
    """Stdin as a stream, without a thread that could hold up the end of the process."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def listen(
    reader: asyncio.StreamReader, write: Callable[[bytes], object], handle: Callable[[Event], None]
) -> None:
    """Hand every event to ``handle``; return when supervisord closes the connection."""
    try:
        while True:
            write(_READY)
            headers = parse_tokens((await reader.readuntil(b"\n")).decode())
            payload = await _read_characters(reader, int(headers["len"]))
            handle(Event(headers["eventname"], parse_tokens(payload)))
            write(_OK)
    except (asyncio.IncompleteReadError, BrokenPipeError):
        return


def parse_tokens(line: str) -> dict[str, str]:
    """``name:value name:value`` as a dictionary."""
    return dict(token.split(":", 1) for token in line.strip("\n").split(" ") if ":" in token)


async def _read_characters(reader: asyncio.StreamReader, count: int) -> str:
    """The next ``count`` characters: supervisord's ``len`` counts these, and not bytes.

    A character is at least one byte, so asking for as many bytes as characters
    are missing never reads into the next event.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = ""
    while len(text) < count:
        text += decoder.decode(await reader.readexactly(count - len(text)))
    return text
