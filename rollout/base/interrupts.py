"""Importing this lets Ctrl-C end any command of ours without a traceback, while it imports too.

`rollout.base.exit.finish` does so for what runs in it; imports come before, so that every
entry point imports this first.
"""

import os
import sys

__all__: list[str] = []

_show = sys.excepthook


def _end_quietly(kind, error, trace):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if issubclass(kind, KeyboardInterrupt):
        os._exit(130)
    _show(kind, error, trace)


sys.excepthook = _end_quietly
