"""How every command ends: one line for the person, an exit code for the script.

Exit codes: 0 done; 1 it failed or was refused; 2 the call or a configuration
file is wrong; 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

__all__ = ["Failure", "Misuse", "end", "finish", "run"]


class Failure(Exception):  # noqa: N818
    """It failed or was refused. Its text is a sentence for the person at the terminal."""

    code = 1


class Misuse(Failure):
    """The call, or a configuration file, is wrong. Nothing has been changed."""

    code = 2


def end(code: int) -> NoReturn:
    """End this process at once with ``code``, once everything written is out.

    A Python process that has opened a Temporal client may crash in its native
    threads while the interpreter shuts down (temporalio/sdk-python issue 300),
    so the shutdown is skipped; nothing of ours runs in it.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # a closed pipe, as in `... | head`
            code = code or 1
    os._exit(code)


def run(name: str, main: Callable[[], Coroutine[Any, Any, int]]) -> NoReturn:
    """Run the coroutine ``main`` and end the process with the code it returns.

    `Failure` becomes the line ``name: text`` on stderr, and Ctrl-C exit code 130.
    """
    import asyncio  # noqa: PLC0415  (the launcher imports this file before every process)

    finish(name, lambda: asyncio.run(main()))


def finish(name: str, main: Callable[[], int]) -> NoReturn:
    """`run`, for a ``main`` that is a plain function."""
    try:
        code = main()
    except Failure as failure:
        print(f"{name}: {failure}", file=sys.stderr)
        code = failure.code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 1
    except SystemExit as stop:  # argparse's
        code = stop.code if isinstance(stop.code, int) else 1
    except Exception:
        logging.getLogger(name).exception("unexpected error")
        code = 1
    end(code)
