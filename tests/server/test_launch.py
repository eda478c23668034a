"""The launcher, run for real: in front of programs, and under supervisord."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from rollout.base.settings import ROOT, VENV_BIN
from rollout.supervision.launch import NOT_NEEDED, expand
from tests.support.temporal_server import free_port
from tests.support.waiting import eventually


def marked(marker: str) -> list[psutil.Process]:
    """Every live process that has ``marker`` in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LAUNCH_TEST") == marker:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[str]:
    """A mark for every process of one test; what still bears it at the end is killed."""
    yield str(tmp_path)
    for process in marked(str(tmp_path)):
        process.kill()


def launch(*words: str, marker: str = "", **environ: str) -> subprocess.Popen[str]:
    """``python -m rollout launch WORDS``."""
    return subprocess.Popen(
        [sys.executable, "-m", "rollout", "launch", *words],
        cwd=ROOT,
        env={**os.environ, "LAUNCH_TEST": marker, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class TestExpand:
    """``${NAME}`` and ``${NAME:-default}``."""

    @pytest.mark.parametrize(
        "text",
        [
            "plain",
            "${SET}",
            "${SET:-other}",
            "${UNSET:-9090}",
            "${UNSET:-}",
            "${EMPTY:-used}",
            "a${SET}b${UNSET:-c d}e",
            "127.0.0.1:${UNSET:-1}/x",
        ],
    )
    def test_as_the_shell(self, text: str) -> None:
        """A value is what a POSIX shell makes of the same words."""
        environ = {"SET": "value", "EMPTY": "", "PATH": os.defpath}
        shell = subprocess.run(
            ["sh", "-c", f'printf %s "{text}"'],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        assert expand(text, environ) == shell.stdout

    @pytest.mark.parametrize("environ", [{}, {"NAME": ""}])
    def test_nothing_to_stand_for(self, environ: Mapping[str, str]) -> None:
        """A name without a value and without a default is an error that names it."""
        with pytest.raises(KeyError, match="NAME"):
            expand("${NAME}", environ)


class TestCommand:
    """What COMMAND is, and what it gets."""

    def test_becomes_the_command(self) -> None:
        """COMMAND takes the launcher's place under the same pid, words and --env expanded."""
        program = "import os, sys; print(os.getpid(), os.environ['GREETING'], sys.argv[1])"
        words = ("--env", "GREETING=${WORD:-hello}", "python", "-c", program, "${PORT:-1}")
        process = launch(*words, PORT="2")
        output, _ = process.communicate(timeout=20)
        assert output.split() == [str(process.pid), "hello", "2"]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["no-such-program"], "no-such-program is not installed"),
            (["echo", "${NOT_THERE}"], "NOT_THERE is not set"),
            (["--port", "http", "echo"], "http is not a port"),
        ],
    )
    def test_refuses_on_one_line(self, words: list[str], said: str) -> None:
        """What cannot be started is said on one line, with exit code 1."""
        process = launch(*words)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 1
        assert said in output
        assert len(output.splitlines()) == 1


class TestUnlessEnv:
    """``--unless-env``."""

    def test_leaves_the_command_out(self) -> None:
        """Where the variable is set, COMMAND is not started; one line says so, and a code."""
        began = time.monotonic()
        process = launch("--unless-env", "ELSEWHERE", "echo", "begun", ELSEWHERE="yes")
        output, _ = process.communicate(timeout=20)
        assert output == "launch: echo is not needed: ELSEWHERE is set\n"
        assert process.returncode == NOT_NEEDED
        assert time.monotonic() - began > 2  # temporal.ini's startsecs

    @pytest.mark.parametrize("environ", [{}, {"ELSEWHERE": ""}])
    def test_starts_the_command(self, environ: Mapping[str, str]) -> None:
        """Where the variable is not set, or empty, COMMAND is started."""
        process = launch("--unless-env", "ELSEWHERE", "echo", "begun", **environ)
        output, _ = process.communicate(timeout=20)
        assert output == "begun\n"


class TestPort:
    """``--port`` and ``--then``."""

    def test_waits_for_the_port(self) -> None:
        """COMMAND begins only when the port's earlier owner has let go of it."""
        with socket.create_server(("127.0.0.1", 0)) as owner:
            owner.settimeout(20)
            port = owner.getsockname()[1]
            process = launch("--port", str(port), "echo", "begun")
            for _ in range(3):  # it has looked three times, and still waits
                owner.accept()[0].close()
            assert "launch" in psutil.Process(process.pid).cmdline()
        output, _ = process.communicate(timeout=20)
        assert output == "begun\n"

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loopback is one address")
    def test_where_metrics_are_served(self) -> None:
        """A port counts as taken where METRICS_HOST has it taken."""
        with socket.create_server(("127.0.0.2", 0)) as owner:
            port = str(owner.getsockname()[1])
            words = ("--port", port, "--wait", "0.3", "echo", "begun")
            output, _ = launch(*words, METRICS_HOST="127.0.0.2").communicate(timeout=20)
        assert output == f"launch: port {port} is still taken after 0.3 s\n"

    def test_gives_up(self) -> None:
        """A port that stays taken ends the wait with a line that names it."""
        with socket.create_server(("127.0.0.1", 0)) as owner:
            port = owner.getsockname()[1]
            process = launch("--port", str(port), "--wait", "0.3", "echo", "begun")
            output, _ = process.communicate(timeout=20)
        assert process.returncode == 1
        assert output == f"launch: port {port} is still taken after 0.3 s\n"

    def test_gives_up_with_a_record_where_logs_are_json(self) -> None:
        """It stands in COMMAND's log, among its records, and is found there by its level."""
        with socket.create_server(("127.0.0.1", 0)) as owner:
            port = owner.getsockname()[1]
            words = ("--port", str(port), "--wait", "0.3", "echo", "begun")
            output, _ = launch(*words, LOG_FORMAT="json").communicate(timeout=20)
        (record,) = map(json.loads, output.splitlines())
        assert record["event"] == f"port {port} is still taken after 0.3 s"
        assert (record["level"], record["service.name"]) == ("error", "launch")

    def test_then_runs_once_the_port_listens(self, tmp_path: Path, marker: str) -> None:
        """The --then command runs when COMMAND listens, tried again until it succeeds."""
        port = free_port()
        done = tmp_path / "done"
        # Fails the first time, as a server does that listens but is not ready.
        then = f"sh -c 'test -e {done}.tried && touch {done}; touch {done}.tried; test -e {done}'"
        server = ("python", "-m", "http.server", str(port), "--bind", "127.0.0.1")
        process = launch("--port", str(port), "--then", then, *server, marker=marker)
        eventually(done.exists)
        process.terminate()
        process.wait(timeout=10)
        eventually(lambda: not marked(marker))

    def test_then_ends_with_the_command(self, marker: str) -> None:
        """What waits to run --then is gone soon after COMMAND is."""
        port = free_port()
        process = launch("--port", str(port), "--then", "true", "sleep", "600", marker=marker)
        eventually(lambda: len(marked(marker)) == 2)
        process.kill()
        process.wait(timeout=10)
        eventually(lambda: not marked(marker))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a parent's death")
def test_ends_with_supervisord(tmp_path: Path, marker: str) -> None:
    """SIGKILL of supervisord ends the programs that it runs through the launcher."""
    conf = tmp_path / "supervisord.conf"
    conf.write_text(
        f"[supervisord]\nlogfile={tmp_path}/log\npidfile={tmp_path}/pid\nnodaemon=true\n"
        f"directory={ROOT}\n"
        f"[program:sleep]\ncommand={sys.executable} -m rollout launch sleep 600\n"
    )
    supervisord = subprocess.Popen(
        [VENV_BIN / "supervisord", "-c", conf],
        env={**os.environ, "LAUNCH_TEST": marker},
        stdout=subprocess.DEVNULL,
    )
    eventually(lambda: any(each.name() == "sleep" for each in marked(marker)))
    supervisord.kill()
    supervisord.wait(timeout=10)
    eventually(lambda: not marked(marker))


class TestAfterAnOptionOfRollout:
    """``rollout --config FILE launch``, which is read by another parser."""

    def test_becomes_the_command(self) -> None:
        """It starts COMMAND, as without the option."""
        done = _rollout("--config", "x", "launch", "echo", "begun")
        assert (done.returncode, done.stdout) == (0, "begun\n")

    def test_says_what_is_wrong(self) -> None:
        """A missing COMMAND, or one that is not installed, is told in one line."""
        missing = _rollout("--config", "x", "launch")
        unknown = _rollout("--config", "x", "launch", "no-such-program")
        assert (missing.returncode, missing.stderr) == (
            2,
            "rollout: COMMAND is missing; see `rollout launch --help`\n",
        )
        assert (unknown.returncode, unknown.stderr) == (
            1,
            "rollout: no-such-program is not installed; `make setup` installs it\n",
        )


def _rollout(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rollout", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
