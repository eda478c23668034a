"""What a finished workflow says of the builds that ran it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

__all__ = ["MalformedError", "Ran", "read_greeting", "read_order"]

_GREETING = re.compile(r"Hello from worker Build ID: (\S+)!")


class MalformedError(ValueError):
    """A workflow completed with something other than its contract promises."""


@dataclass(frozen=True)
class Ran:
    """Which builds ran a workflow."""

    build_id: str
    """The build that completed it."""
    builds: tuple[str, ...]
    """Every build that ran a part of it, in order of appearance."""

    @property
    def crossed(self) -> bool:
        """Whether it crossed from one build to another on its way."""
        return len(self.builds) > 1


def read_greeting(result: Any) -> Ran:  # noqa: ANN401 - whatever the worker returned
    """The build in a greeting's text. Raises `MalformedError`."""
    match = _GREETING.fullmatch(result) if isinstance(result, str) else None
    if match is None:
        raise MalformedError(f"the greeting reads {result!r}")
    return Ran(match[1], (match[1],))


def read_order(result: Any, order_id: str) -> Ran:  # noqa: ANN401
    """The builds of an order's steps, workflow and activities alike. Raises `MalformedError`."""
    try:
        if result["order_id"] != order_id:
            raise MalformedError(f"the result is that of order {result['order_id']!r}")
        steps = [
            (str(s["workflow_build_id"]), str(s["activity_build_id"])) for s in result["steps"]
        ]
        completed_by = steps[-1][0]
    except (IndexError, KeyError, TypeError) as error:
        raise MalformedError(f"the order returned {result!r}") from error
    return Ran(completed_by, tuple(dict.fromkeys(build for step in steps for build in step)))
