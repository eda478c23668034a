"""``python -m metrics``: `rollout exporter`."""

import rollout.base.interrupts  # noqa: F401  # isort: skip

from rollout.base.exit import run
from rollout.commands.exporter import main

if __name__ == "__main__":
    run("metrics", lambda: main(prog="python -m metrics"))
