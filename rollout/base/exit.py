"""How every command ends: one line for the person, an exit code for the script.

Exit codes: 0 done; 1 it failed or was refused; 2 the call or a configuration
file is wrong; of commands that wait for a rollout 4 it was rolled back or is blocked, 5 it still
went on when the time was up; 130 interrupted by Ctrl-C.

Where logs are JSON the line is a record as well, with the keys of `rollout.base.logs` and
``exit_code``: so it is found among the others, and by its level.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn

__all__ = ["Blocked", "Failure", "Misuse", "Unfinished", "end", "finish", "log_by", "run", "stamp"]

_logs: dict[str, Any] = {"json": None, "fields": {}}


class Failure(Exception):  # noqa: N818
    """It failed or was refused. Its text is a sentence for the person at the terminal."""

    code = 1


class Misuse(Failure):
    """The call, or a configuration file, is wrong. Nothing has been changed."""

    code = 2


class Blocked(Failure):
    """The rollout that was waited for was rolled back, or a person must act before it goes on."""

    code = 4


class Unfinished(Failure):
    """The rollout that was waited for still went on when the time was up."""

    code = 5


def log_by(fields: Mapping[str, str], *, as_json: bool) -> None:
    """Have this process's last line be JSON with ``fields``, or text; else LOG_FORMAT decides."""
    _logs.update(json=as_json, fields=dict(fields))


def stamp() -> str:
    """Now, as every record tells its time: RFC 3339, in UTC."""
    from datetime import datetime, timezone  # noqa: PLC0415  (see `run`)

    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


def end(code: int) -> NoReturn:
    """End this process at once with ``code``, once everything written is out.

    A Python process that has opened a Temporal client may crash in its native
    threads while the interpreter shuts down (temporalio/sdk-python issue 300),
    so the shutdown is skipped; nothing of ours runs in it.
    """
    if "logging" in sys.modules:  # else there is nothing to be written
        sys.modules["logging"].shutdown()
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
        code = failure.code
        _tell(name, str(failure), code)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 1
    except SystemExit as stop:  # argparse's
        code = stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        code = 1
        if _is_json():
            _tell(name, "unexpected error", code, exception=_trace(error))
        else:
            import logging  # noqa: PLC0415  (see `run`)

            logging.getLogger(name).exception("unexpected error")
    end(code)


def _tell(name: str, sentence: str, code: int, **more: str) -> None:
    """Write the one line, behind what is on stdout already: both may be one file."""
    line = f"{name}: {sentence}"
    if _is_json():
        import json  # noqa: PLC0415  (see `run`)

        record = {"event": sentence, "level": "error", "logger": name, "timestamp": stamp()}
        line = json.dumps(
            {**record, "service.name": name, **_logs["fields"], "exit_code": code, **more}
        )
    for stream, text in ((sys.stdout, ""), (sys.stderr, f"{line}\n")):
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):  # closed
            continue


def _trace(error: Exception) -> str:
    import traceback  # noqa: PLC0415  (see `run`)

    return "".join(traceback.format_exception(error)).rstrip()


def _is_json() -> bool:
    known = _logs["json"]
    return os.environ.get("LOG_FORMAT") == "json" if known is None else bool(known)
