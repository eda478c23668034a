"""The text, the name and the port of a worker's program file."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from rollout.base.exit import Misuse
from rollout.base.home import Home
from rollout.base.listeners import is_free
from rollout.base.settings import PORTS, ROOT
from rollout.supervision.fleet.names import program_name
from rollout.supervision.fleet.program_files import NewWorker, free_port, taken_ports
from rollout.supervision.programs import Program, read
from tests.support.temporal_server import free_port as any_free_port


class TestText:
    """What stands in the file."""

    @pytest.mark.parametrize(
        ("build_id", "strategy"), [("v1", "compatible"), ("v2", "incompatible")]
    )
    def test_it_is_that_of_the_shipped_files(self, build_id: str, strategy: str) -> None:
        """A new build's file differs from v1's and v2's in what it names in full, and the port."""
        shipped = (ROOT / f"workers/programs/worker-{build_id}.ini").read_text()
        port = re.search(r"--port (\S+)$", shipped, re.MULTILINE)
        assert port
        made = NewWorker(build_id, strategy, "greetings").render(port[1])
        assert made.replace("          --deployment greetings\n", "") == shipped

    def test_every_word_is_in_the_command(self) -> None:
        """The app, the task queue and further flags follow, each once."""
        worker = NewWorker(
            "1.0+b", "compatible", "shop", "shop.workflows", "orders", ("--drain", "30s")
        )
        assert (
            "          python -m rollout worker --build-id 1.0+b --strategy compatible --managed\n"
            "          --deployment shop --task-queue orders --app shop.workflows --drain 30s\n"
            "          --metrics-port 9105\n"
        ) in worker.render(9105)
        assert worker.name == "worker-1.0+b"
        assert program_name("1.0+b:2") == "worker-1.0+b-2"

    def test_one_sha_of_several_services(self, tmp_path: Path) -> None:
        """In a home that was set up the deployment is part of the name, in a checkout it is not."""
        own = Home(tmp_path, tmp_path, tmp_path / "s.conf", tmp_path, is_set_up=True)
        assert program_name("3f9c2ab", "shop", own) == "worker-shop-3f9c2ab"
        assert program_name("3f9c2ab", "shop", replace(own, is_set_up=False)) == "worker-3f9c2ab"
        with pytest.raises(Misuse, match="deployment name 'a b' cannot stand in a program file"):
            program_name("3f9c2ab", "a b", own)

    def test_its_own_text_is_known_again(self, tmp_path: Path) -> None:
        """The port is read from a file of this worker, and from no other."""
        worker, file = NewWorker("v3", "compatible", "d"), tmp_path / "worker-v3.ini"
        assert worker.port_in(file) is None
        file.write_text(worker.render(9107))
        assert worker.port_in(file) == 9107
        assert NewWorker("v3", "incompatible", "d").port_in(file) is None
        file.write_text(worker.render(9107) + "autostart = false\n")
        assert worker.port_in(file) is None

    @pytest.mark.parametrize("app", [None, "shop.workflows"])
    @pytest.mark.parametrize("launcher", ["rollout launch", "stack.launch"])
    def test_it_is_read_as_the_worker_that_it_is(self, app: str | None, launcher: str) -> None:
        """The reader of command lines knows it, and one that was written with the old launcher."""
        text = NewWorker("v3", "compatible", "shop", app).render(9107)
        lines = text.replace("-m rollout launch", f"-m {launcher}").splitlines()
        told = read(Program("p", "p", " ".join(lines[1:5]).partition("= ")[2]), {})
        assert (told.kind, told.build_id, told.deployment) == ("worker", "v3", "shop")
        assert (told.app, told.managed, told.ports) == (app, True, (9107,))

    @pytest.mark.parametrize("build_id", ["", "a b", "a/b", "a%b", "../x", "ä"])
    def test_what_is_no_build_id_names_no_file(self, build_id: str) -> None:
        """It is refused, so that no name leads out of the folder."""
        with pytest.raises(Misuse):
            program_name(build_id)


class TestPorts:
    """Which port a new worker gets."""

    def test_what_others_name_is_taken(self) -> None:
        """Ports in any command, moved ones, defaults of moved ones, and the stack's own."""
        taken = taken_ports(
            [
                Program("p", "p", command)
                for command in (
                    "a --port ${P:-9103}",
                    "b --x=127.0.0.1:9104",
                    "c ${UNSET} 9105",
                    "d 123456",
                )
            ],
            {"P": "9106", "LOAD_METRICS_PORT": "9107"},
        )
        assert taken == {9103, 9104, 9105, 9106, 9107, *PORTS.values()}

    def test_the_first_that_is_free(self) -> None:
        """Neither one that is taken nor one that something listens on."""
        first = free_port(set())
        assert first >= 9103
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", first))
            listener.listen()
            assert free_port(set()) > first
        second = free_port({first})
        assert second > first

    def test_no_number_of_no_port_is_free(self) -> None:
        """Only 1 to 65535 are ports."""
        assert not is_free(0)
        assert not is_free(70_000)
        assert is_free(any_free_port())
