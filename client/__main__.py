"""``python -m client``: one greeting; with ``load`` a steady load, ``subscribe`` one long run."""

from __future__ import annotations

import rollout.base.interrupts  # noqa: F401  # isort: skip

from typing import NoReturn

from client.command_line import command_line
from rollout.base import exit as stack_exit


def main() -> NoReturn:
    """Run the command that the arguments name."""
    stack_exit.run("client", _command)


async def _command() -> int:
    options = command_line().parse_args()
    from client import commands  # noqa: PLC0415 - a call that is wrong waits for no client

    run = {"load": commands.keep_load, "subscribe": commands.subscribe_once}
    return await run.get(options.command, commands.greet_once)(options)


if __name__ == "__main__":
    main()
