"""The stack as a whole, on a real supervisord, in a copy of the checkout on ports of its own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.prometheus import fired, reopened
from tests.support.stack_clone import StackClone, stack_clone
from tests.support.waiting import eventually

pytestmark = pytest.mark.stack

DRAINS = "sh -c \"trap 'sleep 8; exit' TERM; while true; do sleep 0.2; done\""
IGNORES_TERM = "sh -c \"trap '' TERM; while true; do sleep 0.2; done\""


def assert_nothing_left(clone: StackClone) -> None:
    """No process of the clone, and none of its ports taken."""
    assert clone.processes() == []
    assert clone.taken_ports() == []


def runs(clone: StackClone, word: str) -> bool:
    """Whether ``word`` is in the command line of one of the clone's processes."""
    for process in clone.processes():
        with contextlib.suppress(psutil.Error):
            if word in " ".join(process.cmdline()):
                return True
    return False


def test_the_life_of_a_stack(tmp_path: Path) -> None:
    """From nothing it comes up by itself, serves a client, is not started twice, and goes down.

    No alert fires, neither on the way up nor on the way down.
    """
    with stack_clone() as clone:
        born = time.time()
        up = clone.up()
        assert up.returncode == 0, up.stdout
        assert set(clone.states().values()) == {"RUNNING"}
        for said in (
            "the first workflow has completed",
            f"http://127.0.0.1:{clone.ports['TEMPORAL_UI_PORT']}",
            f"http://127.0.0.1:{clone.ports['PROMETHEUS_PORT']}",
            "supervisorctl stop worker-v1",
        ):
            assert said in up.stdout

        client = clone.python("-m", "client")
        assert client.stdout == "Hello from worker Build ID: v1!\n"

        pids = {process.pid for process in clone.processes()}
        again = clone.up()
        assert again.returncode == 0, again.stdout
        assert "already running" in again.stdout
        assert {process.pid for process in clone.processes()} == pids
        check = clone.python("-m", "rollout", "check")
        assert check.returncode == 0, check.stdout  # its own ports are not in its way

        clone.supervisorctl("stop", "worker-v2")
        without = clone.up()
        assert without.returncode == 0, without.stdout
        assert "worker-v2 is stopped" in without.stdout
        assert clone.states()["worker-v2"] == "STOPPED"
        clone.supervisorctl("start", "worker-v2")

        lines = clone.python("-m", "rollout", "logs").stdout.splitlines()
        found = [json.loads(line) for line in lines]
        assert {"supervisord", "worker-v1", "worker-v2", "rollout"} <= {
            record["program"] for record in found
        }

        began = time.monotonic()
        down = clone.down()
        assert down.returncode == 0, down.stdout
        assert time.monotonic() - began < 20
        stops = re.findall("down: stopping (.*)", down.stdout)
        assert stops[0] == "load"
        assert stops[1] == "worker-v1, worker-v2"
        assert stops[-1] == "temporal"
        assert_nothing_left(clone)

        assert clone.down().stdout == "down: the stack is not running\n"

        with reopened(clone.root / "var" / "prometheus", tmp_path) as url:
            # v2 was stopped by hand: where new runs went to it already, that is told.
            stopped = {("RunsWithoutWorker", "v2"), ("NewRunsWithoutWorker", "v2")}
            assert fired(url, born).keys() <= stopped


class TestWithoutTheDemo:
    """The first state of somebody with workers of their own."""

    def test_no_worker_yet(self) -> None:
        """The stack is ready without any worker, and says what to do; the load is left out."""
        with stack_clone(NO_DEMO="1") as clone:
            _remove_demo(clone)
            up = clone.up()
            assert up.returncode == 0, up.stdout
            assert "load is left out, with the rest of the demo: NO_DEMO is set" in up.stdout
            assert "No worker runs here yet: `rollout add BUILD` starts those of" in up.stdout
            eventually(lambda: "load" not in clone.states())
            assert set(clone.states().values()) == {"RUNNING"}
            check = clone.python("-m", "rollout", "check")
            assert check.returncode == 0, check.stdout

    def test_the_load_without_workers(self) -> None:
        """Where the load was left in, it is not waited for, and `up` says how to leave it out."""
        with stack_clone() as clone:
            _remove_demo(clone)
            up = clone.up()
            assert up.returncode == 0, up.stdout
            assert "no workflow can complete yet: waiting" in up.stdout
            assert "`NO_DEMO=1 make up` leaves the demo's load out" in up.stdout


def _remove_demo(clone: StackClone) -> None:
    for build_id in ("v1", "v2"):
        (clone.root / "workers" / "programs" / f"worker-{build_id}.ini").unlink()
    text = '[deployment]\nname = "shop"\ntask_queue = "shop"\ntarget = "3f9c2ab"\n'
    clone.write("rollout.toml", text)


class TestCtrlC:
    """Interrupting `up`."""

    def interrupt(self, up: subprocess.Popen[str]) -> str:
        """Press Ctrl-C, and return what it says until it ends."""
        os.killpg(up.pid, signal.SIGINT)
        rest, _ = up.communicate(timeout=40)
        assert up.returncode == 130, rest
        return rest

    def test_while_it_becomes_ready(self) -> None:
        """Ctrl-C on the way up stops everything that has started, with exit code 130."""
        with stack_clone() as clone:
            up = clone.start("-m", "rollout", "stack", "up")
            assert up.stdout is not None
            line = up.stdout.readline()
            assert " s  " in line, line
            rest = self.interrupt(up)
            assert "interrupted, stopping everything again" in rest
            assert_nothing_left(clone)

    def test_while_supervisord_starts(self) -> None:
        """Ctrl-C before supervisord is a daemon leaves no supervisord behind."""
        with stack_clone(TEMPORAL_ADDRESS="127.0.0.1:1") as clone:
            clone.only(a="sleep 600")
            up = clone.start("-m", "rollout", "stack", "up")
            eventually(lambda: runs(clone, "supervisord.conf"))
            self.interrupt(up)
            assert_nothing_left(clone)

    def test_during_the_preflight(self) -> None:
        """Ctrl-C during the preflight starts nothing."""
        with stack_clone() as clone:
            up = clone.start("-m", "rollout", "stack", "up")
            eventually(lambda: runs(clone, "--check"))
            self.interrupt(up)
            eventually(lambda: not clone.processes())
            assert clone.log("supervisord") == ""


class TestRefusal:
    """What keeps the stack from coming up."""

    def test_a_port_that_is_taken(self) -> None:
        """A taken port is told with its holder, and nothing is started."""
        with stack_clone() as clone, socket.create_server(("127.0.0.1", 0)) as owner:
            port = owner.getsockname()[1]
            clone.environ["ROLLOUT_METRICS_PORT"] = str(port)
            up = clone.up()
            first, last = up.stdout.splitlines()
            assert up.returncode == 1
            assert first.startswith(f"up: port {port} (rollout) is taken by ")
            assert f"(pid {os.getpid()}: " in first
            assert first.endswith("ROLLOUT_METRICS_PORT=... moves it")
            assert last == "up: nothing was started"
            assert clone.processes() == []

    @pytest.mark.parametrize(
        ("path", "old", "new", "said"),
        [
            ("workers/programs/worker-v1.ini", "startsecs = 5", "startsecs", "worker-v1.ini"),
            ("rollout.toml", "percentage = 10", "percentage = 110", "rollout.toml line "),
            ("workers/programs/worker-v2.ini", "--build-id v2", "--build-id v9", "worker-v2: "),
        ],
    )
    def test_a_broken_file(self, path: str, old: str, new: str, said: str) -> None:
        """A broken file is told on one line, with exit code 2, and nothing is started."""
        with stack_clone() as clone:
            clone.edit(path, old, new)
            up = clone.up()
            first, last = up.stdout.splitlines()
            assert up.returncode == 2
            assert said in first
            assert last == "up: nothing was started"
            assert clone.processes() == []


class TestSmallStack:
    """Up and down, with programs that are quick to start and hard to stop."""

    def test_a_program_that_fails(self) -> None:
        """A program given up by supervisord ends `up` with its log's last lines, all stopped."""
        with stack_clone(TEMPORAL_ADDRESS="127.0.0.1:1") as clone:
            clone.only(good="sleep 600", bad="sh -c 'echo the reason; exit 3'")
            clone.edit("supervisord.conf", "startsecs = 0", "startsecs = 5\nstartretries = 0")
            up = clone.up()
            assert up.returncode == 1
            assert "bad is FATAL" in up.stdout
            assert "  the reason" in up.stdout
            assert_nothing_left(clone)

    def test_kept_for_a_look(self) -> None:
        """With --keep a stack that does not become ready is left running."""
        with stack_clone(TEMPORAL_ADDRESS="127.0.0.1:1") as clone:
            clone.only(good="sleep 600", bad="sh -c 'exit 3'")
            clone.edit("supervisord.conf", "startsecs = 0", "startsecs = 5\nstartretries = 0")
            up = clone.up("--keep")
            assert up.returncode == 1
            assert "left running" in up.stdout
            eventually(lambda: clone.states() == {"good": "RUNNING", "bad": "FATAL"})

    def test_a_program_that_does_not_end(self) -> None:
        """What ignores its stop signal is killed in the end, within 20 s of `down`."""
        with stack_clone(TEMPORAL_ADDRESS="127.0.0.1:1") as clone:
            clone.only(stubborn=IGNORES_TERM)
            clone.edit("supervisord.conf", "startsecs = 0", "startsecs = 0\nstopwaitsecs = 600")
            assert clone.up().returncode == 0
            down = clone.down()
            assert down.returncode == 0
            took = re.search(r"stopped in ([\d.]+) s", down.stdout)
            assert took
            assert float(took[1]) < 20
            assert "killing " in down.stdout
            assert_nothing_left(clone)

    def test_a_lost_socket(self) -> None:
        """`down` finds and ends a supervisord whose socket and pid file are gone."""
        with stack_clone(TEMPORAL_ADDRESS="127.0.0.1:1") as clone:
            clone.only(good="sleep 600")
            assert clone.up().returncode == 0
            for name in ("supervisor.sock", "supervisord.pid"):
                (clone.root / "var" / "run" / name).unlink()
            down = clone.down()
            assert down.returncode == 0
            assert "by signal" in down.stdout
            assert_nothing_left(clone)

    def test_a_killed_supervisord(self) -> None:
        """After kill -9 of supervisord its programs end, and `up` waits and starts them anew."""
        with stack_clone(TEMPORAL_ADDRESS="127.0.0.1:1") as clone:
            clone.only(slow=DRAINS)
            assert clone.up().returncode == 0
            old = {process.pid for process in clone.processes()}
            pid = int((clone.root / "var" / "run" / "supervisord.pid").read_text())
            psutil.Process(pid).kill()
            up = clone.up()
            assert up.returncode == 0
            assert "of a supervisord that was killed" in up.stdout
            assert clone.states() == {"slow": "RUNNING"}
            assert old.isdisjoint(process.pid for process in clone.processes())

    def test_another_up_is_under_way(self) -> None:
        """While one `up` is at work, a second is refused on one line."""
        with stack_clone(TEMPORAL_ADDRESS="127.0.0.1:1") as clone:
            clone.only(good="sleep 600")
            with (clone.root / "var/run/up.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                up = clone.up()
            assert up.returncode == 1
            assert up.stdout == "rollout: another `make up` is under way\n"
            assert clone.up().returncode == 0  # supervisord does not hold on to the lock

    def test_json_whatever_the_shell_likes(self) -> None:
        """LOG_FORMAT of the shell that starts the stack does not reach the log files."""
        with stack_clone(TEMPORAL_ADDRESS="127.0.0.1:1", LOG_FORMAT="console") as clone:
            clone.only(good="sh -c 'echo the format is $LOG_FORMAT; sleep 600'")
            assert clone.up().returncode == 0
            eventually(lambda: clone.log("good") == "the format is json\n")


class TestAnotherServer:
    """TEMPORAL_ADDRESS, set or not, at one start and at the next."""

    @pytest.fixture
    def clone(self) -> Iterator[StackClone]:
        """A stack of one program that is always there, and one instead of Temporal."""
        with stack_clone() as clone:
            clone.only(always="sleep 600", embedded="--unless-env TEMPORAL_ADDRESS sleep 600")
            clone.edit(
                "supervisord.conf",
                "launch --unless-env TEMPORAL_ADDRESS sleep 600\nstartsecs = 0",
                "launch --unless-env TEMPORAL_ADDRESS sleep 600\nstartsecs = 1\n"
                "autorestart = unexpected\nexitcodes = 77",
            )
            yield clone

    def test_a_running_stack_is_let_be(self, clone: StackClone) -> None:
        """`up` in a shell with another TEMPORAL_ADDRESS shows a running stack as it is."""
        clone.environ["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
        assert clone.up().returncode == 0
        assert clone.states() == {"always": "RUNNING"}  # what is not needed is not even shown
        del clone.environ["TEMPORAL_ADDRESS"]
        up = clone.up("--timeout", "5")
        assert up.returncode == 0, up.stdout
        assert "ready, 1 programs are RUNNING" in up.stdout
        assert clone.states() == {"always": "RUNNING"}

    def test_the_last_run_decides_nothing(self, clone: StackClone) -> None:
        """A bare supervisord goes by its own environment, whatever `up` was started in."""
        both = {"always": "RUNNING", "embedded": "RUNNING"}
        for at_up, then, states in (
            ("127.0.0.1:1", "", both),
            ("", "127.0.0.1:1", {**both, "embedded": "EXITED"}),
        ):
            clone.environ["TEMPORAL_ADDRESS"] = at_up
            assert clone.up().returncode == 0
            clone.down()
            clone.environ["TEMPORAL_ADDRESS"] = then
            clone.python("-m", "supervisor.supervisord", "-c", "supervisord.conf")
            eventually(lambda wanted=states: clone.states() == wanted)  # type: ignore[misc]
            up = clone.up("--timeout", "5")
            assert up.returncode == 0, up.stdout
            assert clone.states() == states
            clone.down()
