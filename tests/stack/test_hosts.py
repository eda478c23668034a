"""Several worker hosts: two supervisords with an agent each, and a controller without any."""

from __future__ import annotations

import json
import secrets
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosts import WorkerHost, home_environ, rollout_ini
from tests.support.namespaces import Namespace, needs_namespaces
from tests.support.temporal_server import DevServer, free_port
from tests.support.told import told
from tests.support.waiting import eventually
from tests.support.worker_process import Command, python

pytestmark = [pytest.mark.temporal, pytest.mark.stack]

_ROLLOUT = """
[deployment]
name = "{name}"
task_queue = "{name}"
baseline = "v1"
target = "{target}"
[progressive]
settle = "1s"
steps = []
[sunset]
stop = "1s"
delete = "1s"
keep = 0
"""


class Several:
    """A controller with a home of its own, and the hosts of its deployment."""

    def __init__(self, server: DevServer, stack: ExitStack) -> None:
        self.name = f"h{secrets.token_hex(4)}"
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ct-")))
        self.server = server
        self._stack = stack
        rollout_ini(self.folder, server.address)
        self.want("v1")

    def want(self, target: str) -> None:
        """Write the controller's rollout.toml."""
        text = _ROLLOUT.format(name=self.name, target=target)
        self.folder.joinpath("rollout.toml").write_text(text, "utf-8")

    def host(
        self, name: str, *builds: str, space: Namespace | None = None, ahead: float = 0.0
    ) -> WorkerHost:
        """A host that runs ``builds`` and the agent, whose clock is so many seconds ``ahead``."""
        address = f"{space.gateway}:{self.server.port}" if space else self.server.address
        made = WorkerHost(name, self.name, address, space.inside if space else ())
        self._stack.callback(made.stop)
        for build_id in builds:
            made.add_worker(build_id)
        made.add_agent(ahead)
        made.start()
        return made

    def control(self) -> Command:
        """Start the controller."""
        environ = {**home_environ(self.folder, self.server.address), "LOG_FORMAT": "json"}
        words = python("rollout", "run", "--metrics-port", str(free_port()))
        started = Command(words, environ, self.folder)
        self._stack.callback(started.end)
        return started

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``rollout WORDS`` beside the controller."""
        return subprocess.run(
            python("rollout", *words),
            cwd=Path(__file__).parents[2], env=home_environ(self.folder, self.server.address),
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        """What the controller tells, as ``rollout status --json`` beside it does."""
        return told(self.name, self.folder / "var")


@pytest.fixture
def several(temporal_server: DevServer) -> Iterator[Several]:
    """A deployment of the test's own."""
    with ExitStack() as stack:
        yield Several(temporal_server, stack)


@pytest.mark.long
def test_from_one_build_to_the_next_on_two_hosts(several: Several) -> None:
    """Both hosts get v2 before it gets traffic; both stop v1 by themselves once it is safe."""
    a, b = several.host("a", "v1"), several.host("b", "v1")
    several.control()

    def hosts() -> dict[str, Any]:
        return {host["name"]: host["builds"] for host in several.status()["hosts"]}

    both = {"a": {"v1": "RUNNING"}, "b": {"v1": "RUNNING"}}
    eventually(lambda: hosts() == both and several.status()["current"] == "v1", seconds=60)

    several.want("v2")
    a.add_worker("v2")
    a.update()
    missing = "there is no program of v2 on b, which serves v1"
    eventually(lambda: several.status()["reason"] == missing, seconds=60)
    assert several.status()["current"] == "v1"
    assert "2/2" in several.command("status").stdout
    reason = json.loads(b.command("status", "--json").stdout)["reason"]
    assert reason.endswith("decides and wants v2; this is a worker host, which routes nothing")
    assert "say it beside the controller" in b.command("to", "v2").stderr

    with urllib.request.urlopen(f"http://127.0.0.1:{a.port}/targets", timeout=5) as answer:
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert json.load(answer) == []  # these workers serve no metrics

    b.add_worker("v2")
    b.update()
    eventually(lambda: several.status()["current"] == "v2", seconds=60)
    refused = several.command("retire", "v1", "--force", "--yes")
    assert "v1 still has a program on a (RUNNING)" in refused.stderr

    for host in (a, b):
        eventually(lambda: host.states().get("worker-v1") is None, seconds=150)  # noqa: B023
        assert host.states()["worker-v2"] == "RUNNING"
        assert not (host.folder / "programs" / "worker-v1.ini").exists()
    eventually(lambda: hosts() == {"a": {"v2": "RUNNING"}, "b": {"v2": "RUNNING"}}, seconds=60)


@pytest.mark.long
def test_a_host_that_dies_for_good(several: Several) -> None:
    """It is unknown, which holds everything up, until a person says that it is gone."""
    a = several.host("a", "v1")
    b = several.host("b", "v1")
    several.control()
    # Not before: a build that is older than the target and idle is superseded, and retired.
    eventually(lambda: several.status()["current"] == "v1", seconds=60)
    a.add_worker("v2")
    a.update()
    eventually(lambda: len(several.status()["hosts"]) == 2, seconds=60)
    assert "stop its `rollout host` first" in several.command("forget-host", "b").stderr
    assert "there is a, b" in several.command("forget-host", "c").stderr

    b.ctl("stop", "host")
    several.want("v2")

    def silent() -> list[str]:
        return [host["name"] for host in several.status()["hosts"] if host["silent"]]

    eventually(lambda: silent() == ["b"], seconds=120)
    status = several.status()
    assert status["reason"].startswith("host b has been silent since ")
    assert any(text.startswith("host b has been silent since ") for text in status["warnings"])
    assert not any(version["safe_to_stop"] for version in status["versions"])
    assert several.command("retire", "v1").returncode == 1

    done = several.command("forget-host", "b")
    assert (done.returncode, done.stderr) == (0, "")
    eventually(lambda: several.status()["current"] == "v2", seconds=60)
    assert [host["name"] for host in several.status()["hosts"]] == ["a"]

    b.ctl("start", "host")
    eventually(lambda: len(several.status()["hosts"]) == 2, seconds=60)


@pytest.mark.long
def test_a_host_behind_a_cable_that_is_pulled(tmp_path: Path) -> None:
    """Parted, it is unknown and holds the rollout up; healed, all goes on; clocks are 5 s apart."""
    needs_namespaces()
    with ExitStack() as stack:
        server = DevServer(tmp_path / "temporal", "--ip", "0.0.0.0")  # noqa: S104
        server.start()
        stack.callback(server.stop)
        several = Several(server, stack)
        hosts = []
        for name, ahead in [("web-1", -5), ("web-2", 5)]:
            space = stack.enter_context(Namespace.opened(name))
            host = several.host(name, "v1", space=space, ahead=ahead)
            hosts.append((host, space))
        (_, _), (far, cable) = hosts
        several.control()

        def heard() -> dict[str, bool]:
            return {host["name"]: not host["silent"] for host in several.status()["hosts"]}

        def version(build_id: str) -> dict[str, Any]:
            found = {each["build_id"]: each for each in several.status()["versions"]}
            return dict(found[build_id])

        eventually(lambda: heard() == {"web-1": True, "web-2": True}, seconds=90)
        eventually(lambda: several.status()["current"] == "v1", seconds=60)
        for host, _ in hosts:
            host.add_worker("v2")
            host.update()
        eventually(lambda: version("v2")["workers"] == 2, seconds=90)
        assert far.records("host")[0]["event"] == "serving"
        assert {host["hostname"] for host in several.status()["hosts"]} == {"web-1", "web-2"}

        cable.part()
        eventually(lambda: heard() == {"web-1": True, "web-2": False}, seconds=150)
        several.want("v2")
        silent = "host web-2 has been silent since "
        eventually(lambda: several.status()["reason"].startswith(silent), seconds=60)
        status = several.status()
        assert status["current"] == "v1"
        assert not any(version["safe_to_stop"] for version in status["versions"])
        assert "1/2?" in several.command("status").stdout

        cable.heal()
        eventually(lambda: several.status()["current"] == "v2", seconds=120)
        for host, _ in hosts:
            eventually(lambda: "worker-v1" not in host.states(), seconds=180)  # noqa: B023
