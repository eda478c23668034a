"""`python -m tests.support.skewed SECONDS COMMAND...`: ``rollout COMMAND`` with another clock."""

from __future__ import annotations

import datetime as dt
import importlib
import pkgutil
import sys

import rollout

__all__: list[str] = []


def _shifted(seconds: float) -> type[dt.datetime]:
    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.now(tz) + dt.timedelta(seconds=seconds)

    return Shifted


def _shift(seconds: float) -> None:
    """Every module of ours that looks at the clock; what is pure is given the time."""
    clock = _shifted(seconds)
    for found in pkgutil.walk_packages(rollout.__path__, "rollout."):
        if found.name.startswith(("rollout.agent", "rollout.temporal", "rollout.controller")):
            module = importlib.import_module(found.name)
            if getattr(module, "datetime", None) is dt.datetime:
                module.datetime = clock  # type: ignore[attr-defined]


if __name__ == "__main__":
    from rollout.commands.command_table import dispatch

    _shift(float(sys.argv[1]))
    sys.exit(dispatch(sys.argv[2:]))
