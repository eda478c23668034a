"""A shell that names another server than the stack does, beside a real supervisord and server."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.base.settings import ROOT
from tests.support.fleet_stack import FleetStack
from tests.support.forking import run_forked
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually
from tests.support.worker_process import worker

pytestmark = [pytest.mark.temporal, pytest.mark.stack]


class Stack:
    """A supervisord that runs the current build's only program, and a shell beside it."""

    def __init__(self, server: DevServer) -> None:
        self.server = server
        self.name = f"w{secrets.token_hex(4)}"
        self.supervisord = FleetStack(**server.environ)
        self.folder = self.supervisord.folder
        run = self.folder / "var" / "run"
        (run / "supervisord.pid").symlink_to(self.folder / "supervisord.pid")
        (run / "supervisor.sock").symlink_to(self.supervisord.socket)
        self.file = self.folder / "rollout.toml"
        self.want("v2")
        python = f"{self.folder}/.venv/bin/python"
        self.supervisord.configure(
            "worker-v2",
            f"command = {python} -m workers --build-id v2 --deployment {self.name}",
            f"directory = {self.folder}",
        )
        self.supervisord.start()
        eventually(lambda: self.pid() > 0)

    def want(self, target: str) -> None:
        """Write rollout.toml."""
        self.file.write_text(f'[deployment]\nname = "{self.name}"\ntarget = "{target}"\n')

    def pid(self) -> int:
        """Of the program that runs v2."""
        return self.supervisord.pid("worker-v2")

    def rollout(self, *words: str, **environ: str) -> tuple[int, str, str]:
        """Run the command in a shell that says ``environ``: exit code, stdout, stderr."""
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "ROLLOUT_HOME": str(self.folder),
            **environ,
        }
        done = run_forked(["rollout", *words], cwd=self.folder, env=env, timeout=60)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def stack(temporal_server: DevServer, tmp_path: Path) -> Iterator[Stack]:
    """One in which v2 is current on the server."""
    made = Stack(temporal_server)
    route = ("worker", "deployment", "set-current-version", "--yes", "--build-id", "v2")
    with worker(temporal_server, tmp_path, made.name, "v2", "compatible", "--managed") as v2:
        eventually(lambda: v2.records("declared"), seconds=60)
        set_current = (*route, "--deployment-name", made.name)
        eventually(lambda: temporal_server.cli(*set_current).returncode == 0)
        yield made
    made.supervisord.stop()


def test_the_only_worker_of_the_current_build_stays(stack: Stack) -> None:
    """Whatever the shell has lost or kept, `retire` stops nothing and says why."""
    pid, address = stack.pid(), stack.server.address
    elsewhere = {"TEMPORAL_NAMESPACE": "temporal-system"}

    # A shell that has lost everything asks what the stack asks.
    code, _, told = stack.rollout("retire", "v2")
    assert (code, told) == (
        1, "rollout: v2 gets new runs: route them away first with `rollout to`\n"
    )  # fmt: skip

    # One that says otherwise is refused with the difference...
    code, _, told = stack.rollout("retire", "v2", "--force", "--yes", **elsewhere)
    assert (code, told) == (
        1,
        (
            "rollout: TEMPORAL_NAMESPACE is 'temporal-system' in this shell, and not set in the "
            "running stack: unset it, or say --elsewhere to leave the stack that runs here be\n"
        ),
    )

    # ...and where it is meant no process here is touched.
    unknown = f"rollout: the server at {address}, namespace temporal-system, does not know v2, "
    there = {**elsewhere, **stack.server.environ}
    code, _, told = stack.rollout("retire", "v2", "--elsewhere", **there)
    assert (code, told) == (
        1,
        (
            f"{unknown}which is the target in rollout.toml: ask another server, or change the file "
            "first (--force --yes retires it all the same)\n"
        ),
    )
    stack.want("v3")
    code, told, _ = stack.rollout("retire", "v2", "--elsewhere", "--force", "--yes", **there)
    assert (code, told) == (
        0, "v2 is retired already: the server asked does not know it\n",
    )  # fmt: skip

    # Under supervisord the environment decides; a process that runs is not stopped unseen.
    inside = {**there, "SUPERVISOR_SERVER_URL": "unix:///nowhere"}
    code, _, told = stack.rollout("retire", "v2", "--force", "--yes", **inside)
    assert (code, told) == (
        1,
        (
            f"{unknown}whose process runs here: it may serve runs on another server; ask that one, "
            "or stop the process first with supervisorctl\n"
        ),
    )
    assert stack.pid() == pid
    assert (stack.supervisord.programs / "worker-v2.ini").exists()


def test_status_says_it_first(stack: Stack) -> None:
    """The stack's world is shown beside the stack's processes, the other one beside none."""
    other = {"TEMPORAL_NAMESPACE": "temporal-system"}
    usual = {"TEMPORAL_NAMESPACE": "default", "TEMPORAL_PORT": "7233"}
    code, shown, told = stack.rollout("status", **other)
    assert code == 0
    assert told == (
        "! TEMPORAL_NAMESPACE is 'temporal-system' in this shell, and not set in the running "
        "stack; the running stack's is asked (--elsewhere: this shell's)\n"
    )
    assert "namespace default" in shown
    assert "RUNNING" in shown
    assert "read from the server by this command: no controller answers here" in shown

    code, shown, told = stack.rollout("status", **usual)
    assert (code, told) == (0, "")

    code, shown, told = stack.rollout("status", "--elsewhere", **other, **stack.server.environ)
    assert (code, told) == (0, "")
    assert "namespace temporal-system" in shown
    assert "RUNNING" not in shown


def test_a_target_that_no_one_knows(stack: Stack) -> None:
    """A typo is refused and named, unless it is meant."""
    before = stack.file.read_text()
    code, _, told = stack.rollout("to", "v22")
    assert (code, told) == (
        1,
        (
            "rollout: no worker of v22 has polled, and no program here runs it; did you mean v2? "
            "`rollout add v22` starts a worker, and --ahead makes it the target before one comes\n"
        ),
    )
    assert stack.file.read_text() == before
    code, _, told = stack.rollout("to", "v22", "--ahead")
    assert (code, "until one does, traffic stays as it is" in told) == (0, True)
    assert 'target = "v22"' in stack.file.read_text()


def test_a_program_file_saved_half_way(stack: Stack) -> None:
    """It is a standing warning, before anybody reloads."""
    (stack.supervisord.programs / "worker-v9.ini").write_text(
        "[program:worker-v9]\ncommand = \n[oops\n"
    )
    code, shown, _ = stack.rollout("status")
    assert code == 0
    words = " ".join(shown.split())
    assert "! supervisord could not load its files again (" in words
    assert "worker-v9.ini" in words
    assert "`supervisorctl reload` would take everything down" in words
