"""What every process of the stack shares, and bringing the stack up and down."""

import os
import sys

_show = sys.excepthook


def _end_quietly(kind, error, trace):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Let Ctrl-C end any of our commands without a traceback, while it still imports too.

    `stack.exit.finish` does so for what runs in it; imports come before.
    """
    if issubclass(kind, KeyboardInterrupt):
        os._exit(130)
    _show(kind, error, trace)


sys.excepthook = _end_quietly
