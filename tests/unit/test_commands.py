"""The commands: their help, wrong calls, Ctrl-C, and what it takes to import them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from temporalio.service import RPCError, RPCStatusCode

from rollout import __version__
from rollout.base.exit import Failure, Misuse
from rollout.base.settings import ROOT
from rollout.commands.answers import answered, hand_out
from rollout.commands.command_table import COMMANDS, command_parser, dispatch
from rollout.commands.supervisorctl import make_plugin
from rollout.stack import summary

CONFIG = """
[deployment]
name = "other"
target = "v2"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A rollout.toml of the test's own."""
    file = tmp_path / "rollout.toml"
    file.write_text(CONFIG)
    return file


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (
            RPCStatusCode.CANCELLED,
            "the server did not answer (gone): what was asked for may have been",
        ),
        (RPCStatusCode.PERMISSION_DENIED, "the server refused: gone"),
    ],
)
def test_a_call_that_fails_anywhere(
    monkeypatch: pytest.MonkeyPatch, config: Path, status: RPCStatusCode, told: str
) -> None:
    """Wherever a command is when a call fails, it ends with a sentence: a timeout is no refusal."""

    async def call(_: object) -> int:
        raise RPCError("gone", status, b"")

    monkeypatch.setattr("rollout.commands.list._list", call)
    with pytest.raises(Failure, match=re.escape(told)):
        dispatch(["--config", str(config), "list"])


class TestDeployment:
    """``-d``: which of several a command is about."""

    def test_before_and_behind(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """It may stand on either side of the command, and must be there."""
        wrong = "has no deployment 'shop', but other"
        for words in (["-d", "shop", "pause"], ["pause", "-d", "shop"]):
            with pytest.raises(Misuse, match=wrong):
                dispatch(["--config", str(config), *words])
        assert dispatch(["-d", "other", "--config", str(config), "pause"]) == 0
        assert "paused = true" in config.read_text()
        assert capsys.readouterr().out.startswith("paused: ")

    def test_where_it_means_nothing(self) -> None:
        """A command that is about no deployment says so."""
        with pytest.raises(Misuse, match="`rollout stack` is about no deployment: leave -d out"):
            dispatch(["-d", "shop", "stack", "down"])

    def test_a_command_with_a_default_of_its_own(self) -> None:
        """What is not said is left to the command."""
        arguments = command_parser("worker").parse_args(["--build-id", "1"])
        assert arguments.deployment == "greetings"


class TestHelp:
    """What a person finds who asks."""

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_shows_an_example(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """``rollout COMMAND --help`` ends with 0, and shows how the command is used."""
        with pytest.raises(SystemExit) as ended:
            dispatch([name, "--help"])
        assert ended.value.code == 0
        told = capsys.readouterr().out
        assert told.startswith(f"usage: rollout {name} ")
        examples = told.partition("\nexample")[2]
        assert f"rollout {name}" in examples

    @pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if c.reads_config])
    def test_the_file_may_be_named_behind_the_command(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whatever reads rollout.toml takes ``--config``."""
        with pytest.raises(SystemExit):
            dispatch([name, "--help"])
        assert "--config FILE" in capsys.readouterr().out

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_answer_may_be_json(self, name: str) -> None:
        """``--json`` is everywhere but where nothing is answered: what runs on logs JSON."""
        flags = {flag for each in command_parser(name)._actions for flag in each.option_strings}
        runs_on = COMMANDS[name].group == "run"
        assert ("--json" in flags) == (not runs_on and name != "completion")

    def test_all_commands_are_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        """``rollout --help`` names each on a line of its own, with what it is for."""
        with pytest.raises(SystemExit):
            dispatch(["--help"])
        lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
        for name, command in COMMANDS.items():
            assert [name, command.text] in lines

    def test_the_version_has_one_source(self, capsys: pytest.CaptureFixture[str]) -> None:
        """``rollout --version`` is that of the package."""
        with pytest.raises(SystemExit) as ended:
            dispatch(["--version"])
        assert (ended.value.code, capsys.readouterr().out) == (0, f"rollout {__version__}\n")


class TestWrongCalls:
    """One line, exit code 2."""

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["stauts"], "'stauts' is not a command; did you mean `rollout status`?"),
            (["frobnicate"], "'frobnicate' is not a command; `rollout --help` lists them"),
            ([], "which command? `rollout --help` lists them"),
            (["--no-such", "status"], "unrecognized arguments: --no-such; see `rollout --help`"),
            (["to"], "the following arguments are required: BUILD; see `rollout to --help`"),
            (["plan", "--jsn"], "unrecognized arguments: --jsn; see `rollout plan --help`"),
            (["status", "--config", "no.toml"], "no.toml cannot be read"),
            (["--config", "no.toml", "status"], "no.toml cannot be read"),
        ],
    )
    def test_it_is_told(self, words: list[str], message: str) -> None:
        """What is wrong, and where to find what is right."""
        with pytest.raises(Misuse) as caught:
            dispatch(words)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)


class TestTheFile:
    """Which rollout.toml a command works on."""

    @pytest.mark.parametrize("before", [True, False])
    def test_config_may_stand_before_and_behind(
        self, config: Path, before: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """``--config FILE pause`` and ``pause --config FILE`` are the same."""
        flag = ["--config", str(config)]
        assert dispatch([*flag, "pause"] if before else ["pause", *flag]) == 0
        assert "paused = true" in config.read_text()
        assert capsys.readouterr().out.startswith("paused: traffic stays as it is")

    def test_supervisorctl_works_on_the_folder_of_its_configuration(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a checkout there it is supervisorctl's own Python that runs the command."""
        controller = SimpleNamespace(
            options=SimpleNamespace(configfile=str(config.parent / "supervisord.conf"), plugins=[]),
            stdout=sys.stdout,
            exitstatus=0,
        )
        monkeypatch.chdir("/")
        monkeypatch.setenv("ROLLOUT_HOME", str(ROOT))  # of another folder
        plugin = make_plugin(controller)
        plugin.do_rollout("pause")
        assert controller.exitstatus == 0
        assert "paused = true" in config.read_text()
        plugin.do_rollout("stauts")
        assert controller.exitstatus == 2


class TestAnswers:
    """With ``--json`` a script reads objects, and nothing else."""

    def test_one_object(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What a command says is in it, with what it was about."""
        assert dispatch(["pause", "--json", "--config", str(config)]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer.pop("time").endswith("Z")
        assert answer == {
            "command": "pause",
            "told": ["paused: traffic stays as it is; `rollout resume` goes on"],
            "deployment": "other",
            "paused": True,
            "exit_code": 0,
        }

    def test_what_is_printed_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A command that prints by itself breaks no line of JSON, also between two answers."""

        def run() -> int:
            sys.stdout.write("one\n")
            hand_out()
            sys.stdout.write("two three\n")
            raise Misuse("no")

        with pytest.raises(Misuse):
            answered("x", run, as_json=True)
        first, last = map(json.loads, capsys.readouterr().out.splitlines())
        assert first["told"] == ["one"]
        assert (last["told"], last["error"], last["exit_code"]) == (["two three"], "no", 2)


class TestProcess:
    """The command as a process."""

    @pytest.mark.parametrize(
        "entry",
        [
            ("-m", "rollout"),
            ("-c", "from rollout.__main__ import main; main()"),
        ],
        ids=["python -m rollout", "rollout"],
    )
    def test_each_entry_is_the_same(self, entry: tuple[str, str], config: Path) -> None:
        """The module and the console command say and do the same."""
        done = [
            subprocess.run(
                [sys.executable, *entry, *words],
                cwd=config.parent,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
            for words in (["--version"], ["stauts"], ["pause", "--config", str(config)])
        ]
        assert [each.returncode for each in done] == [0, 2, 0]
        assert done[0].stdout == f"rollout {__version__}\n"
        assert done[1].stderr == (
            "rollout: 'stauts' is not a command; did you mean `rollout status`?\n"
        )

    @pytest.mark.parametrize(
        "words", [("status",), ("rollback",), ("retire", "v1"), ("verify", "v2"), ("adopt",)]
    )
    def test_ctrl_c(self, words: tuple[str, ...], config: Path) -> None:
        """Ctrl-C while it waits for the server ends it with 130 and not a word."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.settimeout(60)
            process = subprocess.Popen(
                [sys.executable, "-m", "rollout", *words, "--config", str(config)],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "TEMPORAL_ADDRESS": f"127.0.0.1:{silent.getsockname()[1]}",
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            silent.accept()
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=20) == (b"", b"")
            assert process.returncode == 130


class TestImporting:
    """What is imported before it is known what is wanted."""

    @pytest.mark.parametrize(
        ("module", "not_wanted"),
        [
            (
                "rollout.commands.command_table",
                {"httpx", "msgspec", "prometheus_client", "rich", "supervisor", "temporalio"},
            ),
            (
                "rollout.supervision.launch",
                {"asyncio", "httpx", "json", "msgspec", "psutil", "rich", "structlog", "supervisor"}
                | {"temporalio", "tenacity", "tomlkit"},
            ),
        ],
    )
    def test_it_is_light(self, module: str, not_wanted: set[str]) -> None:
        """The table of commands is quick to have, and the launcher takes next to nothing."""
        script = f"import sys, rollout.__main__, {module}; print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
        )
        loaded = {name.partition(".")[0] for name in done.stdout.split()}
        assert "rollout" in loaded
        assert not loaded & not_wanted


def test_what_up_tells_to_type_can_be_typed() -> None:
    """The commands that `make up` ends with are commands."""
    told = [words.split() for words, _ in summary._COMMANDS]
    named = [words[1] for words in told if words[0] == "rollout"]
    assert named == ["status", "logs"]
    assert set(named) <= set(COMMANDS)
