"""`rollout init`: beside a supervisord that was there before, from nothing to a first rollout."""

from __future__ import annotations

import json
import re
import secrets
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

from rollout.core.config_file import load, parse
from tests.support.own_home import OwnHome
from tests.support.supervisord import PrivateSupervisord
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually


@pytest.fixture
def name() -> str:
    """A deployment of the test's own, on the server that all share."""
    return f"shop-{secrets.token_hex(3)}"


@pytest.fixture
def supervisord() -> Iterator[PrivateSupervisord]:
    """One that runs, with a program of somebody else's in it."""
    made = PrivateSupervisord()
    made.configure("theirs", "command = sleep 600", "startsecs = 0")
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def home(temporal_server: DevServer, supervisord: PrivateSupervisord) -> OwnHome:
    """A home to be made beside it."""
    return OwnHome(temporal_server, supervisord)


class TestFirstDay:
    """From `init` to a version that is retired."""

    async def test_to_a_completed_rollout(self, home: OwnHome, name: str) -> None:
        """What `init` writes and says is all it takes: two builds by hand, one after the other."""
        supervisord = home.supervisord
        theirs = supervisord.pid("theirs")
        told = home.init("-d", name, "--directory", str(home.folder), *_found_at(supervisord))
        assert f"supervisorctl -c {supervisord.folder}/supervisord.conf update rollout" in _joined(
            told.stdout
        )

        home.update("rollout", "rollout-exporter")
        assert eventually(lambda: home.status()["source"] == "controller", seconds=60)
        assert home.status()["current"] is None
        assert "nothing stands in the way" in home.rollout("check")

        home.worker(name, "3f9c2ab", f"{name}-a")
        home.rollout("to", "3f9c2ab")
        eventually(lambda: home.is_current("3f9c2ab"), seconds=60)
        client = await Client.connect(home.server.address)
        run = await client.execute_workflow("Which", id=secrets.token_hex(8), task_queue=name)
        assert run == "3f9c2ab"

        intent = home.folder / f"{name}.toml"
        text = intent.read_text().replace('"5m"', '"1s"').replace('settle = "20s"', 'settle = "1s"')
        intent.write_text(text)
        home.worker(name, "8b1d0ce", f"{name}-b")
        home.rollout("to", "8b1d0ce", "-d", name)
        eventually(lambda: home.is_current("8b1d0ce"), seconds=60)
        assert f"{name}.toml" not in home.rollout("plan", "--elsewhere", code=1)
        assert "rollout: make 8b1d0ce current" in home.rollout("history")
        assert "3f9c2ab" in home.rollout("logs", "rollout", "--level", "info")

        assert "its supervisord stays as it is" in home.rollout("stack", "down", code=1)
        eventually(lambda: home.is_safe("3f9c2ab"), seconds=60)
        home.rollout("retire", "3f9c2ab", "--yes")
        assert not (home.include / f"{name}-a.ini").exists()
        assert supervisord.pid("theirs") == theirs

    def test_what_prometheus_finds(self, home: OwnHome, name: str) -> None:
        """The exporter serves the versions, and writes down what is to be scraped."""
        home.init("-d", name, "--directory", str(home.folder), *_found_at(home.supervisord))
        home.update("rollout", "rollout-exporter")
        home.worker(name, "1", f"{name}-1")

        targets = home.folder / "var" / "targets" / "stack.json"
        groups = eventually(lambda: json.loads(targets.read_text()))
        (address,) = next(g["targets"] for g in groups if g["labels"]["job"] == "exporter")

        def served() -> bool:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            return f'deployment_name="{name}",namespace="default",status="inactive"' in text

        eventually(served)
        assert str(targets) in (home.folder / "prometheus-scrape.yml").read_text()


class TestWhatItWrites:
    """What is there afterwards, and what is never touched."""

    def test_a_dry_run(self, home: OwnHome, name: str) -> None:
        """Shows every file, and writes none of them, nor the folder."""
        told = home.init("-d", name, "--directory", str(home.folder), "--dry-run").stdout
        assert f"--- {home.folder}/{name}.toml would be written:" in told
        assert f"--- {home.include}/rollout.ini would be written:" in told
        assert not home.folder.exists()
        assert list(home.include.iterdir()) == [home.include / "theirs.ini"]

    def test_a_second_time(self, home: OwnHome, name: str) -> None:
        """The same again changes nothing, another wish is refused, another deployment added."""
        words = ("--directory", str(home.folder))
        home.init("-d", name, *words)
        files = {file: file.read_text() for file in _all_files(home)}
        (home.folder / f"{name}.toml").open("a").write("# of a person\n")
        again = home.init("-d", name, *words).stdout
        assert "wrote" not in again
        assert (home.folder / f"{name}.toml").read_text().endswith("# of a person\n")

        refused = home.init("-d", name, *words, "--task-queue", "other", code=1).stderr
        assert f"{name}.toml is there and says something else: nothing has been written" in refused

        home.init("-d", f"{name}-pay", *words)
        added = set(_all_files(home)) - set(files)
        assert added == {home.folder / f"{name}-pay.toml"}
        assert all(file.read_text().startswith(text) for file, text in files.items())

    def test_a_first_day_without_a_server(self, home: OwnHome) -> None:
        """Where Temporal does not answer traffic stays as it is, until a person says otherwise."""
        nobody = {"TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}", "TEMPORAL_API_KEY": "s3cret"}
        told = home.init("-d", "shop", "--directory", str(home.folder), environ=nobody).stdout
        assert "did not answer, so shop.toml says paused = true" in told
        assert "Secrets of this shell were not written down" in told
        config = load(home.folder / "shop.toml")
        assert (config.deployment.paused, config.gate, config.analysis) == (True, None, None)
        assert not any("s3cret" in file.read_text() for file in _all_files(home))

    def test_the_comments_can_be_turned_on(self, home: OwnHome, name: str) -> None:
        """Gate and analysis are right as they stand there, without their hash signs."""
        home.init("-d", name, "--directory", str(home.folder))
        text = (home.folder / f"{name}.toml").read_text()
        on = re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE)
        config = parse(on)
        assert config.gate is not None
        assert config.analysis is not None


class TestWhichSupervisord:
    """It is told, or found; where it cannot be, the sentence says what to give."""

    def test_a_port_and_a_password(
        self, temporal_server: DevServer, name: str, supervisord: PrivateSupervisord
    ) -> None:
        """SUPERVISOR_SERVER_URL leads there, and the password is read where its owner has it."""
        other = PrivateSupervisord()
        conf = other.folder / "supervisord.conf"
        at = f"127.0.0.1:{free_port()}"
        text = conf.read_text().replace("programs/*.ini", "conf.d/*.conf")
        server = f"[inet_http_server]\nport = {at}\nusername = shop\npassword = s3cret\n"
        conf.write_text(re.sub(r"serverurl = .*", f"serverurl = http://{at}", text) + server)
        (other.folder / "conf.d").mkdir()
        home = OwnHome(temporal_server, other)
        conf.write_text(conf.read_text().replace("[supervisorctl]", _LOGIN))
        other.start()
        try:
            words = ("-d", name, "--directory", str(home.folder), "--supervisord-conf", str(conf))
            home.init(*words, environ={"SUPERVISOR_SERVER_URL": f"http://{at}"})
            home.update("rollout", "rollout-exporter")
            assert eventually(lambda: home.status()["source"] == "controller", seconds=60)
            assert "s3cret" not in (home.folder / "rollout.ini").read_text()
            assert (other.folder / "conf.d" / "rollout.conf").exists()
        finally:
            other.stop()

    @pytest.mark.parametrize(
        ("before", "after", "why"),
        [
            (r"\[include\]\nfiles = .*", "", "includes no folder: add `[include]`"),
            (r"\[unix_http_server\]\nfile.*\n", "[a]\n", "does not answer|nobody can talk"),
        ],
    )
    def test_what_is_missing(
        self, temporal_server: DevServer, before: str, after: str, why: str
    ) -> None:
        """A configuration that nothing can be added to is named, with what it lacks."""
        other = PrivateSupervisord()
        conf = other.folder / "supervisord.conf"
        text = re.sub(r"\[supervisorctl\]\n.*\n", "", conf.read_text())
        conf.write_text(re.sub(before, after, text))
        home = OwnHome(temporal_server, other)
        try:
            told = home.init("-d", "shop", "--directory", str(home.folder), code=1).stderr
            assert re.search(re.escape(str(conf)) if "|" in why else re.escape(why), told)
            assert not home.folder.exists()
        finally:
            other.stop()

    def test_none(self, home: OwnHome) -> None:
        """A file that is not there is a wrong call."""
        told = home.init("-d", "shop", "--supervisord-conf", "/nowhere.conf", code=2).stderr
        assert "there is no /nowhere.conf" in told
        assert "cannot be the name of a file" in home.init("-d", "a b", code=2).stderr


_LOGIN = "[supervisorctl]\nusername = shop\npassword = s3cret"


def _all_files(home: OwnHome) -> list[Path]:
    ours = [file for file in home.include.iterdir() if file.name != "theirs.ini"]
    return [*ours, *(file for file in home.folder.iterdir() if file.is_file())]


def _found_at(supervisord: PrivateSupervisord) -> tuple[str, str]:
    return ("--supervisor", f"unix://{supervisord.socket}")


def _joined(text: str) -> str:
    return " ".join(text.split())
