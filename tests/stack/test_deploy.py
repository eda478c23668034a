"""`rollout deploy` from nothing to a build that is rolled out: real supervisord, real workers."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from rollout.base.settings import ROOT
from rollout.commands.command_table import COMMANDS
from tests.support.fleet_stack import FleetStack
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually

pytestmark = [pytest.mark.stack, pytest.mark.temporal]

QUICK = """
[deployment]
name = "{name}"
task_queue = "{name}"
target = "v1"

[progressive]
settle = "1s"
steps = [{{ percentage = 50, pause = "1s" }}]

[gate]
workflow = "{gate}"
timeout = "5s"
retries = 0
"""


class Site:
    """A supervisord that runs the controller, and no worker yet."""

    def __init__(self, server: DevServer) -> None:
        self.name = f"d{secrets.token_hex(4)}"
        self._environ = {"PYTHONPATH": str(ROOT), **server.environ}
        self.stack = FleetStack("real", **self._environ)
        self._environ["ROLLOUT_HOME"] = str(self.stack.folder)
        (self.stack.folder / "var/run/supervisor.sock").symlink_to(self.stack.socket)
        self.gate("Greeting")
        self.stack.configure(
            "rollout",
            f"command = {sys.executable} -m rollout run --metrics-port {free_port()}",
            f"directory = {self.stack.folder}",
            f'environment = ROLLOUT_HOME="{self.stack.folder}"',
        )
        self.stack.start()

    def gate(self, workflow: str) -> None:
        """Write rollout.toml with a gate that runs ``workflow``; the target stays."""
        file = self.stack.folder / "rollout.toml"
        target = 'target = "v1"'
        if file.exists():
            target = next(x for x in file.read_text().splitlines() if x.startswith("target"))
        text = QUICK.format(name=self.name, gate=workflow)
        file.write_text(text.replace('target = "v1"', target))

    def rollout(self, *words: str) -> tuple[int, list[dict[str, Any]], str]:
        """Run a command that answers with JSON: exit code, its objects, stderr."""
        process = self.start(*words)
        told, warned = process.communicate(timeout=180)
        return process.returncode, [json.loads(each) for each in told.splitlines()], warned

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "rollout", *words],
            cwd=self.stack.folder,
            env={"PATH": os.environ["PATH"], **self._environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def site(temporal_server: DevServer) -> Iterator[Site]:
    """A site of the test's own."""
    made = Site(temporal_server)
    yield made
    made.stack.stop()


def test_two_builds_and_one_that_is_blocked(site: Site) -> None:
    """Added, made the target and waited for; again it changes nothing; a shut gate is exit 4."""
    deploy = ("deploy", "--json", "--timeout", "2m", "--strategy", "incompatible")
    for build_id in ("v1", "v2"):
        code, lines, warned = site.rollout(*deploy, build_id)
        assert (code, lines[-1]["outcome"], lines[-1]["current"]) == (0, "complete", build_id), (
            warned
        )
        assert lines[0]["programs"] == [f"worker-{build_id}"]
        assert lines[0]["changed"] is True
    pid = site.stack.pid("worker-v2")

    code, lines, warned = site.rollout(*deploy, "v2")
    assert (code, lines[-1]["outcome"], lines[0]["changed"]) == (0, "complete", False), warned
    assert lines[0]["told"][0].startswith("worker-v2 was added already, and polls")
    assert lines[-1]["told"][0] == "target is v2 already"
    assert site.stack.pid("worker-v2") == pid

    code, lines, warned = site.rollout(*deploy, "v77")
    assert (code, lines[-1]["outcome"]) == (2, "failed")
    assert warned == f"rollout: {lines[-1]['error']}\n"

    site.gate("Missing")
    code, lines, warned = site.rollout(*deploy, "v1.1")
    assert (code, lines[-1]["outcome"], lines[-1]["current"]) == (4, "blocked", "v2")
    assert "! the gate will not pass: this build has no workflow Missing (it has Gr" in warned
    code, lines, _ = site.rollout("abort", "--json")
    assert (code, lines[-1]["target"]) == (0, "v2")
    eventually(lambda: site.rollout("retire", "v1.1", "--json")[0] == 0, seconds=60)
    code, lines, warned = site.rollout("retire", "v1.1", "--json")
    assert (code, lines[-1]["changed"]) == (0, False), warned


CALLS = {
    "deploy": ("v1", "--strategy", "compatible"),
    "status": (),
    "plan": (),
    "history": (),
    "check": (),
    "logs": (),
    "to": ("v1",),
    "pause": (),
    "resume": (),
    "promote": (),
    "rollback": (),
    "abort": (),
    "add": ("v1", "--strategy", "compatible"),
    "verify": ("v1", "--from", "v1"),
    "retry": ("v1",),
    "retire": ("v9",),
    "adopt": (),
    "release": (),
    "notify": (),
}
REFUSED = {"promote", "rollback", "notify"}
"""There is no ramp, nothing to go back to, and nobody to tell."""
JUDGES = {"check", "verify"}
"""What they find is their exit code."""


def test_every_answer_is_json(site: Site) -> None:
    """Each line that a command prints with ``--json`` is JSON, also where it fails."""
    for name, words in CALLS.items():
        code, lines, warned = site.rollout(name, *words, "--json")
        told = (name, code, lines, warned)
        if name not in JUDGES:
            assert ((code != 0), (warned != "")) == (name in REFUSED, name in REFUSED), told
        if COMMANDS[name].changes and name != "verify":
            assert (lines[-1]["command"], lines[-1]["exit_code"]) == (name, code)
            assert ("error" in lines[-1]) == (name in REFUSED)
    watching = site.start("watch", "--json")
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    watching.send_signal(signal.SIGTERM)
    assert watching.wait(timeout=30) == 0
    assert set(first) == {"at", "text"}
