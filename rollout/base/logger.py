"""The one way to a logger: structlog's own, which is imported with the first record.

structlog imports its console renderer, and with it rich where that is installed, whatever of it is
used. A command that logs nothing would pay for that with a third of its time.
"""

from __future__ import annotations

import sys
from functools import cached_property
from typing import Any

__all__ = ["Logger", "bind", "get_logger", "on_stderr"]

_choices = {"on_stderr": False}


class Logger:
    """A logger of one name; `rollout.base.logs` says what becomes of its records."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def _log(self) -> Any:  # noqa: ANN401 - structlog's proxy of whatever is configured
        import structlog  # noqa: PLC0415 - see above

        if _choices["on_stderr"] and not structlog.is_configured():
            structlog.configure(logger_factory=lambda *_names: structlog.PrintLogger(sys.stderr))
        return structlog.get_logger(self._name)

    def debug(self, event: str, **fields: object) -> None:
        """Log what only whoever looks for a mistake wants to read."""
        self._log.debug(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        """Log what has happened."""
        self._log.info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log what may want a person's attention."""
        self._log.warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Log what has failed."""
        self._log.error(event, **fields)

    def exception(self, event: str, **fields: object) -> None:
        """Log what has failed, with the traceback of the exception that is being handled."""
        self._log.exception(event, **fields)


def get_logger(name: str) -> Logger:
    """The logger called ``name``; nothing is imported or configured by it."""
    return Logger(name)


def bind(**fields: str) -> None:
    """Have ``fields`` in every record of this task, and of those that it starts."""
    from structlog.contextvars import bind_contextvars  # noqa: PLC0415 - see above

    bind_contextvars(**fields)


def on_stderr() -> None:
    """Have a process that configures no logs write them to stderr: stdout is for its answer."""
    _choices["on_stderr"] = True
