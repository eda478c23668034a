"""A machine's supervisord: Debian's own release, and root's for a worker of another user."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from temporalio.client import Client

from rollout.base.settings import ROOT
from tests.support.debian import DebianSupervisord
from tests.support.own_home import OwnHome
from tests.support.supervisord import PrivateSupervisord
from tests.support.temporal_server import DevServer, free_port
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
            eventually(lambda: home.is_current(build_id), seconds=60)  # noqa: B023
        old, new = (f"worker-{name}-{build_id}" for build_id in ("3f9c2ab", "8b1d0ce"))
        kept = supervisord.pid(new)
        home.rollout("scale", "8b1d0ce", "1")
        eventually(lambda: home.is_safe("3f9c2ab"), seconds=60)
        home.rollout("retire", "3f9c2ab", "--yes")
        assert supervisord.pid(new) == kept
        assert sorted(file.name for file in home.include.iterdir()) == [
            "rollout-exporter.conf", "rollout.conf", f"{new}.conf"
        ]  # fmt: skip
        assert old not in supervisord.ctl("status").stdout
        eventually(lambda: _processes(home.status()) == {"8b1d0ce": "RUNNING"})
    finally:
        supervisord.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED, --user: this is not root")
async def test_a_worker_of_another_user(temporal_server: DevServer, name: str) -> None:
    """It polls, logs, serves metrics, and is at home where its user is."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="py-", dir="/tmp")))
        python = _for_everybody(folder)
        supervisord = PrivateSupervisord()
        stack.callback(supervisord.stop)
        supervisord.start()
        await _of_nobody(OwnHome(temporal_server, supervisord, python), name)


async def _of_nobody(home: OwnHome, name: str) -> None:
    nobody = pwd.getpwnam("nobody")
    supervisord = home.supervisord
    supervisord.folder.chmod(0o700)
    folder = home.release("3f9c2ab")
    found_at = ("--supervisor", f"unix://{supervisord.socket}")
    home.init("-d", name, "--directory", str(home.folder), *found_at)
    home.update("rollout", "rollout-exporter")
    port = free_port()
    words = (
        *("add", "3f9c2ab", "--directory", str(folder), "--user", "nobody"),
        *("--metrics-port", str(port), "--", home.python, "worker.py"),
    )
    assert f"nobody cannot run {home.python} in {folder}" in home.rollout(*words, code=1)
    assert not list(home.include.glob("worker-*"))

    supervisord.folder.chmod(0o755)
    told = home.rollout(*words)
    log = home.folder / "var" / "log" / f"worker-{name}-3f9c2ab.log"
    assert f"3f9c2ab polls, metrics on port {port}, log {log}" in told
    assert f"worker of 3f9c2ab as {nobody.pw_uid} at {nobody.pw_dir}" in log.read_text()
    assert psutil.Process(supervisord.pid(f"worker-{name}-3f9c2ab")).uids().real == nobody.pw_uid
    home.rollout("to", "3f9c2ab")
    eventually(lambda: home.is_current("3f9c2ab"), seconds=60)
    client = await Client.connect(home.server.address)
    run = await client.execute_workflow("Which", id=secrets.token_hex(8), task_queue=name)
    assert run == "3f9c2ab"
    page = await asyncio.to_thread(_page, port)
    assert "temporal_workflow_completed" in page
    eventually(lambda: _processes(home.status()) == {"3f9c2ab": "RUNNING"})


def _for_everybody(folder: Path) -> str:
    """A Python with `rollout` that another user may run: this one, or the machine's."""
    if _nobody_runs(sys.executable):
        return sys.executable
    folder.chmod(0o755)
    made = folder / "venv"
    words = ["/usr/bin/python3", "-m", "venv", "--without-pip", str(made)]
    subprocess.run(words, capture_output=True, check=False)
    for site in (made / "lib").glob("python*/site-packages"):
        (site / "here.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    python = str(made / "bin" / "python")
    if not _nobody_runs(python):
        pytest.skip(f"NOT TESTED, --user: nobody can run {sys.executable} or another")
    return python


def _nobody_runs(python: str) -> bool:
    words = [python, "-I", "-c", "import rollout.supervision.launch, temporalio.worker"]
    try:
        done = subprocess.run(words, cwd="/", user="nobody", capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def _processes(status: dict[str, list[dict[str, object]]]) -> dict[object, object]:
    return {v["build_id"]: v["process"] for v in status["versions"] if v["process"] is not None}
