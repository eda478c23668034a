"""What a program's command is read as, however the program is started."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rollout.base.command_line import Parser
from rollout.base.exit import Misuse
from rollout.supervision.command_words import find_start, last_value
from rollout.supervision.programs import Command, Program, possible_ports, read, workers


def command(text: str, environment: dict[str, str] | None = None, **environ: str) -> Command:
    """What a program of the command ``text`` is read as."""
    return read(Program("p", "p", text, environment=environment), environ)


class TestKind:
    """What a program is."""

    @pytest.mark.parametrize(
        "start",
        [
            "python -m workers",
            "python -m rollout worker",
            "python -m rollout --config other.toml worker",
            "rollout worker",
            "/x/bin/rollout worker",
            "/x/bin/python /x/bin/rollout worker",
            "/x/.venv/bin/python3 -m workers",
            "python -O -m workers",
            "python -X dev -m workers",
            "python -Xdev -W ignore -m workers",
            "python -OOm workers",
            "python -mworkers",
            "python -u --check-hash-based-pycs never -m workers",
            "pypy3 -m workers",
            "python3.13t -m workers",
            "/usr/bin/env python3.12 -m workers",
            "nice -n 5 python -m workers",
            "env A=b nice uv run python -m workers",
            "python -m rollout launch --port 9101 python -m workers",
            "python -m stack.launch --port 9101 python -m workers",
            "/x/bin/rollout launch --env A=b python -m rollout worker",
            "/usr/bin/env python3 -Xdev -m rollout launch nice python -O -m workers",
        ],
    )
    def test_a_worker_is_known_however_it_is_started(self, start: str) -> None:
        """Neither the launcher, nor what stands before Python, nor its own options hide it."""
        found = command(f"{start} --build-id v7 --deployment=shop --metrics-port 9101 --managed")
        assert (found.kind, found.complaint) == ("worker", None)
        assert (found.build_id, found.deployment, found.versioning) == ("v7", "shop", "deployment")
        assert (found.metrics_port, found.ports, found.managed) == (9101, (9101,), True)
        assert found.is_ours

    @pytest.mark.parametrize(
        ("text", "kind", "port"),
        [
            ("python -m metrics --port 9192", "exporter", 9192),
            ("python -m rollout exporter --port=9192", "exporter", 9192),
            ("rollout run --metrics-port 9193", "controller", 9193),
            ("python -m client load --metrics-port 9191", "load", 9191),
            ("/opt/prometheus --web.listen-address=:9090", "prometheus", 9090),
            ("prometheus --web.listen-address 127.0.0.1:9090", "prometheus", 9090),
            ("alertmanager --web.listen-address=:9093", "alertmanager", 9093),
            ("prometheus-alertmanager --web.listen-address=:9093", "alertmanager", 9093),
            ("temporal server start-dev --port 7233", "temporal", None),
            ("python -m rollout launch --port 3000 grafana server", "grafana", None),
            ("python -m client greet", "other", None),
            ("python -m rollout logs", "other", None),
            ("rollout", "other", None),
            ("python -c 'import workers' -m workers", "other", None),
            ("python script.py -m workers", "other", None),
            ("python", "other", None),
            ("sleep 5", "other", None),
            ("", "other", None),
        ],
    )
    def test_the_others(self, text: str, kind: str, port: int | None) -> None:
        """Each program of the stack is told from the rest, with where it serves metrics."""
        found = command(text)
        assert (found.kind, found.metrics_port) == (kind, port)


class TestFlags:
    """What a program is told."""

    def test_of_two_the_last_one_counts(self) -> None:
        """A doubled flag is read as the worker itself reads it."""
        words = ["--build-id", "v1", "--build-id=v2", "--", "--build-id", "v3"]
        assert last_value(words, "--build-id") == "v2"
        parser = Parser()
        parser.add_argument("--build-id")
        parser.add_argument("rest", nargs="*")
        assert parser.parse_args(words).build_id == "v2"

    def test_a_beginning_is_no_flag(self) -> None:
        """Neither the reader nor our own parsers take a flag's beginning for the whole of it."""
        assert last_value(["--build", "v1"], "--build-id") is None
        assert last_value(["--build-id", "--managed"], "--build-id") is None
        parser = Parser(prog="p")
        parser.add_argument("--build-id")
        with pytest.raises(Misuse, match="unrecognized arguments: --build v1"):
            parser.parse_args(["--build", "v1"])

    def test_the_environment_where_the_files_tell_it(self) -> None:
        """A variable of the program stands for the flag that is not given, and for no other."""
        variables = {
            "BUILD_ID": "v3",
            "DEPLOYMENT": "shop",
            "VERSIONING": "none",
            "METRICS_PORT": "9105",
            "APP": "shop.workflows",
            "MANAGED": "1",
        }
        found = command("python -m workers", variables)
        assert (found.build_id, found.deployment, found.versioning) == ("v3", "shop", "none")
        assert (found.metrics_port, found.ports) == (9105, (9105,))
        assert (found.app, found.managed) == ("shop.workflows", True)
        assert command("python -m workers --build-id v4", variables).build_id == "v4"
        assert command("python -m workers", {}, BUILD_ID="v5").build_id == "v5"

    def test_an_environment_that_only_supervisord_knows(self) -> None:
        """Variables of this process say nothing of a program that supervisord told of."""
        found = command("python -m workers --metrics-port 9101", None, BUILD_ID="v5")
        assert found.build_id is None
        assert workers([found.program], {"BUILD_ID": "v5"}) == ()

    def test_the_launcher_tells_variables(self) -> None:
        """What the launcher sets is known, whoever was asked, and stands in the command."""
        found = command(
            "rollout launch --env BUILD_ID=${B:-v6} python -m workers --drain ${BUILD_ID:-1s}"
        )
        assert (found.build_id, found.environ["BUILD_ID"]) == ("v6", "v6")
        assert found.flag("--drain") == "v6"

    def test_variables_in_the_command(self) -> None:
        """A default counts where the variable is not set, and the variable where it is."""
        text = "rollout launch --port ${P:-9101} python -m workers --metrics-port ${P:-9101}"
        assert command(text).ports == (9101,)
        assert command(text, P="9200").ports == (9200,)
        assert possible_ports(Program("p", "p", text), {"P": "9200"}) == {9101, 9200}


class TestComplaints:
    """Why a program cannot be started as it is written."""

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("cat 'open", "its command cannot be read: No closing quotation"),
            ("rollout launch --then true cat", "--then needs --port"),
            ("rollout launch", "COMMAND is missing"),
            ("rollout launch cat ${NOT_SET}", "the environment variable NOT_SET is not set"),
            ("rollout launch --port ${NOT_SET} cat", "the environment variable NOT_SET is not set"),
            (
                "rollout launch --env A=${NOT_SET} cat",
                "the environment variable NOT_SET is not set",
            ),
            ("rollout launch --port http cat", "http is not a port"),
            ("python -m workers --build-id v1 --metrics-port x", "x is not a port"),
        ],
    )
    def test_each_is_a_sentence(self, text: str, complaint: str) -> None:
        """It is told, and nothing is raised."""
        assert command(text).complaint == complaint

    def test_a_build_is_known_all_the_same(self) -> None:
        """A worker with a port that is none is a worker still; one of an unknown build is not."""
        assert command("python -m workers --build-id v1 --metrics-port x").build_id == "v1"
        assert command("python -m workers --build-id ${NOT_SET}").build_id is None

    def test_what_is_not_needed(self) -> None:
        """A variable can make a program superfluous; that is no complaint."""
        text = "rollout launch --unless-env ELSEWHERE temporal server start-dev"
        assert command(text).needed
        assert not command(text, ELSEWHERE="1").needed


class TestInvocation:
    """The words with which a program can be run from here."""

    def test_python_is_the_launchers(self, tmp_path: Path) -> None:
        """It is the one beside the launcher's own, also behind another program."""
        (tmp_path / "python").symlink_to(sys.executable)
        launcher = f"{tmp_path}/python -m rollout launch"
        found = command(f"{launcher} python -O -m workers --build-id v1").invocation("--replay")
        own = f"{tmp_path}/python"
        assert found == (own, "-O", "-m", "workers", "--build-id", "v1", "--replay")
        (nice, *rest) = command(f"{launcher} nice -n 5 python -m workers").invocation()
        assert Path(nice).is_absolute()
        assert rest == ["-n", "5", own, "-m", "workers"]

    def test_without_the_launcher(self) -> None:
        """A path stays as it is; a name is looked up beside this Python."""
        assert command("/x/bin/rollout worker").invocation() == ("/x/bin/rollout", "worker")
        beside = str(Path(sys.executable).parent / "python")
        assert command("python -m workers").invocation()[0] == beside


def test_the_first_program_counts() -> None:
    """What stands behind an interpreter belongs to it, though it is a program's name."""
    assert find_start(["python", "x.py", "prometheus"]).kind == "other"


CONTRACT = {"TEMPORAL_DEPLOYMENT_NAME": "shop", "TEMPORAL_WORKER_BUILD_ID": "3f9c2ab"}


class TestContract:
    """Programs that say which version they run in their ``environment=``."""

    @pytest.mark.parametrize(
        "start",
        [
            "/srv/shop/bin/worker",
            "node worker.js --port http --metrics-port x --build-id 9 --managed",
            ".venv/bin/python -m shop.worker",
            "java -jar worker.jar",
            "python -m rollout launch ./worker --deployment other",
        ],
    )
    def test_any_command_is_a_worker_by_its_environment(self, start: str) -> None:
        """Whatever it is written in; and its own flags are not taken for ours."""
        told = {"ROLLOUT_METRICS_PORT": "9201", "ROLLOUT_STRATEGY": "compatible"}
        found = command(start, {**CONTRACT, **told, "ROLLOUT_TASK_QUEUE": "orders"}, BUILD_ID="v9")
        assert (found.kind, found.is_runner, found.complaint) == ("worker", False, None)
        assert (found.build_id, found.deployment, found.versioning) == (
            *("3f9c2ab", "shop"),
            "deployment",
        )
        assert (found.metrics_port, found.ports) == (9201, (9201,))
        assert (found.strategy, found.task_queue, found.managed) == ("compatible", "orders", True)
        assert [each.build_id for each in workers([found.program])] == ["3f9c2ab"]

    def test_both_names_are_needed_and_no_empty_one(self) -> None:
        """Half a name is none: nobody could say which version it runs."""
        for name, value in CONTRACT.items():
            assert command("./worker", {**CONTRACT, name: ""}).kind == "other"
            assert command("./worker", {name: value}).kind == "other"

    def test_the_environment_of_the_reader_makes_nothing_a_worker(self) -> None:
        """A shell that has the variables, in a worker's own terminal, changes no other program."""
        assert command("./worker", {}, **CONTRACT).kind == "other"
        assert command("./worker", None, **CONTRACT).kind == "other"

    def test_a_program_that_is_known_by_its_command_stays_what_it_is(self) -> None:
        """Also where [supervisord] sets the variables for all of its programs."""
        assert command("prometheus --web.listen-address=:9090", CONTRACT).kind == "prometheus"
        assert command("rollout run", CONTRACT).kind == "controller"

    def test_flags_of_our_own_worker_go_before_the_variables(self) -> None:
        """A `rollout worker` takes them where it is told nothing else."""
        found = command("rollout worker --build-id v7 --deployment orders", CONTRACT)
        assert (found.build_id, found.deployment, found.is_runner) == ("v7", "orders", True)
        found = command("rollout worker --strategy compatible", CONTRACT)
        assert (found.build_id, found.deployment, found.is_runner) == ("3f9c2ab", "shop", True)

    def test_a_worker_without_a_metrics_port_has_none(self) -> None:
        """No scrape target is made for it."""
        assert command("./worker", CONTRACT).metrics_port is None
        assert command("./worker", {**CONTRACT, "ROLLOUT_METRICS_PORT": ""}).ports == ()

    def test_a_port_that_is_none_is_told(self) -> None:
        """Not passed over, which would leave the worker out of the metrics in silence."""
        found = command("./worker", {**CONTRACT, "ROLLOUT_METRICS_PORT": "http"})
        assert found.complaint == "http is not a port"

    def test_what_a_running_supervisord_was_started_with_is_not_guessed(self) -> None:
        """Only the program's own variables count where this process's may be others."""
        program = Program("p", "p", "rollout worker", environment={}, from_files=False)
        assert read(program, {"BUILD_ID": "v9"}).build_id is None
        assert read(replace(program, from_files=True), {"BUILD_ID": "v9"}).build_id == "v9"
