"""Where things are: the folder that is worked on, and the addresses of metrics."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rollout.base import home
from rollout.base.exit import Misuse
from rollout.base.home import Home, find_home, home_of
from rollout.base.settings import ROOT, SOCKET, _programs_of, metrics_address, supervisor_url


class TestHome:
    """The folder with what is wanted in it, and where the rest is."""

    @pytest.fixture
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The package lies in somebody's site-packages; the path is that of the current folder."""
        monkeypatch.setattr(home, "_CHECKOUT", tmp_path / "site-packages")
        here = tmp_path / "project"
        here.mkdir()
        monkeypatch.chdir(here)
        return here

    def test_checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A checkout works on itself, whatever the current folder."""
        monkeypatch.chdir(tmp_path)
        found = find_home({})
        assert found.folder == Path(__file__).resolve().parents[2] == ROOT
        assert (found.state, found.config) == (ROOT / "var", ROOT / "rollout.toml")
        assert (found.programs, found.is_set_up) == (ROOT / "workers" / "programs", False)

    def test_installed(self, installed: Path) -> None:
        """An installed package works on the current folder."""
        assert find_home({"HOME": str(installed)}).folder == installed

    def test_named(self, installed: Path) -> None:
        """ROLLOUT_HOME is above both, and may be relative to the current folder."""
        environ = {"HOME": str(installed)}
        assert find_home({**environ, "ROLLOUT_HOME": "else"}).folder == installed / "else"
        assert find_home({**environ, "ROLLOUT_HOME": ""}).folder == installed

    def test_set_up(self, installed: Path) -> None:
        """A folder that was set up is found from anywhere; a rollout.toml at hand goes before."""
        own = installed / ".config" / "rollout"
        own.mkdir(parents=True)
        (own / "rollout.ini").write_text(
            "[rollout]\nsupervisor = http://127.0.0.1:9001 ; ours\n"
            "supervisord_conf = /etc/supervisord.conf\nprograms = /etc/supervisord.d/*.conf\n"
            "state = /var/lib/rollout\n[environment]\nTEMPORAL_NAMESPACE = shop\n"
        )
        found = find_home({"HOME": str(installed)})
        assert found == Home(
            own, Path("/var/lib/rollout"), Path("/etc/supervisord.conf"),
            Path("/etc/supervisord.d"), ".conf", "http://127.0.0.1:9001",
            {"TEMPORAL_NAMESPACE": "shop"}, is_set_up=True,
        )  # fmt: skip
        assert (found.config, found.logs) == (own, Path("/var/lib/rollout/log"))
        environ = {"TEMPORAL_NAMESPACE": "mine"}
        found.enter(environ)
        assert environ == {"TEMPORAL_NAMESPACE": "mine"}
        (installed / "rollout.toml").touch()
        assert find_home({"HOME": str(installed)}).folder == installed

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("[rollout]\nsupervsor = x\n", "supervsor is not one of supervisor, "),
            ("[program:x]\n", r"\[program:x\] is not a section of it"),
            ("[rollout]\nprograms = /etc/conf.d\n", "is not a pattern such as"),
            ("supervisor = x\n", "cannot be read: File contains no section headers"),
        ],
    )
    def test_mistakes(self, installed: Path, text: str, why: str) -> None:
        """What is wrong in its rollout.ini is one sentence."""
        (installed / "rollout.ini").write_text(text)
        with pytest.raises(Misuse, match=why):
            home_of(installed)

    def test_supervisord(self, tmp_path: Path) -> None:
        """A checkout's own socket; else as a person says, as the file says, as it was started."""
        by_person = {"SUPERVISOR_SERVER_URL": "unix:///p"}
        inherited = {**by_person, "SUPERVISOR_ENABLED": "1"}
        none = Home(tmp_path, tmp_path, tmp_path / "supervisord.conf", tmp_path)
        told = replace(none, server="unix:///t", is_set_up=True)
        assert supervisor_url(by_person, none) == supervisor_url(inherited, none) == "unix:///p"
        assert supervisor_url(by_person, told) == "unix:///p"
        assert supervisor_url(inherited, told) == supervisor_url({}, told) == "unix:///t"
        none.supervisord_conf.touch()
        assert supervisor_url(by_person, none) == f"unix://{SOCKET}"

    def test_programs(self, tmp_path: Path) -> None:
        """Supervisord is that of the folder's .venv, else that beside the Python that runs."""
        assert _programs_of(tmp_path) == Path(sys.executable).parent
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        assert _programs_of(tmp_path) == tmp_path / ".venv" / "bin"


class TestMetricsAddress:
    """Where this machine scrapes what METRICS_HOST serves."""

    @pytest.mark.parametrize(
        ("host", "address"),
        [
            (None, "127.0.0.1:9101"),
            ("", "127.0.0.1:9101"),
            ("0.0.0.0", "127.0.0.1:9101"),  # noqa: S104
            ("192.0.2.2", "192.0.2.2:9101"),
            ("::", "[::1]:9101"),
            ("[::]", "[::1]:9101"),
            ("fd00::2", "[fd00::2]:9101"),
        ],
    )
    def test_by_host(self, host: str | None, address: str) -> None:
        """It is loopback, unless metrics are served on one other address."""
        assert metrics_address(9101, {} if host is None else {"METRICS_HOST": host}) == address
