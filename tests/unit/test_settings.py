"""Where things are: the folder that is worked on, and the addresses of metrics."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rollout.base import settings
from rollout.base.settings import ROOT, _programs_of, _root, metrics_address


class TestRoot:
    """The folder with rollout.toml and var/ in it."""

    @pytest.fixture
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The package lies in somebody's site-packages; the path is that of the current folder."""
        module = tmp_path / "site-packages" / "rollout" / "base" / "settings.py"
        monkeypatch.setattr(settings, "__file__", str(module))
        here = tmp_path / "project"
        here.mkdir()
        monkeypatch.chdir(here)
        return here

    def test_checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A checkout works on itself, whatever the current folder."""
        monkeypatch.chdir(tmp_path)
        assert _root({}) == Path(__file__).resolve().parents[2] == ROOT

    def test_installed(self, installed: Path) -> None:
        """An installed package works on the current folder."""
        assert _root({}) == installed

    def test_named(self, installed: Path) -> None:
        """ROLLOUT_HOME is above both, and may be relative to the current folder."""
        assert _root({"ROLLOUT_HOME": "elsewhere"}) == installed / "elsewhere"
        assert _root({"ROLLOUT_HOME": ""}) == installed

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
