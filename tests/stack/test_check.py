"""The preflight: what it says of supervisord's files and of the machine."""

from __future__ import annotations

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest
from supervisor import options as supervisor_options

from rollout.base.settings import SUPERVISORD_CONF, embedded_temporal
from rollout.supervision import conf as supervisor_conf
from rollout.supervision.programs import Program, read
from tests.support.stack_clone import stack_clone


def problems_of(folder: Path, text: str, **included: str) -> list[str]:
    """The problems of a configuration ``text`` that includes files of the names given."""
    for name, content in included.items():
        (folder / f"{name}.ini").write_text(content)
    conf = folder / "supervisord.conf"
    conf.write_text(
        f"[supervisord]\nlogfile=%(here)s/log\n[include]\nfiles = {folder}/*.ini\n{text}\n"
    )
    return list(supervisor_conf.read(conf).problems)


class TestSupervisorConf:
    """Reading supervisord's configuration."""

    def test_every_documented_option_is_known(self, tmp_path: Path) -> None:
        """No option of supervisor's own sample file is called unknown."""
        sample = files("supervisor").joinpath("skel/sample.conf").read_text(encoding="utf-8")
        text = re.sub(r"^;(?=\[|\w+ ?=)", "", sample, flags=re.MULTILINE)
        for option, value in (
            ("user", None),  # these two must exist on this machine
            ("chown", None),
            ("events", "TICK_5"),
            ("programs", "theprogramname"),
            ("files", f"{tmp_path}/*.none"),
            ("directory", str(tmp_path)),
            ("logfile", f"{tmp_path}/log"),
            ("stdout_logfile", f"{tmp_path}/log"),
            ("stderr_logfile", f"{tmp_path}/log"),
        ):
            line = f"{option}={value}" if value else ""
            text = re.sub(rf"^{option} ?=.*$", line, text, flags=re.MULTILINE)
        conf = tmp_path / "supervisord.conf"
        conf.write_text(text)
        found = supervisor_conf.read(conf)
        assert found.problems == ()
        assert {program.name for program in found.programs} == {
            "theprogramname",
            "theeventlistenername",
        }

    def test_programs(self, tmp_path: Path) -> None:
        """A program has its name, its words, its folder and its own environment."""
        conf = tmp_path / "supervisord.conf"
        conf.write_text(
            "[supervisord]\n[unix_http_server]\nfile=%(here)s/s.sock\n"
            f"[program:a]\ncommand = run 'two words'\n   last\ndirectory={tmp_path}\n"
            'environment = KEY="value"\n'
        )
        found = supervisor_conf.read(conf)
        assert found.socket == f"{tmp_path}/s.sock"
        assert found.programs == (
            Program(
                name="a",
                group="a",
                command="run 'two words'\nlast",
                directory=tmp_path,
                environment={"KEY": "value"},
            ),
        )

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                "[program:a]\ncommand=cat\nautorestrat=true",
                "autorestrat is not an option of [program:a]; did you mean autorestart?",
            ),
            (
                "[progam:a]\ncommand=cat",
                "[progam:a] is not a section of supervisord.conf; did you mean [program:a]?",
            ),
            (
                "[supervisorctl]\nserverulr=unix:///x",
                "serverulr is not an option of [supervisorctl]; did you mean serverurl?",
            ),
            ("[program:a]\ncommand=cat\nstartsecs=soon", "[program:a] startsecs: "),
            ("[program:a]\nautostart=false", "program:a does not specify a command"),
            ("[program:a]\ncommand=cat %(ENV_NOT_THERE)s", "ENV_NOT_THERE"),
            ("[program:a]\ncommand=cat 'open", "a: its command cannot be read: No closing"),
            ("[program:a]\ncommand=cat\njust words", "'just words"),
            ("[group:g]\nprograms=a,b", "[group:g] names unknown program"),
            ("[eventlistener:e]\ncommand=cat\nevents=PROCES_STATE", "PROCES_STATE"),
        ],
    )
    def test_problem(self, tmp_path: Path, text: str, said: str) -> None:
        """Each mistake is one problem, on one line that names its place."""
        (problem,) = problems_of(tmp_path, text)
        assert said in problem
        assert "\n" not in problem

    def test_names_the_file(self, tmp_path: Path) -> None:
        """A problem in an included file is told with that file's name."""
        (problem,) = problems_of(tmp_path, "", one="[program:a]\ncommand=cat\nprioritty=1\n")
        assert "one.ini: prioritty is not an option of [program:a]" in problem

    def test_no_text(self, tmp_path: Path) -> None:
        """A file that is no text is told by its name."""
        (tmp_path / "one.ini").write_bytes(b"[program:a]\ncommand=\xff\n")
        (problem,) = problems_of(tmp_path, "")
        assert problem.endswith("one.ini cannot be read: it is not UTF-8 text")

    def test_one_name_twice(self, tmp_path: Path) -> None:
        """Two sections of one name, which supervisord would merge, are told with both files."""
        section = "[program:a]\ncommand=cat\n"
        (problem,) = problems_of(tmp_path, "", one=section, two=section)
        assert problem.startswith("[program:a] is in ")
        assert "one.ini" in problem
        assert "two.ini" in problem

    def test_many_at_once(self, tmp_path: Path) -> None:
        """Threads that read at the same time disturb neither each other nor supervisor's own."""
        conf = tmp_path / "supervisord.conf"
        conf.write_text("[supervisord]\n[program:a]\ncommand=cat\nprioritty=1\n")
        genuine = supervisor_options.UnhosedConfigParser
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda _: supervisor_conf.read(conf), range(48)))
        assert len(set(map(repr, found))) == 1
        assert found[0].programs[0].command == "cat"
        assert found[0].problems[0].endswith("[program:a]; did you mean priority?")
        assert supervisor_options.UnhosedConfigParser is genuine

    def test_options_of_plugins(self, tmp_path: Path) -> None:
        """Options of plugin sections belong to the plugin, whatever their names."""
        assert not problems_of(
            tmp_path,
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\nanything=1\n"
            "[ctlplugin:x]\nsupervisor.ctl_factory=a:b\nfolder=/tmp\n",
        )


@pytest.mark.parametrize("variable", ["TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "OTHER", "PATH"])
def test_when_the_embedded_server_is_needed(variable: str) -> None:
    """temporal.ini leaves the server out for the variables that `embedded_temporal` goes by."""
    programs = supervisor_conf.read(SUPERVISORD_CONF).programs
    (temporal,) = (each for each in programs if each.name == "temporal")
    environ = {variable: "something"}
    assert read(temporal, environ).needed == embedded_temporal(environ)


class TestCheckCommand:
    """``python -m stack check`` in a copy of this checkout."""

    def test_as_shipped(self) -> None:
        """Nothing stands in the way of the stack as it is shipped."""
        with stack_clone() as clone:
            done = clone.python("-m", "rollout", "check")
        assert done.stdout == "check: nothing stands in the way\n"
        assert done.returncode == 0

    def test_says_everything_at_once(self) -> None:
        """Every mistake in every place is told in one go, a line each, with exit code 2."""
        with stack_clone() as clone, socket.create_server(("127.0.0.1", 0)) as owner:
            clone.environ["PROMETHEUS_PORT"] = str(owner.getsockname()[1])
            clone.edit("workers/programs/worker-v1.ini", "compatible", "compatibel")
            clone.edit("workers/programs/worker-v2.ini", "--build-id v2", "--build-id v9")
            clone.edit("supervisord.conf", "stopwaitsecs = 15", "stopwaitsec = 15")
            clone.edit("supervisord.conf", "          prometheus\n", "          prometheuss\n")
            clone.edit("rollout.toml", "percentage = 10", "percentage = 110")
            done = clone.python("-m", "rollout", "check")
        lines = done.stdout.splitlines()
        assert done.returncode == 2
        for said in (
            "worker-v1: .*compatibel",
            "worker-v2: .*v9",
            r"stopwaitsec is not an option of \[program:load\]; did you mean stopwaitsecs\?",
            "prometheus: prometheuss is not installed",
            r"rollout: rollout.toml line \d+: .*percentage",
            r"port \d+ \(prometheus\) is taken by .*pid \d+",
        ):
            assert [line for line in lines if re.search(said, line)], (said, lines)
        assert len(lines) == 6

    @pytest.mark.parametrize(
        ("old", "new", "code", "said"),
        [
            ('name = "greetings"', 'name = "other"', 2, "'other', and no worker program is of it"),
            ('target = "v2"', 'target = "v7"', 0, "warning: no worker program here runs 'v7'"),
        ],
    )
    def test_what_no_program_has(self, old: str, new: str, code: int, said: str) -> None:
        """A deployment that no worker program has is an error, a version a warning."""
        with stack_clone() as clone:
            clone.edit("rollout.toml", old, new)
            done = clone.python("-m", "rollout", "check")
        assert said in done.stdout.splitlines()[0]
        assert done.returncode == code

    def test_another_server_that_is_away(self) -> None:
        """A Temporal server that this stack does not run itself is told if it is away, once."""
        with stack_clone(TEMPORAL_ADDRESS="127.0.0.1:1") as clone:
            done = clone.python("-m", "rollout", "check")
        (line,) = done.stdout.splitlines()
        assert line.startswith("check: Temporal is not reachable at 127.0.0.1:1 (Connection ref")
        assert done.returncode == 1

    @pytest.mark.parametrize(("host", "code"), [("a.example", 2), ("192.0.2.77", 1)])
    def test_a_metrics_host_that_is_none(self, host: str, code: int) -> None:
        """METRICS_HOST has to be an IP address of this machine."""
        with stack_clone(METRICS_HOST=host) as clone:
            done = clone.python("-m", "rollout", "check")
        assert done.stdout.startswith("check: METRICS_HOST=")
        assert done.returncode == code

    @pytest.mark.parametrize("value", ["http", "0", "70000"])
    def test_a_port_that_is_none(self, value: str) -> None:
        """A port variable that holds no port is told by its name."""
        with stack_clone(PROMETHEUS_PORT=value) as clone:
            done = clone.python("-m", "rollout", "check")
        assert done.returncode == 2
        assert done.stdout.startswith(f"check: PROMETHEUS_PORT='{value}' is not a port")
