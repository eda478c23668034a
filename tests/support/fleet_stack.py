"""A small stack of its own for tests that add and remove programs: real supervisord, few files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from rollout.base.settings import ROOT
from rollout.exporter.targets import worker_targets
from rollout.supervision.fleet.fleet import Fleet
from rollout.supervision.rpc import Process
from tests.support.supervisord import PrivateSupervisord

__all__ = ["FleetStack"]

# Quick to start, and told what to do by the build id.
_WORKERS = """\
import os, signal, sys, time
build_id = sys.argv[sys.argv.index("--build-id") + 1]
if "--check" in sys.argv:
    sys.exit("workers: the code of this build is broken" if "broken" in build_id else 0)
if "dying" in build_id:
    print("workers: the server knows other code", flush=True)
    sys.exit(1)
def end(*_):
    while "slow" in build_id and not os.path.exists("release"):
        time.sleep(0.05)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("polling", flush=True)
while True:
    time.sleep(60)
"""
BYSTANDERS = ("one", "two")


class FleetStack(PrivateSupervisord):
    """A stack of two bystanders and no worker yet, in the layout of the checkout.

    Its workers are stand-ins that talk to nobody, unless ``workers`` is "real".
    """

    def __init__(self, workers: str = "stand-in", **environ: str) -> None:
        super().__init__(environ=environ)
        self.programs = self.folder / "workers" / "programs"
        self.logs = self.folder / "var" / "log"
        conf = self._config.read_text("utf-8").replace("= programs/", "= workers/programs/")
        self._config.write_text(conf, "utf-8")
        (self.folder / ".venv").symlink_to(Path(sys.prefix))
        (self.folder / "rollout").symlink_to(ROOT / "rollout")
        if workers == "real":
            programs = shutil.ignore_patterns("programs", "__pycache__")
            shutil.copytree(ROOT / "workers", self.folder / "workers", ignore=programs)
        else:
            (self.folder / "workers").mkdir()
            (self.folder / "workers" / "__main__.py").write_text(_WORKERS, "utf-8")
        for folder in (self.programs, self.folder / "var" / "run", self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "release").touch()
        for name in BYSTANDERS:
            self.configure(name, "command = sleep 1000")

    def fleet(self, deployment: str = "greetings") -> Fleet:
        """The workers of ``deployment`` in it."""
        return Fleet(self.rpc, self.folder, deployment=deployment)

    def script(self, code: str) -> subprocess.Popen[str]:
        """Run ``code``, in which ``fleet`` is the fleet, in a process of its own."""
        text = (
            "import asyncio, os, signal\nfrom pathlib import Path\n"
            "from rollout.supervision.fleet.fleet import Fleet\n"
            "from rollout.supervision.fleet.loading import Loader\n"
            "from rollout.supervision.rpc import Supervisor\nfrom rollout.base.exit import finish\n"
            f"fleet = Fleet(Supervisor(Path({str(self.socket)!r})), Path({str(self.folder)!r}))\n"
            "def crash(*_, **__): os.kill(os.getpid(), signal.SIGKILL)\n"
            f"{code}"
        )
        return subprocess.Popen(
            [sys.executable, "-c", text],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def slow_workers_held(self) -> Iterator[None]:
        """Workers of builds called slow do not end within this block, and do after it."""
        release = self.folder / "release"
        release.unlink(missing_ok=True)
        try:
            yield
        finally:
            release.touch()

    async def groups(self) -> dict[str, list[Process]]:
        """The loaded processes by group."""
        found: dict[str, list[Process]] = {}
        for process in await self.rpc.processes():
            found.setdefault(process.group, []).append(process)
        return found

    async def pids(self) -> dict[str, int | None]:
        """The process id of each program."""
        return {name: each[0].pid for name, each in (await self.groups()).items()}

    @contextmanager
    def running(self) -> Iterator[FleetStack]:
        """It, up within this block."""
        self.start()
        yield self
        self.stop()

    @asynccontextmanager
    async def untouched(self) -> AsyncIterator[None]:
        """The proof that this block leaves nothing behind, and touches no bystander."""
        before = await self.pids()
        assert set(before) == set(BYSTANDERS)
        yield
        assert await self.pids() == before
        assert self.files() == {f"{name}.ini" for name in BYSTANDERS}

    async def targets(self) -> dict[str, int]:
        """The port that Prometheus would scrape for each worker program."""
        found = worker_targets(await self.rpc.config())
        return {
            each["labels"]["program"]: int(each["targets"][0].rpartition(":")[2]) for each in found
        }

    def files(self) -> set[str]:
        """All that is in the folder of program files, and what lies beside the configuration."""
        beside = {file.name for file in self.folder.iterdir() if file.name.endswith(".new")}
        return {file.name for file in self.programs.iterdir()} | beside

    def open_files(self) -> Counter[str]:
        """What supervisord holds open, by kind or path."""
        assert self._process is not None
        found: Counter[str] = Counter()
        for link in Path(f"/proc/{self._process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # a connection that has just ended
                found[str(link.readlink()).partition(":")[0]] += 1
        return found

    def _file(self, name: str) -> Path:
        return self.programs / f"{name}.ini"
