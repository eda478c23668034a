"""The command ``rollout``, which is also ``python -m rollout``."""

import rollout.base.interrupts  # noqa: F401  # isort: skip  (before what is slow to import)

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> None:
    """Run the command that ``words``, by default this process's own, name; it ends the process."""
    given = list(sys.argv[1:] if words is None else words)
    from rollout.base.exit import finish  # noqa: PLC0415

    finish("rollout", lambda: _run(given))


def _run(given: Sequence[str]) -> int:
    from rollout.base.settings import HOME  # noqa: PLC0415 - it may refuse the home's files

    if "--elsewhere" not in given:  # which means this shell's own variables alone
        HOME.enter()
    if given[:1] == ["launch"]:  # it runs before every process, and imports next to nothing
        from rollout.supervision.launch import main as launch  # noqa: PLC0415

        launch(given[1:])
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what may follow
        from rollout.commands.completion import complete  # noqa: PLC0415

        complete()
    from rollout.commands.command_table import dispatch  # noqa: PLC0415

    return dispatch(given)


if __name__ == "__main__":
    main()
