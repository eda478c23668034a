"""The program files of a worker of any command: what supervisord makes of their text."""

from __future__ import annotations

import os
import pwd
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rollout.base.env_file import read_env_file
from rollout.base.exit import Failure, Misuse
from rollout.supervision import conf as supervisor_conf
from rollout.supervision.fleet import ini
from rollout.supervision.fleet.command_addition import refuse_command, warnings_about
from rollout.supervision.fleet.command_worker import (
    CommandWorker,
    another_process,
    metrics_port_in,
)
from rollout.supervision.fleet.names import process_number
from rollout.supervision.fleet.program_files import NewWorker
from rollout.supervision.fleet.release_folder import folder_fingerprint
from rollout.supervision.programs import Program, read
from tests.support.examples import many

_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
_TEXTS = st.text(
    st.sampled_from("ab%();#,='\"\\$ \t{}:/") | st.characters(exclude_categories=["Cs", "Cc"]),
    max_size=12,
)


def worker(tmp_path: Path, *words: str, **more: object) -> CommandWorker:
    """A worker of the build 3f9c2ab that runs ``words``, by default one with a port of its own."""
    told = words or ("bin/worker", "--metrics-port", "{metrics_port}")
    return CommandWorker(
        "3f9c2ab",
        "incompatible",
        "shop",
        told,
        tmp_path,
        **{"metrics_port": 9201, **more},  # type: ignore[arg-type]
    )


def as_read(text: str) -> Program:
    """The one program of a program file with ``text``, as supervisord reads it."""
    with tempfile.TemporaryDirectory() as folder:
        programs = Path(folder) / "programs"
        programs.mkdir()
        (programs / "p.ini").write_text(text, "utf-8")
        conf = Path(folder) / "supervisord.conf"
        conf.write_text("[supervisord]\n[include]\nfiles = programs/*.ini\n", "utf-8")
        found = supervisor_conf.read(conf)
    assert found.problems == ()
    (program,) = found.programs
    return program


class TestIni:
    """Texts as they must stand in a program file."""

    @hypothesis_settings(max_examples=many(300))
    @given(st.lists(_TEXTS, min_size=1, max_size=4), st.dictionaries(_NAMES, _TEXTS, max_size=3))
    def test_supervisord_reads_exactly_what_was_told(
        self, words: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        """Whatever is in the words and the values; what cannot be written is refused."""
        try:
            text = f"command = {ini.command(['x', *words])}\n"
            if variables:
                text += f"environment = {ini.environment(variables)}\n"
        except Misuse:
            return  # what can be written is told below
        program = as_read(f"[program:p]\n{text}")
        assert shlex.split(program.command) == ["x", *words]
        assert program.environment == variables

    @hypothesis_settings(max_examples=many(200))
    @given(_TEXTS)
    def test_only_what_no_quotes_would_save_is_refused(self, value: str) -> None:
        """Supervisord's own parser gives none of the refused values back, in either quotes."""
        try:
            ini.environment({"A": value})
        except Misuse:
            escaped = value.replace("%", "%%")
            for quote in "'\"":
                text = f"command = x\nenvironment = A={quote}{escaped}{quote}\n"
                with pytest.raises(AssertionError):
                    assert as_read(f"[program:p]\n{text}").environment == {"A": value}

    @pytest.mark.parametrize(
        "value", ["a b", "50%", "%(process_num)d", "a,b=c", "it's", 'say "x" now', "#1", "a;b", "ü"]
    )
    def test_usual_values_can_be_written(self, value: str) -> None:
        """None of them is among those that are refused."""
        program = as_read(
            f"[program:p]\ncommand = x\nenvironment = {ini.environment({'A': value})}\n"
        )
        assert program.environment == {"A": value}

    @pytest.mark.parametrize("value", ["a\nb", "a ;b", "'a'", "x 'y'", "\"'", "%(here)s", "\0"])
    def test_what_supervisord_cannot_read_back_is_refused(self, value: str) -> None:
        """With the name of the variable, or of what is wrong, and where else it may stand."""
        with pytest.raises(Misuse, match=r"A|control"):
            ini.environment({"A": value})

    def test_a_replay_command_has_no_env_file_to_go_to(self) -> None:
        """It is a variable of the contract, so a script is the way out."""
        with pytest.raises(Misuse, match="put it into a script of its own"):
            ini.environment({"ROLLOUT_REPLAY": """sh -c 'x "y"'"""})


class TestProgramFile:
    """What one process's file says."""

    def test_it_is_recognised_as_the_worker_that_it_is(self, tmp_path: Path) -> None:
        """By the contract in its environment, and each process with its own port."""
        told = worker(
            tmp_path,
            variables={"MODE": "a b", "LISTEN": ":{metrics_port}"},
            processes=2,
            task_queue="orders",
            fingerprint="abc",
            replay="bin/replay --quiet",
        )
        for number, name in enumerate(("worker-3f9c2ab", "worker-3f9c2ab@2"), start=1):
            program = as_read(told.render(number, 9200 + number, tmp_path / f"{name}.log"))
            found = read(program, {})
            assert (found.kind, found.is_runner, found.complaint) == ("worker", False, None)
            assert (found.namespec, found.deployment, found.build_id) == (name, "shop", "3f9c2ab")
            assert (found.strategy, found.fingerprint) == ("incompatible", "abc")
            assert (found.task_queue, found.metrics_port) == ("orders", 9200 + number)
            assert found.ports == (9200 + number,)
            assert found.words == ("bin/worker", "--metrics-port", f"{9200 + number}")
            assert found.executable == str(tmp_path / "bin/worker")
            assert found.environ["LISTEN"] == f":{9200 + number}"
            assert found.environ["MODE"] == "a b"
            assert found.environ["ROLLOUT_REPLAY"] == "bin/replay --quiet"
            assert (program.directory, program.log_file) == (tmp_path, tmp_path / f"{name}.log")

    def test_without_a_port_none_is_taken_from_around(self, tmp_path: Path) -> None:
        """A variable of that name in supervisord's environment is the controller's."""
        text = worker(tmp_path, "bin/worker", metrics_port=None).render(1, None, Path("/l.log"))
        found = read(as_read(text), {"ROLLOUT_METRICS_PORT": "9193"})
        assert (found.kind, found.metrics_port, found.ports) == ("worker", None, ())
        assert found.environ["ROLLOUT_METRICS_PORT"] == ""

    def test_another_user_is_at_home_where_he_is(self, tmp_path: Path) -> None:
        """Supervisord changes neither HOME nor USER with the user; --env may say otherwise."""
        whose = pwd.getpwnam("nobody")
        told = worker(tmp_path, user="nobody", variables={"USER": "shop"})
        program = as_read(told.render(1, 9201, Path("/l.log")))
        found = read(program, {"HOME": "/root", "LOGNAME": "root"}).environ
        assert (found["HOME"], found["LOGNAME"]) == (whose.pw_dir, "nobody")
        assert found["USER"] == "shop"
        assert "HOME" not in worker(tmp_path).render(1, 9201, Path("/l.log"))

    def test_only_told_variables_make_it_private(self, tmp_path: Path) -> None:
        """The contract is no secret; what --env told may be one."""
        assert worker(tmp_path).mode is None
        assert worker(tmp_path, variables={"KEY": "x"}).mode == 0o600

    def test_another_process_differs_in_name_log_and_port_alone(self, tmp_path: Path) -> None:
        """So `rollout scale` writes what `rollout add` would have."""
        told = worker(tmp_path, variables={"LISTEN": ":{metrics_port}"}, processes=3)
        first = told.render(1, 9201, tmp_path / "worker-3f9c2ab.log")
        third = told.render(3, 9300, tmp_path / "worker-3f9c2ab@3.log")
        made = another_process(first, "worker-3f9c2ab", "worker-3f9c2ab@3", 9300)
        assert made == third
        assert metrics_port_in(made) == 9300

    def test_another_process_of_a_runner_has_its_own_port_too(self, tmp_path: Path) -> None:
        """Also where its file names the port by a variable, as the shipped ones do."""
        for port in ("9107", "${WORKER_V1_METRICS_PORT:-9101}"):
            text = NewWorker("v1", "compatible", "shop").render(port)
            made = another_process(text, "worker-v1", "worker-v1@2", 9108)
            program = as_read(made.replace("%(here)s/../../var/log/", f"{tmp_path}/"))
            found = read(program, {})
            assert (found.namespec, found.metrics_port, found.ports) == (
                "worker-v1@2",
                9108,
                (9108,),
            )

    @pytest.mark.parametrize(
        ("told", "message"),
        [
            ({"variables": {"TEMPORAL_WORKER_BUILD_ID": "x"}}, "--env cannot set TEMPORAL_WORKER"),
            ({"user": "a b"}, "'a b' is not the name of a user"),
            ({"processes": 0}, "0 processes: give a number"),
            ({"metrics_port": None}, r"stands for a port, and none is told: give --metrics-port"),
            ({"variables": {"P": "9201"}, "processes": 2}, "9201 is the port of the first of 2"),
            ({"variables": {"A B": ""}}, "'A B' is not the name of an environment variable"),
        ],
    )
    def test_what_is_no_worker_is_refused(
        self, tmp_path: Path, told: dict[str, object], message: str
    ) -> None:
        """Before anything is written."""
        with pytest.raises(Misuse, match=message):
            worker(tmp_path, **told)

    def test_the_processes_of_one_build_are_told_from_anothers(self) -> None:
        """A build id may end as the number of a process would, but for its sign."""
        name = "worker-v1"
        found = [process_number(each, name) for each in (name, f"{name}@2", "worker-v1.2", "x@2")]
        assert found == [1, 2, None, None]
        assert [process_number(f"{name}@{end}", name) for end in ("", "0", "01", "x")] == [None] * 4


class TestRefusals:
    """What is looked at before a program is written."""

    def test_a_command_that_is_not_there(self, tmp_path: Path) -> None:
        """Seen from the release folder, or in PATH."""
        with pytest.raises(Misuse, match=r"bin/worker is no program that can be run, seen from"):
            refuse_command(worker(tmp_path))
        with pytest.raises(Misuse, match=r"no-such-program is no program .* in PATH"):
            refuse_command(worker(tmp_path, "no-such-program"))
        refuse_command(worker(tmp_path, "sleep", "1"))

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can find out for another user")
    def test_a_user_who_cannot_run_the_launcher(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An installation that is root's alone would fail at each start, in a log."""
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\n")
        python.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(python))
        with pytest.raises(Failure, match=rf"nobody cannot run {python} in .*: install rollout"):
            refuse_command(worker(tmp_path, "sleep", user="nobody", metrics_port=None))
        with pytest.raises(Misuse, match="this machine has no user no-such-user"):
            refuse_command(worker(tmp_path, "sleep", user="no-such-user"))

    def test_variables_that_contradict(self, tmp_path: Path) -> None:
        """A name told twice is no way to say which counts, and the contract is the file's own."""
        file = tmp_path / "env"
        file.write_text("KEY=x\n")
        told = {"env_file": file, "metrics_port": None}
        with pytest.raises(Misuse, match="KEY is told by --env and by"):
            refuse_command(worker(tmp_path, "sleep", variables={"KEY": "y"}, **told))
        file.write_text("ROLLOUT_STRATEGY=compatible\n")
        with pytest.raises(Misuse, match="cannot set ROLLOUT_STRATEGY"):
            refuse_command(worker(tmp_path, "sleep", **told))

    def test_secrets_that_everybody_may_read_are_told(self, tmp_path: Path) -> None:
        """It works, and should be mended."""
        file = tmp_path / "env"
        file.write_text("KEY=x\n")
        told = worker(tmp_path, env_file=file)
        file.chmod(0o644)
        assert warnings_about(told) == [
            f"everybody on this machine may read {file}: `chmod 600 {file}`"
        ]
        file.chmod(0o640)
        assert warnings_about(told) == []


class TestEnvFile:
    """``NAME=value`` a line."""

    def test_it_is_read_as_others_read_it(self, tmp_path: Path) -> None:
        """Comments, blank lines, the word export and quotes are no part of the values."""
        file = tmp_path / "env"
        file.write_text("# keys\n\nA=1\nexport B = 'x y'\nC=\"a=#b\"\nD=\nE=it's\n")
        assert read_env_file(file) == {"A": "1", "B": "x y", "C": "a=#b", "D": "", "E": "it's"}

    def test_a_line_that_is_none_is_named_without_its_secret(self, tmp_path: Path) -> None:
        """By its number: what stands in it may be a key."""
        file = tmp_path / "env"
        file.write_text("A=1\nsecret\n")
        with pytest.raises(Failure, match=r"env, line 2, is not NAME=value$"):
            read_env_file(file)
        with pytest.raises(Failure, match="cannot be read: No such file"):
            read_env_file(tmp_path / "none")


class TestFingerprint:
    """What tells the code in one release folder from that in another."""

    def test_code_tells_and_what_comes_with_running_it_does_not(self, tmp_path: Path) -> None:
        """Neither an environment, nor what is compiled, hidden or logged."""
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop" / "worker.py").write_text("a = 1\n")
        before = folder_fingerprint(tmp_path)
        for name in (".venv/lib/x.py", "shop/__pycache__/worker.pyc", "node_modules/x.js", "x.log"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("x")
        (tmp_path / "env" / "lib").mkdir(parents=True)
        (tmp_path / "env" / "pyvenv.cfg").write_text("")
        (tmp_path / "env" / "lib" / "y.py").write_text("x")
        assert folder_fingerprint(tmp_path) == before
        (tmp_path / "shop" / "worker.py").write_text("a = 2\n")
        assert folder_fingerprint(tmp_path) != before

    def test_a_folder_without_code_tells_nothing(self, tmp_path: Path) -> None:
        """Two empty folders would be the same code."""
        with pytest.raises(Misuse, match="holds no file that tells"):
            folder_fingerprint(tmp_path)
