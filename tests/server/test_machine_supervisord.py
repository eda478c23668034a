"""A machine's supervisord: Debian's own release, by the page's commands."""

from __future__ import annotations

import secrets
import sys

import pytest

from tests.support.debian import DebianSupervisord
from tests.support.own_home import OwnHome
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually


@pytest.fixture
def name() -> str:
    """A deployment of the test's own, on the server that all share."""
    return f"shop-{secrets.token_hex(3)}"


@pytest.mark.long
def test_under_the_supervisor_of_debian(temporal_server: DevServer, name: str) -> None:
    """Its release on its configuration: from `init` to a first release that is retired."""
    supervisord = DebianSupervisord()
    try:
        supervisord.start()
        assert supervisord.ctl("version").stdout.startswith("4.")
        home = OwnHome(temporal_server, supervisord)
        conf = supervisord.folder / "supervisord.conf"
        words = ("--directory", str(home.folder), "--supervisord-conf", str(conf))
        home.init("--deployment", name, "--task-queue", name, *words)
        home.update("rollout", "rollout-exporter")
        assert (supervisord.folder / "conf.d" / "rollout-exporter.conf").exists()
        intent = home.folder / f"{name}.toml"
        text = intent.read_text().replace('"5m"', '"1s"').replace('settle = "20s"', 'settle = "1s"')
        intent.write_text(text)
        for build_id in ("3f9c2ab", "8b1d0ce"):
            words = ("--directory", str(home.release(build_id)), "--processes", "2")
            home.rollout("add", build_id, *words, "--", sys.executable, "worker.py")
            home.rollout("to", build_id)
            eventually(lambda: _is_current(home, build_id), seconds=60)  # noqa: B023
        old, new = (f"worker-{name}-{build_id}" for build_id in ("3f9c2ab", "8b1d0ce"))
        kept = supervisord.pid(new)
        home.rollout("scale", "8b1d0ce", "1")
        eventually(lambda: _safe(home.status(), "3f9c2ab"), seconds=60)
        home.rollout("retire", "3f9c2ab", "--yes")
        assert supervisord.pid(new) == kept
        assert sorted(file.name for file in home.include.iterdir()) == [
            "rollout-exporter.conf", "rollout.conf", f"{new}.conf"
        ]  # fmt: skip
        assert old not in supervisord.ctl("status").stdout
        eventually(lambda: _processes(home.status()) == {"8b1d0ce": "RUNNING"})
    finally:
        supervisord.stop()


def _processes(status: dict[str, list[dict[str, object]]]) -> dict[object, object]:
    return {v["build_id"]: v["process"] for v in status["versions"] if v["process"] is not None}


def _is_current(home: OwnHome, build_id: str) -> bool:
    status = home.status()
    assert status["current"] == build_id, f"{status['phase']}: {status['reason']}"
    return True


def _safe(status: dict[str, list[dict[str, object]]], build_id: str) -> bool:
    return any(v["build_id"] == build_id and v["safe_to_stop"] for v in status["versions"])
