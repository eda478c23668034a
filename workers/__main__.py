"""``python -m workers``: `rollout worker`, with the demo's builds as the default."""

import rollout.base.interrupts  # noqa: F401  # isort: skip

from rollout.base.exit import run
from rollout.commands.worker import main

if __name__ == "__main__":
    run("workers", lambda: main(prog="python -m workers"))
