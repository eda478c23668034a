"""The page about one's own repository, its commands run as they stand there.

A real supervisord and a real Temporal server; a worker that has never heard of this project, in
release folders with environments of their own, from which the package cannot be imported.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import temporalio

from rollout.base.listeners import is_free
from rollout.base.settings import ROOT, VENV_BIN
from rollout.supervision import contract
from tests.support.release import environment
from tests.support.supervisord import PrivateSupervisord
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually

PAGE = (ROOT / "docs" / "own-workers.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def files(kind: str) -> dict[str, str]:
    """The page's files of one kind, by what their first line calls them."""
    found = (text.partition("\n") for language, text in BLOCKS if language == kind)
    return {first.lstrip("#; "): rest for first, _, rest in found}


def commands() -> list[list[str]]:
    """The commands of each block, a line each."""
    blocks = (text.replace("\\\n", " ") for language, text in BLOCKS if language == "sh")
    return [text.splitlines() for text in blocks]


class Shop:
    """A machine as the page has it, all of it in one folder."""

    def __init__(self, server: DevServer) -> None:
        self.supervisord = PrivateSupervisord(environ=server.environ)
        self.folder = self.supervisord.folder
        self.ports = {name: _free_ports() for name in ("9201", "9211", "9221")}
        self.environ = {
            **{name: text for name, text in os.environ.items() if not name.startswith("TEMPORAL")},
            **server.environ,
            "ROLLOUT_HOME": str(self.folder),
            "PATH": f"{VENV_BIN}{os.pathsep}{os.environ['PATH']}",
        }
        self._write(server)

    def _write(self, server: DevServer) -> None:
        folder = self.folder
        (folder / "rollout.ini").write_text(
            f"[rollout]\nsupervisor = unix://{self.supervisord.socket}\n"
            f"supervisord_conf = {folder}/supervisord.conf\n"
            f"programs = {folder}/programs/*.ini\nstate = {folder}/var\n"
            f"[environment]\nTEMPORAL_ADDRESS = {server.address}\n"
        )
        (folder / "rollout.toml").write_text(files("toml")["rollout.toml"])
        (folder / "etc").mkdir()
        (folder / "etc" / "worker.env").write_text("SHOP_KEY=hush\n")
        (folder / "etc" / "worker.env").chmod(0o600)
        for sha in ("3f9c2ab", "7d41e0c"):
            self.release(sha, files("python")[f"{sha}: shop/workflows.py"])
        self.supervisord.configure(
            "rollout",
            f"command = {VENV_BIN}/python -m rollout run --metrics-port {free_port()}",
            f'environment = ROLLOUT_HOME="{folder}"',
            f"stdout_logfile = {folder}/controller.log",
            "redirect_stderr = true",
        )

    def release(self, sha: str, workflows: str) -> Path:
        """A release folder with an environment of its own, which has temporalio and not us."""
        folder = self.folder / "srv" / "shop" / "releases" / sha
        (folder / "shop").mkdir(parents=True)
        (folder / "shop" / "worker.py").write_text(files("python")["shop/worker.py"])
        (folder / "shop" / "workflows.py").write_text(workflows)
        assert temporalio.__file__ is not None
        environment(folder, Path(temporalio.__file__).parents[1])
        imported = subprocess.run(
            [folder / ".venv/bin/python", "-c", "import temporalio, rollout"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "No module named 'rollout'" in imported.stderr
        return folder

    def here(self, text: str) -> str:
        """``text`` of the page with this machine's folders and ports."""
        text = text.replace("/srv/shop", f"{self.folder}/srv/shop")
        text = text.replace("/etc/shop", f"{self.folder}/etc")
        for told, port in self.ports.items():
            text = text.replace(told, str(port))
        return text

    def run(self, line: str) -> str:
        """What a line of the page prints; it succeeds."""
        done = self.tried(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def tried(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of the page, whatever comes of it."""
        return subprocess.run(
            ["bash", "-c", self.here(line)],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """What `rollout status --json` says."""
        found: dict[str, Any] = json.loads(self.run("rollout status --json"))
        return found

    def version(self, build_id: str) -> dict[str, Any]:
        """What it says of one build."""
        found: dict[str, dict[str, Any]] = {v["build_id"]: v for v in self.status()["versions"]}
        return found[build_id]

    def pids(self) -> dict[str, int]:
        """The process id of each program that runs."""
        said = re.findall(
            r"^(\S+) +RUNNING +pid (\d+)", self.supervisord.ctl("status").stdout, re.MULTILINE
        )
        return {name: int(pid) for name, pid in said}


def _free_ports() -> int:
    """A port that is free, as the two after it are."""
    while True:
        port = free_port()
        if is_free(port + 1) and is_free(port + 2):
            return port


@pytest.fixture
def shop(temporal_server: DevServer) -> Iterator[Shop]:
    """The machine, its supervisord and the controller running."""
    made = Shop(temporal_server)
    try:
        made.supervisord.start()
        yield made
    finally:
        made.supervisord.stop()


@pytest.mark.temporal
@pytest.mark.long
def test_from_nothing_to_a_retired_release(shop: Shop) -> None:
    """Every command of the page, in its order."""
    first, looked, second, charged, scaled, retired = (
        [partial(shop.run, line) for line in block] for block in commands()
    )
    (said,) = (run() for run in first)
    assert re.search(rf"3f9c2ab polls, metrics on port {shop.ports['9201']}, log ", said)
    with urllib.request.urlopen(f"http://127.0.0.1:{shop.ports['9201']}/metrics") as metrics:
        assert b"temporal_" in metrics.read()
    eventually(lambda: shop.status()["current"] == "3f9c2ab")
    for run in looked:
        run()
    _with_two_processes(shop)
    shop.run(commands()[2][0].replace("--processes 2", "--processes 1"))
    shop.run(commands()[2][1])
    eventually(lambda: "worker-shop-7d41e0c@2" in shop.pids(), seconds=60)
    for run in second:
        run()
    assert shop.version("7d41e0c")["strategy"] == "incompatible"
    eventually(lambda: shop.status()["phase"] == "complete", seconds=120)

    # [scale]: as many as the current build had before it got traffic; that keeps one for its run.
    old, new = "worker-shop-3f9c2ab", "worker-shop-7d41e0c"
    eventually(lambda: shop.pids().keys() == {"rollout", old, new, f"{new}@2"}, seconds=60)

    new, _, old = (run() for run in charged)
    assert "cake charged by 7d41e0c" in new
    assert "tea charged by 3f9c2ab" in old

    before = shop.pids()
    up, down = scaled
    assert "7d41e0c has 3 processes: started" in up()
    assert shop.pids().items() > before.items()
    assert "7d41e0c has 1 process: stopped and removed" in down()
    after = shop.pids()
    assert after.items() < before.items()
    assert len(before) - len(after) == 1

    eventually(lambda: shop.version("3f9c2ab")["safe_to_stop"], seconds=120)
    for run in retired:
        run()
    assert shop.version("3f9c2ab")["process"] is None
    assert len(shop.pids()) == 2  # the controller, and the one process of the new release

    _other_code_is_refused(shop)
    _by_hand_it_works_too(shop)


def _with_two_processes(shop: Shop) -> None:
    """Of the first release; and `[scale]` of rollout.toml turned on."""
    shop.run("rollout scale 3f9c2ab 2")
    with (shop.folder / "rollout.toml").open("a") as intent:
        intent.write('[scale]\ndraining = "shrink"\ntarget = "match"\n')


def _other_code_is_refused(shop: Shop) -> None:
    """The build id is known to the server, although its program is gone."""
    workflows = shop.folder / "srv/shop/releases/3f9c2ab/shop/workflows.py"
    workflows.write_text(files("python")["7d41e0c: shop/workflows.py"])
    refused = shop.tried(commands()[0][0])
    assert refused.returncode == 1
    assert re.search(r"build 3f9c2ab was deployed with code \w{16}, and this is", refused.stderr)
    assert not list(shop.supervisord.folder.glob("programs/*3f9c2ab*"))


def _by_hand_it_works_too(shop: Shop) -> None:
    """A program file that nobody here has written: the controller declares what it says."""
    shop.release("by-hand", files("python")["7d41e0c: shop/workflows.py"])
    text = shop.here(files("ini")["worker-by-hand.ini"])
    (shop.folder / "programs" / "by-hand.ini").write_text(text)
    assert shop.supervisord.ctl("update", "by-hand").returncode == 0
    eventually(lambda: shop.version("by-hand")["strategy"] == "incompatible", seconds=120)
    assert shop.version("by-hand")["process"] in ("STARTING", "RUNNING")
    shop.run("rollout to by-hand")
    eventually(lambda: shop.status()["current"] == "by-hand", seconds=120)


def test_the_page_names_every_variable() -> None:
    """The table has those of the contract, and no others."""
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(contract.NAMES)
