"""What a pipeline types: each outcome has its exit code, and a second call changes nothing."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.base.settings import ROOT
from tests.support.controlled import WHOLE, Rollout, done
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually
from tests.support.worker_process import Command, environ, python

pytestmark = pytest.mark.temporal


class Pipeline(Rollout):
    """v1 is current and v2 polls; the controller serves what it sees."""

    def begin(self, pause: str = "2s", more: str = "") -> Command:
        """Start workers and controller, and wait until v1 is current and the target."""
        text = self.file.read_text().replace('pause = "2s"', f'pause = "{pause}"')
        self.file.write_text(text.replace('target = "v2"', 'target = "v1"') + more)
        self.start_worker("v1", "compatible")
        self.start_worker("v2")
        controller = self.start_controller("--metrics-port", str(free_port()))
        eventually(lambda: done(controller) == WHOLE[:1], seconds=60)
        return controller

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a rollout command."""
        return subprocess.Popen(
            python("rollout", "--config", str(self.file), *words),
            cwd=ROOT,
            env=environ(self.server, LOG_FORMAT="console"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def answers(self, *words: str) -> tuple[int, list[dict[str, Any]], str]:
        """Exit code, the objects of a command that is asked for JSON, and stderr."""
        process = self.start(*words, "--json")
        told, warned = process.communicate(timeout=120)
        return process.returncode, [json.loads(line) for line in told.splitlines()], warned


@pytest.fixture
def pipeline(temporal_server: DevServer, tmp_path: Path) -> Iterator[Pipeline]:
    """A deployment of the test's own."""
    made = Pipeline(temporal_server, tmp_path)
    yield made
    made.close()


class TestWaiting:
    """`rollout to BUILD --wait` ends with the rollout, and says how."""

    def test_complete(self, pipeline: Pipeline) -> None:
        """0, with a line for each state; the same call again is success at once."""
        controller = pipeline.begin()
        code, lines, warned = pipeline.answers("to", "v2", "--wait")
        assert (code, warned) == (0, "")
        assert done(controller) == WHOLE
        assert {line["target"] for line in lines} == {"v2"}
        reached = [line["ramping"]["percentage"] for line in lines if line["ramping"]]
        assert reached == sorted(reached)
        assert set(reached) == {20, 60}
        assert [line["outcome"] for line in lines[:-1]] == [None] * (len(lines) - 1)
        last = lines[-1]
        assert (last["outcome"], last["exit_code"], last["changed"]) == ("complete", 0, True)
        assert (last["current"], last["target_share"]) == ("v2", 1.0)

        code, told, warned = pipeline.command("to", "v2", "--wait")
        assert (code, warned) == (0, "")
        assert told.splitlines()[0] == "target is v2 already"
        assert told.splitlines()[-1] == "v2 is complete: v2 takes all new runs"
        assert done(controller) == WHOLE

    def test_blocked(self, pipeline: Pipeline) -> None:
        """4, with what a person must do, as soon as the gate has failed for good."""
        gate = '\n[gate]\nworkflow = "Missing"\ntimeout = "2s"\nretries = 0\n'
        pipeline.begin(more=gate)
        code, lines, warned = pipeline.answers("to", "v2", "--wait")
        assert (code, lines[-1]["outcome"], lines[-1]["exit_code"]) == (4, "blocked", 4)
        assert "cannot pass: this build has no workflow Missing" in lines[-1]["error"]
        assert warned == f"rollout: {lines[-1]['error']}\n"

    def test_the_time_is_up(self, pipeline: Pipeline) -> None:
        """5, and the rollout goes on; Ctrl-C and SIGTERM end the waiting alone as well."""
        pipeline.begin(pause="600s")
        code, told, warned = pipeline.command("to", "v2", "--wait", "--timeout", "8s")
        assert code == 5, warned
        assert "progressing [20%]: at 20 % for " in told
        assert warned.startswith("rollout: v2 is still on its way after 8 s: at 20 % for ")
        assert pipeline.status()["ramping"] == {"build_id": "v2", "percentage": 20.0}
        for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            process = pipeline.start("to", "v2", "--wait")
            assert process.stdout is not None
            assert process.stdout.readline() == "target is v2 already\n"
            assert "at 20 %" in process.stdout.readline()
            os.kill(process.pid, number)
            _, said = process.communicate(timeout=20)
            assert process.returncode == expected
            assert said.startswith("no longer waiting; the rollout of v2 goes on")
        assert pipeline.status()["ramping"]["build_id"] == "v2"

    def test_rolled_back_by_command(self, pipeline: Pipeline) -> None:
        """4 where somebody rolls it back meanwhile; nobody waits for what is blocked since."""
        pipeline.begin(pause="600s")
        waiting = pipeline.start("to", "v2", "--wait", "--json")
        eventually(lambda: pipeline.status()["ramping"], seconds=60)
        assert pipeline.command("rollback")[0] == 0
        told, _ = waiting.communicate(timeout=30)
        last = json.loads(told.splitlines()[-1])
        assert (waiting.returncode, last["outcome"]) == (4, "rolled back")
        assert "rolled back to v1 by command" in last["error"]
        code, lines, _ = pipeline.answers("to", "v2", "--wait")
        assert (code, lines[-1]["outcome"]) == (4, "rolled back")

    def test_another_target(self, pipeline: Pipeline) -> None:
        """1 where somebody makes another build the target."""
        pipeline.begin(pause="600s")
        waiting = pipeline.start("to", "v2", "--wait")
        eventually(lambda: pipeline.status()["ramping"], seconds=60)
        assert pipeline.command("to", "v3", "--ahead")[0] == 0
        _, warned = waiting.communicate(timeout=30)
        assert waiting.returncode == 1
        assert warned == "rollout: the target is v3 now: somebody has changed it\n"

    def test_nothing_to_wait_for(self, pipeline: Pipeline) -> None:
        """Where nobody moves traffic by itself it is refused, and the target stays."""
        text = pipeline.file.read_text()
        pipeline.file.write_text(text.replace("paused = false", 'pace = "manual"'))
        code, _, warned = pipeline.command("to", "v3", "--wait")
        assert code == 2
        assert warned.startswith('rollout: pace is "manual" in rollout.toml: nobody here moves')
        code, _, warned = pipeline.command("to", "v3", "--wait", "--elsewhere")
        assert code == 2
        assert 'target = "v2"' in pipeline.file.read_text()

    def test_no_controller(self, pipeline: Pipeline) -> None:
        """1 where none runs, and nothing has been changed."""
        code, _, warned = pipeline.command("to", "v3", "--wait")
        assert code == 1
        assert warned.startswith("rollout: no controller runs here, so nothing would be done")
        assert 'target = "v2"' in pipeline.file.read_text()


class TestAbort:
    """`rollout abort` ends what is on its way."""

    def test_mid_ramp(self, pipeline: Pipeline) -> None:
        """New runs go back to the current build, nothing is blocked, and it can be tried again."""
        controller = pipeline.begin(pause="600s")
        waiting = pipeline.start("to", "v2", "--wait")
        eventually(lambda: pipeline.status()["ramping"], seconds=60)
        code, lines, warned = pipeline.answers("abort")
        assert (code, warned) == (0, "")
        (answer,) = lines
        assert answer["told"] == [
            "target is v1 again, which gets all new runs; v2 is not blocked",
        ]
        assert (answer["build_id"], answer["target"], answer["changed"]) == ("v2", "v1", True)
        status = pipeline.status()
        assert (status["target"], status["current"], status["ramping"]) == ("v1", "v1", None)
        assert [v["blocked"] for v in status["versions"]] == [None, None]
        _, warned = waiting.communicate(timeout=30)
        assert (waiting.returncode, warned) == (
            4, "rollout: v2 was given up: the target is v1 again\n",
        )  # fmt: skip

        code, lines, _ = pipeline.answers("abort")
        assert (code, lines[0]["changed"]) == (0, False)
        assert lines[0]["told"] == [
            "nothing is on its way: v1 is the target and takes all new runs"
        ]
        assert pipeline.answers("abort", "v2")[1][0]["told"] == [
            "v2 is not on its way: the target is v1"
        ]
        assert done(controller) == [*WHOLE[:2], "end the ramp"]
        assert pipeline.command("to", "v2")[0] == 0
        eventually(lambda: pipeline.status()["ramping"], seconds=60)

    def test_what_is_current_already(self, pipeline: Pipeline) -> None:
        """A build that takes all new runs is left by a rollback alone."""
        pipeline.begin()
        code, _, warned = pipeline.command("abort", "v1")
        assert code == 1
        assert warned.startswith("rollout: v1 takes all new runs already: `rollout rollback`")


class TestCompletion:
    """What the shell is told."""

    def test_builds(self, pipeline: Pipeline, tmp_path: Path) -> None:
        """A BUILD may be each that the controller here knows."""
        pipeline.begin()
        eventually(lambda: pipeline.status()["source"] == "controller")
        line, answer = f"rollout --config {pipeline.file} to ", tmp_path / "answer"
        asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
        where = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
        subprocess.run(
            python("rollout"), cwd=ROOT, env=environ(pipeline.server, **asked, **where), check=True
        )
        assert {"v1", "v2"} <= set(answer.read_text().replace("\x0b", " ").split())


class TestNotify:
    """`[notify]` tells of a whole rollout while it goes on."""

    def test_a_whole_rollout(self, pipeline: Pipeline, tmp_path: Path) -> None:
        """Each change of routing and the end by a real controller; a dead webhook holds nothing."""
        told = tmp_path / "told"
        command = f'command = ["sh", "-c", "cat >> {told}"]'
        more = f'\n[notify]\n{command}\nwebhook = "http://127.0.0.1:1/"\ntries = 2\n'
        controller = pipeline.begin(more=more)
        assert pipeline.command("to", "v2", "--wait")[0] == 0

        def events() -> list[str]:
            return [json.loads(line)["text"] for line in told.read_text().splitlines()]

        expected = [
            "all new runs go to v1",
            "v1 takes all new runs",
            "20 % of new runs go to v2, the others to v1",
            "60 % of new runs go to v2, the others to v1",
            "all new runs go to v2",
            "v2 takes all new runs",
            "v1 is safe to stop",
        ]
        wanted = [f"{pipeline.name}: {text}" for text in expected]
        eventually(lambda: sorted(events()) == sorted(wanted), seconds=60)
        assert [text for text in events() if "safe" not in text] == wanted[:-1]
        eventually(lambda: controller.records("a notification was given up"))
        code, out, warned = pipeline.command("notify")
        assert (code, out) == (1, "command: took it\n")
        assert warned == "webhook: the webhook cannot be reached: ConnectError\n"
        assert json.loads(told.read_text().splitlines()[-1])["event"] == "test"


class TestAgain:
    """Repeating a call is success, and says so."""

    def test_to(self, pipeline: Pipeline) -> None:
        """The second changes nothing in the file."""
        pipeline.begin()
        assert pipeline.answers("to", "v2")[1][0]["changed"] is True
        text = pipeline.file.read_text()
        code, (answer,), warned = pipeline.answers("to", "v2")
        assert (code, answer["changed"], warned) == (0, False, "")
        assert answer["told"][0].startswith("target is v2 already; ")
        assert pipeline.file.read_text() == text

    def test_retire(self, pipeline: Pipeline) -> None:
        """What nobody knows any more is retired already; what rollout.toml names is refused."""
        pipeline.begin()
        code, (answer,), _ = pipeline.answers("retire", f"x{secrets.token_hex(3)}")
        assert (code, answer["changed"], answer["forgotten"]) == (0, False, True)
        assert "is retired already" in answer["told"][0]
        assert pipeline.command("to", "v9", "--ahead")[0] == 0
        code, (answer,), _ = pipeline.answers("retire", "v9")
        assert (code, answer["exit_code"]) == (1, 1)
        assert "which is the target in rollout.toml" in answer["error"]
