"""Setting up: what is downloaded, what is refused, and what is left as it was.

Every test runs the real set-up as a process of its own, with a folder and a
PATH of its own, against a release server on loopback.
"""

from __future__ import annotations

import ast
import hashlib
import io
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rollout.base.settings import ROOT
from rollout.install.setup import GRAFANA_VERSION, PROMETHEUS_VERSION, link_programs
from tests.support.waiting import eventually

SETUP = (
    "import pathlib, sys; from rollout.base import exit; from rollout.install import setup;"
    "exit.finish('setup', lambda: setup.setup(pathlib.Path(sys.argv[1])) or 0)"
)
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PLATFORM = f"{platform.system().lower()}-{MACHINE}"
PROMETHEUS = f"/v{PROMETHEUS_VERSION}/prometheus-{PROMETHEUS_VERSION}.{PLATFORM}.tar.gz"
PROMETHEUS_SUMS = f"/v{PROMETHEUS_VERSION}/sha256sums.txt"
GRAFANA = f"/grafana-{GRAFANA_VERSION}.{PLATFORM}.tar.gz"
SCRIPT = "#!/bin/sh\necho released $*\n"


class ReleaseServer(ThreadingHTTPServer):
    """Serves ``files``, notes every path that it is ``asked`` for, and can break off."""

    daemon_threads = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.breaks_off: set[str] = set()
        self.stalls: set[str] = set()
        self.go_on = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def publish_prometheus(self, archive: bytes) -> None:
        """Serve ``archive`` as Prometheus's release, listed among the checksums."""
        self.files[PROMETHEUS] = archive
        line = f"{hashlib.sha256(archive).hexdigest()}  {PROMETHEUS.rpartition('/')[2]}\n"
        self.files[PROMETHEUS_SUMS] = f"{'0' * 64}  something-else.tar.gz\n{line}".encode()

    def publish_grafana(self, archive: bytes) -> None:
        """Serve ``archive`` as Grafana's release, with its checksum beside it."""
        self.files[GRAFANA] = archive
        self.files[f"{GRAFANA}.sha256"] = hashlib.sha256(archive).hexdigest().encode()


class _Handler(BaseHTTPRequestHandler):
    server: ReleaseServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        if self.path in self.server.stalls:
            self.server.go_on.wait(30)
        if self.path not in self.server.breaks_off:
            self.wfile.write(body[half:])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def releases() -> Iterator[ReleaseServer]:
    """A release server that has Prometheus and Grafana."""
    with ReleaseServer() as server:
        server.publish_prometheus(archive({"prometheus": SCRIPT, "promtool": SCRIPT}))
        server.publish_grafana(archive({"bin/grafana": SCRIPT, "conf/defaults.ini": ""}))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


class Machine:
    """A machine with nothing installed but what a test puts on its PATH."""

    def __init__(self, folder: Path, releases: ReleaseServer) -> None:
        self.var = folder / "var"
        self.tools = self.var / "tools"
        self.path = folder / "path"
        self.path.mkdir()
        self.environ = {
            "PATH": str(self.path),
            "PYTHONPATH": str(ROOT),
            "PROMETHEUS_RELEASES": releases.url,
            "GRAFANA_RELEASES": f"{releases.url}/",
        }

    def install(self, name: str, text: str = SCRIPT) -> Path:
        """Put the program ``name`` on this machine's PATH."""
        return script(self.path / name, text)

    def start_setup(self) -> subprocess.Popen[str]:
        """Start the set-up and do not wait for it."""
        return subprocess.Popen(
            [sys.executable, "-c", SETUP, str(self.var)],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def setup(self, code: int = 0) -> tuple[str, str]:
        """Run the set-up, expect ``code``, and return what it said on stdout and stderr."""
        process = self.start_setup()
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert "Traceback" not in err
        return out, err


@pytest.fixture
def machine(tmp_path: Path, releases: ReleaseServer) -> Machine:
    """A bare machine that reaches the release server."""
    return Machine(tmp_path, releases)


def script(path: Path, text: str = SCRIPT) -> Path:
    """Write an executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def archive(files: dict[str, str], links: dict[str, str] | None = None, top: str = "x-1/") -> bytes:
    """A .tar.gz of ``files`` and symbolic ``links`` under the folder ``top``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(top + name)
            member.size, member.mode = len(text), 0o755
            tar.addfile(member, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(top + name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()


def said_by(program: Path, *arguments: str) -> str:
    """Return what ``program`` prints."""
    return subprocess.run(
        [str(program), *arguments], check=True, capture_output=True, text=True, timeout=10
    ).stdout.strip()


class TestPrometheus:
    """Where Prometheus comes from."""

    def test_the_official_release_is_unpacked_and_runs(self, machine: Machine) -> None:
        """Where there is none, the release whose checksum matches is unpacked and runs."""
        out, _ = machine.setup()
        program = machine.tools / "prometheus/bin/prometheus"
        assert said_by(program, "--version") == "released --version"
        assert said_by(program.with_name("promtool"), "check") == "released check"
        assert f"prometheus: {program}" in out

    def test_a_second_run_asks_for_nothing(self, machine: Machine, releases: ReleaseServer) -> None:
        """Once all is there, another run makes no request and says the same."""
        first, _ = machine.setup()
        asked = len(releases.asked)
        assert machine.setup() == (first, "")
        assert len(releases.asked) == asked

    def test_one_that_is_on_path_is_used(self, machine: Machine, releases: ReleaseServer) -> None:
        """A Prometheus on PATH is used, nothing is downloaded, and no copy of ours hides it."""
        machine.setup()
        releases.asked.clear()
        program = machine.install("prometheus")
        machine.install("promtool")
        out, _ = machine.setup()
        assert f"prometheus: {program}" in out
        assert not (machine.tools / "prometheus").exists()
        assert releases.asked == []

    def test_a_wrong_checksum_is_refused(self, machine: Machine, releases: ReleaseServer) -> None:
        """An archive that is not what was published is refused, and leaves nothing behind."""
        releases.files[PROMETHEUS] = archive({"prometheus": "#!/bin/sh\necho evil\n"})
        _, err = machine.setup(code=1)
        assert "does not have its published SHA-256 checksum" in err.splitlines()[-1]
        assert list(machine.tools.iterdir()) == []

    def test_an_archive_without_a_published_checksum_is_refused(
        self, machine: Machine, releases: ReleaseServer
    ) -> None:
        """An archive that the list of checksums does not name is not even downloaded."""
        releases.files[PROMETHEUS_SUMS] = b"%s  other.tar.gz\n" % (b"0" * 64)
        _, err = machine.setup(code=1)
        assert "does not list" in err.splitlines()[-1]
        assert PROMETHEUS not in releases.asked

    @pytest.mark.parametrize(
        "evil",
        [
            archive({"../../escaped": "", "prometheus": SCRIPT, "promtool": SCRIPT}),
            archive({"/tmp/escaped": ""}, top=""),  # noqa: S108
            archive({"promtool": SCRIPT}, links={"prometheus": "../../../etc/passwd"}),
            archive({"promtool": SCRIPT}, links={"prometheus": "/etc/passwd"}),
        ],
        ids=["up", "absolute", "link up", "absolute link"],
    )
    def test_a_member_that_leads_out_is_refused(
        self, machine: Machine, releases: ReleaseServer, evil: bytes
    ) -> None:
        """An archive with a member or link that leads out of its folder is not unpacked at all."""
        releases.publish_prometheus(evil)
        _, err = machine.setup(code=1)
        assert "leads out of its folder" in err.splitlines()[-1]
        assert list(machine.tools.iterdir()) == []
        assert not list(machine.var.rglob("escaped"))

    def test_a_download_that_breaks_off_leaves_nothing(
        self, machine: Machine, releases: ReleaseServer
    ) -> None:
        """Half an archive is never used: the run fails with one line, and the next succeeds."""
        releases.breaks_off.add(PROMETHEUS)
        _, err = machine.setup(code=1)
        assert "broke off; install Prometheus" in err.splitlines()[-1]
        assert list(machine.tools.iterdir()) == []
        releases.breaks_off.clear()
        machine.setup()

    def test_a_killed_run_is_resumed(self, machine: Machine, releases: ReleaseServer) -> None:
        """After kill -9 in the middle of a download, the next run ends as a first one would."""
        releases.stalls.add(PROMETHEUS)
        process = machine.start_setup()
        partial = machine.tools / ".partial" / "prometheus.tar.gz"
        eventually(partial.exists, seconds=20)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        assert partial.exists()
        assert not (machine.tools / "prometheus").exists()

        releases.stalls.clear()
        machine.setup()
        assert said_by(machine.tools / "prometheus/bin/prometheus") == "released"
        assert not partial.parent.exists()

    def test_without_any_source_one_line_says_what_to_do(
        self, machine: Machine, releases: ReleaseServer
    ) -> None:
        """Where neither a release nor Debian's package can be had, one line says what to do."""
        releases.files.clear()
        _, err = machine.setup(code=1)
        (line,) = err.splitlines()
        assert line.startswith("setup: Prometheus cannot be had:")
        assert "answered 404; install Prometheus" in line

    @pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs Debian's dpkg-deb")
    def test_debians_package_is_the_last_resort(
        self, machine: Machine, releases: ReleaseServer, tmp_path: Path
    ) -> None:
        """Without a release, Debian's package is unpacked with the scripts of its web pages."""
        releases.files.clear()
        folder = tmp_path / "debs"
        debian_package(folder, "prometheus", "usr/bin/prometheus", "adduser, libjs-jquery (>= 3)")
        debian_package(folder, "libjs-jquery", "usr/share/javascript/jquery.js", "libjs-d3 | x")
        debian_package(folder, "libjs-d3", "usr/share/javascript/d3.js", "node-d3")
        machine.install(
            "apt-get",
            '#!/bin/sh\nwhile [ $# -gt 0 ] && [ "$1" != download ]; do shift; done; shift\n'
            f'for each; do cp "{folder}/$each.deb" . || exit 100; done\n',
        )
        for tool in ("dpkg-deb", "tar", "cp", "rm", "sh"):
            (machine.path / tool).symlink_to(str(shutil.which(tool)))

        _, err = machine.setup()
        assert "taking Debian's Prometheus" in err
        home = machine.tools / "prometheus"
        assert (home / "usr/share/javascript/d3.js").exists()
        pages = home / "bin/../usr/share/prometheus/web/"
        assert (
            said_by(home / "bin/prometheus", "--x") == f"released --web.local-assets={pages}/ --x"
        )
        assert said_by(home / "bin/promtool") == "released"


def debian_package(folder: Path, name: str, file: str, depends: str) -> None:
    """Build FOLDER/NAME.deb, which holds ``file``, and promtool beside a prometheus."""
    tree = folder / name
    script(tree / file)
    if name == "prometheus":
        script(tree / "usr/bin/promtool")
    control = tree / "DEBIAN/control"
    control.parent.mkdir()
    control.write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: none <none@localhost>\n"
        f"Depends: {depends}\nDescription: a stand-in\n"
    )
    command = ["dpkg-deb", "--build", str(tree), str(folder / f"{name}.deb")]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


class TestGrafana:
    """Where Grafana comes from, and that the stack does without it."""

    def test_the_official_release_is_unpacked_and_linked(self, machine: Machine) -> None:
        """Where there is none, the release is unpacked, runs, and gets its program."""
        machine.setup()
        assert said_by(machine.tools / "grafana/bin/grafana", "server") == "released server"
        assert (machine.tools / "grafana/home/conf/defaults.ini").exists()
        assert (machine.var / "programs/grafana.ini").resolve().parent == ROOT / "stack/programs"

    def test_without_it_one_line_says_how_to_add_it(
        self, machine: Machine, releases: ReleaseServer
    ) -> None:
        """A Grafana that cannot be had costs one line and nothing else; the next run has it."""
        del releases.files[f"{GRAFANA}.sha256"]
        out, _ = machine.setup()
        (line,) = [each for each in out.splitlines() if each.startswith("grafana:")]
        assert "not installed" in line
        assert "set GRAFANA_HOME, then run `make setup`" in line
        assert not (machine.var / "programs/grafana.ini").is_symlink()
        assert "The next `make up` tries again" in line

        releases.publish_grafana(archive({"bin/grafana": SCRIPT, "conf/defaults.ini": ""}))
        out, _ = machine.setup()
        assert f"grafana: {machine.tools / 'grafana/home'}" in out
        assert (machine.var / "programs/grafana.ini").is_symlink()

    def test_a_wrong_checksum_is_refused(self, machine: Machine, releases: ReleaseServer) -> None:
        """An archive that is not what was published is not installed; the rest works."""
        releases.files[GRAFANA] = archive({"bin/grafana": SCRIPT})
        out, _ = machine.setup()
        assert "not have its published SHA-256 checksum" in out
        assert not (machine.tools / "grafana").exists()

    def test_grafana_home_wins(
        self, machine: Machine, releases: ReleaseServer, tmp_path: Path
    ) -> None:
        """The Grafana at GRAFANA_HOME is used, now and when the variable is gone again."""
        machine.install("grafana", "#!/bin/sh\necho on PATH\n")
        home = grafana_home(tmp_path / "opt")
        script(home / "bin/grafana", "#!/bin/sh\necho at home $*\n")
        machine.environ["GRAFANA_HOME"] = str(home)
        out, _ = machine.setup()
        assert f"grafana: {home}" in out
        (machine.path / "grafana").unlink()
        del machine.environ["GRAFANA_HOME"]
        assert machine.setup()[0] == out
        assert said_by(machine.tools / "grafana/bin/grafana", "server") == "at home server"
        assert not [path for path in releases.asked if "grafana" in path]

    def test_a_package_on_path_is_used(self, machine: Machine, tmp_path: Path) -> None:
        """A Grafana whose home is in share/grafana, beside its bin, is found from PATH."""
        program = script(tmp_path / "usr/sbin/grafana", "#!/bin/sh\necho packaged $*\n")
        home = grafana_home(tmp_path / "usr/share/grafana")
        machine.environ["PATH"] += f"{os.pathsep}{program.parent}"
        out, _ = machine.setup()
        assert f"grafana: {home}" in out
        assert said_by(machine.tools / "grafana/bin/grafana", "server") == "packaged server"

    def test_an_old_grafana_server_gets_its_own_call(
        self, machine: Machine, tmp_path: Path
    ) -> None:
        """`grafana server ...` reaches an old installation that only has grafana-server."""
        home = grafana_home(tmp_path / "opt")
        script(home / "bin/grafana-server", "#!/bin/sh\necho old $*\n")
        machine.environ["GRAFANA_HOME"] = str(home)
        machine.setup()
        assert said_by(machine.tools / "grafana/bin/grafana", "server", "--x") == "old --x"

    def test_a_grafana_home_that_is_none_is_refused(self, machine: Machine) -> None:
        """A GRAFANA_HOME without Grafana in it is named, with exit code 2."""
        machine.environ["GRAFANA_HOME"] = "/nowhere"
        _, err = machine.setup(code=2)
        assert err.splitlines()[-1].startswith("setup: GRAFANA_HOME=/nowhere is not")


def grafana_home(home: Path) -> Path:
    """Make a folder that looks like Grafana's home path."""
    (home / "conf").mkdir(parents=True)
    (home / "conf/defaults.ini").touch()
    return home


class TestAlertmanager:
    """The Alertmanager of the machine, where it has one."""

    @pytest.mark.parametrize("name", ["alertmanager", "prometheus-alertmanager"])
    def test_one_that_is_on_path_gets_its_program(self, machine: Machine, name: str) -> None:
        """By its own name or Debian's; it goes when it is uninstalled."""
        program = machine.install(name)
        link = machine.var / "programs/alertmanager.ini"
        out, _ = machine.setup()
        assert f"alertmanager: {program}" in out
        assert said_by(machine.tools / "alertmanager/bin/alertmanager", "--x") == "released --x"
        assert link.resolve().parent == ROOT / "stack/programs"
        assert machine.setup()[0] == out

        program.unlink()
        assert "alertmanager: not installed" in machine.setup()[0]
        assert not link.is_symlink()


class TestLinkPrograms:
    """Which of the optional programs supervisord is to see."""

    def test_grafana_only_where_it_is_installed(self, tmp_path: Path) -> None:
        """Grafana's program is linked while it is installed; a person's own file is let be."""
        link, own = tmp_path / "programs/grafana.ini", tmp_path / "programs/own.ini"
        program = tmp_path / "tools/grafana/bin/grafana"
        script(program)
        link.parent.mkdir()
        own.touch()
        link_programs(tmp_path)
        assert not link.readlink().is_absolute()
        assert "[program:grafana]" in link.read_text()
        program.unlink()
        link_programs(tmp_path)
        assert list(link.parent.iterdir()) == [own]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose lock files ask for nothing."""
    for part in ("__init__.py", "install"):
        source, target = ROOT / "rollout" / part, tmp_path / "rollout" / part
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    for lock in ("requirements.lock", "requirements-dev.lock"):
        (tmp_path / lock).write_text("# nothing\n")
    return tmp_path


def bootstrap(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run stage 1 in ``checkout``, with a pip that reaches no index."""
    return subprocess.run(
        [sys.executable, "-m", "rollout.install.bootstrap", *arguments],
        check=False,
        cwd=checkout,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(checkout)},
        capture_output=True,
        text=True,
        timeout=120,
    )


class TestBootstrap:
    """The virtual environment."""

    def test_it_installs_once_and_begins_anew_where_it_was_killed(self, checkout: Path) -> None:
        """What a killed run left is made anew, and what is complete is left alone.

        Where pip fails, its reason is the last line, and nothing counts as complete.
        """
        venv = checkout / ".venv"
        script(venv / "lib/half-a-package")
        (venv / "installed").write_text("unfinished\n")
        assert "creating .venv" in bootstrap(checkout).stderr
        assert not (venv / "lib/half-a-package").exists()
        assert bootstrap(checkout).stderr == ""

        assert "requirements-dev.lock" in bootstrap(checkout, "--dev").stderr
        assert bootstrap(checkout).stderr == ""

        pinned = f"no-such-thing==1.0 --hash=sha256:{'0' * 64}\n"
        (checkout / "requirements.lock").write_text(pinned)
        failed = bootstrap(checkout)
        assert failed.returncode == 1
        assert "creating" not in failed.stderr
        last = failed.stderr.splitlines()[-1]
        assert last == "setup: ERROR: No matching distribution found for no-such-thing==1.0"
        assert (venv / "installed").read_text() == "unfinished\n"

    def test_it_can_be_read_by_a_python_that_is_too_old(self) -> None:
        """The first file that runs has no syntax that Python 3.7 would stumble over."""
        source = (ROOT / "rollout/install/bootstrap.py").read_text()
        ast.parse(source, feature_version=(3, 7))
