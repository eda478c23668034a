"""The plugin in a real supervisorctl, with a real supervisord and a real server behind it."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.base.settings import VENV_BIN
from rollout.install import bootstrap
from tests.support.stack_clone import StackClone
from tests.support.temporal_server import DevServer
from tests.support.terminal import Terminal
from tests.support.waiting import eventually
from tests.support.worker_process import worker

pytestmark = [pytest.mark.stack, pytest.mark.temporal]


@pytest.fixture(scope="module")
def clone(temporal_server: DevServer) -> Iterator[StackClone]:
    """A checkout whose supervisord runs one idle program, with a deployment of its own."""
    clone = StackClone(**temporal_server.environ)
    try:
        clone.only(idle="sleep 600")
        name = f"ctl{secrets.token_hex(4)}"
        clone.edit("rollout.toml", 'name = "greetings"', f'name = "{name}"')
        started = clone.python("-m", "supervisor.supervisord", "-c", "supervisord.conf")
        assert started.returncode == 0, started.stdout
        eventually(lambda: clone.states() == {"idle": "RUNNING"})
        yield clone
    finally:
        clone.destroy()


def ctl(clone: StackClone, *words: str, cwd: str = "/") -> subprocess.CompletedProcess[str]:
    """The installed ``supervisorctl`` on the clone's configuration, started in ``cwd``."""
    config = str(clone.root / "supervisord.conf")
    return subprocess.run(
        [str(VENV_BIN / "supervisorctl"), "-c", config, *words],
        cwd=cwd,
        env=clone.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def deployment(clone: StackClone) -> str:
    """The name in the clone's rollout.toml."""
    line = (clone.root / "rollout.toml").read_text().partition('name = "')[2]
    return line.partition('"')[0]


class TestCommands:
    """``versions`` and ``rollout`` as commands of supervisorctl, started in any folder."""

    def test_versions_is_the_status_of_this_checkout(self, clone: StackClone) -> None:
        """The table, or with its flag the JSON, is of the checkout whose configuration is used."""
        table = ctl(clone, "versions")
        assert (table.returncode, table.stderr) == (0, "")
        assert table.stdout.startswith(f"deployment {deployment(clone)}  namespace default")
        status = json.loads(ctl(clone, "versions", "--json").stdout)
        assert status["phase"] == "waiting"

    def test_exit_statuses_pass_through(
        self, clone: StackClone, temporal_server: DevServer, tmp_path: Path
    ) -> None:
        """0 nothing to do, 3 changes pending, 2 a wrong call; the reason is printed, once."""
        nothing = ctl(clone, "rollout", "plan")
        assert nothing.returncode == 0
        assert nothing.stdout.startswith("waiting: no worker of deployment")
        name = deployment(clone)
        with worker(temporal_server, tmp_path, name, "v1", "compatible", "--managed") as v1:
            eventually(lambda: v1.records("declared"), seconds=30)
            pending = ctl(clone, "rollout", "plan")
        assert pending.returncode == 3
        assert "nothing is current yet" in pending.stdout
        wrong = ctl(clone, "rollout", "no-such-command")
        assert wrong.returncode == 2
        assert "'no-such-command' is not a command" in wrong.stderr
        unread = ctl(clone, "rollout", "to", "'v3")
        assert (unread.returncode, unread.stderr) == (2, "")
        assert unread.stdout == """rollout: "to 'v3" cannot be read: No closing quotation\n"""

    def test_it_changes_the_intent_of_this_checkout(self, clone: StackClone) -> None:
        """``rollout pause`` edits the rollout.toml that lies beside the configuration."""
        assert ctl(clone, "rollout", "pause").returncode == 0
        assert "paused = true" in (clone.root / "rollout.toml").read_text()
        assert ctl(clone, "rollout", "resume").returncode == 0
        assert "paused = false" in (clone.root / "rollout.toml").read_text()

    def test_help_names_both_and_nothing_else_has_changed(self, clone: StackClone) -> None:
        """Each topic is explained once, and supervisorctl's own are as they were."""
        assert "rollout  versions" in ctl(clone, "help").stdout
        assert ctl(clone, "help", "versions").stdout.startswith("versions\t")
        explained = ctl(clone, "help", "rollout").stdout
        assert explained.startswith("rollout plan\t")
        own = ctl(clone, "help", "status").stdout
        assert own.startswith("status <name>")
        assert "No help" not in explained + own
        assert ctl(clone, "help", "nonsense").stdout == "*** No help on nonsense\n"

    def test_status_is_unharmed(self, clone: StackClone) -> None:
        """Its own commands and exit statuses are what they were."""
        status = ctl(clone, "status")
        assert (status.returncode, status.stderr) == (0, "")
        assert status.stdout.startswith("idle ")
        assert ctl(clone, "status", "nothing").returncode == 4


def test_ctrl_c_ends_the_watch_and_not_supervisorctl(clone: StackClone) -> None:
    """In an interactive supervisorctl Ctrl-C brings the prompt back, and the next command works."""
    words = [str(VENV_BIN / "supervisorctl"), "-c", "supervisord.conf"]
    terminal = Terminal(words, clone.environ, clone.root)
    try:
        eventually(lambda: terminal.shows("supervisor> "))
        terminal.type("rollout watch\n")
        eventually(lambda: terminal.shows("namespace default"), seconds=30)
        terminal.type("\x03")
        eventually(lambda: terminal.shows("supervisor> "))
        terminal.type("avail\n")
        eventually(lambda: terminal.shows("in use"))
        terminal.type("quit\n")
        assert terminal.wait() == 0
    finally:
        terminal.end()


class TestImporting:
    """A plugin that cannot be imported would break every supervisorctl call."""

    def test_it_is_light(self) -> None:
        """It is imported by each call, and brings in nothing that a command of ours needs."""
        script = (
            "import supervisor.supervisorctl, sys; before = set(sys.modules);"
            "import rollout.commands.supervisorctl; print(*sorted(set(sys.modules) - before))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd="/", capture_output=True, text=True, check=True
        )
        loaded = done.stdout.split()
        assert "rollout.commands.supervisorctl" in loaded
        assert not {name.partition(".")[0] for name in loaded} & {
            "asyncio", "httpx", "rich", "rollout.base", "structlog", "temporalio", "tomlkit",
        }  # fmt: skip

    def test_set_up_makes_the_checkout_importable_from_anywhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also once it has been moved, and a checkout that borrows the .venv finds its own."""
        home, moved, borrower = (tmp_path / name for name in ("home", "moved", "borrower"))
        for folder in (home, borrower):
            folder.mkdir()
            (folder / "which.py").write_text(f"print({folder.name!r})")
        venv.create(home / ".venv")
        (borrower / ".venv").symlink_to(home / ".venv")
        monkeypatch.setattr(bootstrap, "VENV", home / ".venv")

        def which(checkout: Path) -> str:
            words = [str(checkout / ".venv/bin/python"), "-c", "import which"]
            return subprocess.run(words, cwd="/", stdout=subprocess.PIPE, text=True).stdout.strip()  # noqa: PLW1510

        assert which(home) == ""
        bootstrap._make_importable()
        (file,) = (home / ".venv").glob("lib/python*/site-packages/checkout.pth")
        written = file.stat().st_mtime_ns
        bootstrap._make_importable()
        assert file.stat().st_mtime_ns == written
        assert (which(home), which(borrower)) == ("home", "borrower")
        home.rename(moved)
        assert which(moved) == "home"
