"""What is imported: by a worker, beside whose code little is installed, and by each command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import tomlkit

from rollout.base.settings import ROOT
from rollout.commands.command_table import command_parser
from tests.support.answering import Controller

HELPERS = ("temporalio", "google", "nexusrpc", "typing_extensions", "structlog")
"""temporalio with what it needs, and structlog."""
RUNNER = (*HELPERS, "msgspec", "psutil", "tenacity")
"""What the extra `worker` brings as well."""

HEAVY = frozenset(
    (
        *("asyncio", "filelock", "httpx", "psutil", "pygments", "rich", "structlog"),
        *("supervisor", "temporalio", "tenacity", "tomlkit"),
    )
)
"""What takes long to import."""
NEEDED = {
    "--help": (),
    "status --json": (),
    "status": ("pygments", "rich"),
    "list": ("asyncio",),
    "list --json": ("asyncio",),
    "history": ("asyncio",),
    "history --json": ("asyncio",),
    "completion bash": (),
    "watch --help": ("asyncio", "httpx", "psutil", "pygments", "rich"),
    "to v2": ("asyncio", "filelock", "pygments", "rich", "tenacity"),
    "pause": ("asyncio", "filelock", "pygments", "rich", "tenacity", "tomlkit"),
}
"""What a command may import of it that a controller answers, or that asks nobody."""

BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        standard = first in sys.stdlib_module_names or first.startswith("_sysconfigdata")
        if standard or first in {allowed!r}:
            return None
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def run(
    allowed: Sequence[str], source: str, *words: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """``source`` where nothing but what is ``allowed`` and the standard library can be imported."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            BLOCK.format(allowed=("rollout", "workers", *allowed)) + source,
            *list(words),
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", NEEDED)
def test_a_command_imports_what_it_needs(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever only looks waits for no client of a server, and a script for no tables."""
    if sys.version_info < (3, 11) and command not in ("--help", "completion bash"):
        pytest.skip("Python 3.10 has no reader of TOML, so tomlkit is imported")
    monkeypatch.setattr("rollout.base.settings.VAR", tmp_path / "var")
    controller = Controller(tmp_path)
    controller.saw()
    done = controller.command(*command.split(), python=("-X", "importtime"))
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {name.partition(".")[0] for name in imported} & HEAVY <= set(NEEDED[command])


def test_the_helpers_need_temporalio_and_structlog_alone() -> None:
    """Each of them is called, and what it gives names the version."""
    done = run(
        HELPERS,
        "import logging\n"
        "from rollout.worker import configure_logs, deployment_config, runtime, version\n"
        "configure_logs()\n"
        "logging.getLogger('shop').info('ready')\n"
        "runtime()\n"
        "print(version().to_canonical_string(), deployment_config().use_worker_versioning)\n",
        TEMPORAL_DEPLOYMENT_NAME="shop",
        TEMPORAL_WORKER_BUILD_ID="3f9c2ab",
    )
    assert (done.returncode, done.stdout) == (0, "shop.3f9c2ab True\n"), done.stderr
    assert '"build_id": "3f9c2ab"' in done.stderr


def test_the_runner_needs_its_extra_alone() -> None:
    """`rollout worker`, in all that it imports before it connects and until it has its place."""
    done = run(
        RUNNER,
        "import rollout.worker.host, rollout.replay.python\n"
        "from rollout.__main__ import main\n"
        "main(['worker', '--build-id', 'v1', '--strategy', 'compatible', '--check'])\n",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "allowed", "extra"),
    [("status", RUNNER, "control"), ("worker", HELPERS, "worker")],
)
def test_what_is_missing_is_told(command: str, allowed: Sequence[str], extra: str) -> None:
    """A command whose packages are not there says which extra has them."""
    done = run(allowed, f"from rollout.__main__ import main\nmain([{command!r}])")
    assert done.returncode == 1
    assert done.stderr.startswith(f"rollout: `rollout {command}` needs ")
    assert done.stderr.endswith(f"pip install 'temporal-worker-rollout[{extra}]'\n")
    assert done.stderr.count("\n") == 1


def test_a_variable_that_is_missing_is_told() -> None:
    """Whoever starts a worker of their own by hand reads which variable it needs."""
    done = run(HELPERS, "from rollout.worker import version\nversion()")
    assert "TEMPORAL_DEPLOYMENT_NAME is not set" in done.stderr


def test_the_runner_reads_what_a_program_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no flag and no older variable says is in the variables that `rollout add` sets."""
    monkeypatch.setenv("ROLLOUT_METRICS_PORT", "9293")
    assert command_parser("worker").parse_args([]).metrics_port is None  # the controller's
    monkeypatch.setenv("TEMPORAL_DEPLOYMENT_NAME", "shop")
    monkeypatch.setenv("TEMPORAL_WORKER_BUILD_ID", "3f9c2ab")
    monkeypatch.setenv("ROLLOUT_STRATEGY", "compatible")
    given = command_parser("worker").parse_args(["--build-id", "v2"])
    assert (given.build_id, given.deployment, given.strategy) == ("v2", "shop", "compatible")
    assert given.metrics_port == 9293
    assert command_parser("worker").parse_args([]).build_id == "3f9c2ab"


def test_what_is_promised_is_what_is_installed() -> None:
    """The package alone brings what the helpers need, and the extra `worker` the runner's rest."""
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text("utf-8")).unwrap()["project"]

    def names(requirements: Sequence[str]) -> set[str]:
        return {re.split(r"[^\w-]", each)[0] for each in requirements}

    assert names(project["dependencies"]) == {"structlog", "temporalio"} < set(HELPERS)
    assert names(project["optional-dependencies"]["worker"]) == set(RUNNER) - set(HELPERS)
