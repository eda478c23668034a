"""A build's module, run by `rollout worker` in the Python of its own release."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rollout.base.env_file import read_env_file
from rollout.base.exit import Misuse
from rollout.supervision import contract
from rollout.supervision.command_words import find_start
from rollout.supervision.fleet.code_check import refuse_code as check
from rollout.supervision.fleet.command_worker import CommandWorker
from rollout.supervision.launch import PORT_MARK

__all__ = ["found_python", "is_runner", "refuse_code", "release_of", "runner_words"]

_ANY_PORT = "9103"
"""A check listens on none."""


def found_python(told: str, folder: Path | None) -> Path:
    """The interpreter that ``told`` names, seen from here, else from ``folder``.

    Its links are kept: by them a Python knows the virtual environment that it is of. Raises
    `Misuse` where it is none.
    """
    places = [shutil.which(told)]
    if os.sep in told:
        places = [os.path.abspath(each / told) for each in (Path(), folder) if each is not None]  # noqa: PTH100
    for place in filter(None, places):
        if os.access(place, os.X_OK) and not Path(place).is_dir():
            return Path(place)
    raise Misuse(
        f"{told} is no Python that can be run here: give one such as "
        "releases/3f9c2ab/.venv/bin/python"
    )


def release_of(python: Path) -> Path | None:
    """The folder in which the virtual environment of ``python`` lies; None: it is of none."""
    environment = python.parent.parent
    return environment.parent if (environment / "pyvenv.cfg").is_file() else None


def runner_words(  # noqa: PLR0913 - each is a flag
    python: Path,
    *,
    app: str,
    build_id: str,
    strategy: str,
    deployment: str,
    task_queue: str,
    more: Sequence[str] = (),
) -> tuple[str, ...]:
    """The command of its worker, in which each process has a port for metrics of its own."""
    # In full: supervisord's environment could hold others under the names of these flags.
    return (
        *(str(python), "-m", "rollout", "worker", "--build-id", build_id, "--strategy", strategy),
        *("--managed", "--deployment", deployment, "--task-queue", task_queue, "--app", app),
        *("--metrics-port", PORT_MARK, *more),
    )


def is_runner(words: Sequence[str]) -> bool:
    """Whether a command is `rollout worker`, which declares its build and its code by itself."""
    return find_start(words).kind == "worker"


async def refuse_code(worker: CommandWorker) -> None:
    """Raise `Misuse` or `Failure` where its own command refuses its options or its code.

    It is run in its folder, by its user, with its variables.
    """
    told = read_env_file(worker.env_file) if worker.env_file else {}
    variables = {
        **os.environ,
        contract.DEPLOYMENT: worker.deployment,
        contract.BUILD_ID: worker.build_id,
        contract.STRATEGY: worker.strategy,
        **told,
        **worker.variables,
    }
    if worker.task_queue:
        variables[contract.TASK_QUEUE] = worker.task_queue
    await check(
        [word.replace(PORT_MARK, _ANY_PORT) for word in worker.words],
        worker.directory,
        {name: text.replace(PORT_MARK, _ANY_PORT) for name, text in variables.items()},
        user=worker.user if os.geteuid() == 0 else None,
    )
