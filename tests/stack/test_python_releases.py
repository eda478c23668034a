"""Two releases of one package, each in a virtual environment of its own, under one supervisord.

In each environment are temporalio and what the extra `worker` brings, and nothing else of ours.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

from rollout.base.settings import ROOT, VENV_BIN
from rollout.temporal.versions import version_metadata
from tests.support.release import environment
from tests.support.supervisord import PrivateSupervisord
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.temporal

_LIGHT = (
    *("temporalio", "google", "nexusrpc", "typing_extensions.py"),
    *("structlog", "tenacity", "msgspec", "psutil"),
)
_WORKFLOWS = """
from datetime import timedelta
from temporalio import activity, workflow
from shop import prices

@activity.defn
async def charge(what: str) -> str:
    return f"{{what}} charged by {release} at {{prices.OF_ONE}}"

@workflow.defn
class Buy:
    @workflow.run
    async def run(self, what: str) -> str:
        return await workflow.execute_activity(
            charge, {argument}, start_to_close_timeout=timedelta(seconds=10)
        )

WORKFLOWS = [Buy]
ACTIVITIES = [charge]
"""


class Shop:
    """A supervisord, and a folder for releases."""

    def __init__(self, server: DevServer) -> None:
        self.server = server
        self.name = f"r{secrets.token_hex(4)}"
        self.supervisord = PrivateSupervisord(environ=server.environ)
        self.folder = self.supervisord.folder
        (self.folder / "rollout.ini").write_text(
            f"[rollout]\nsupervisor = unix://{self.supervisord.socket}\n"
            f"[environment]\nTEMPORAL_ADDRESS = {server.address}\n"
        )
        (self.folder / "rollout.toml").write_text(
            f'[deployment]\nname = "{self.name}"\ntask_queue = "{self.name}"\n'
            'baseline = "r1"\ntarget = "r1"\n'
        )
        self.light = self.folder / "light"
        self.light.mkdir()
        for each in _LIGHT:
            (self.light / each).symlink_to(Path(sysconfig.get_path("purelib")) / each)
        # A copy: what is linked to would take the checkout for its home.
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "rollout", self.light / "rollout", ignore=ignored)

    def release(self, name: str, argument: str = "what") -> Path:
        """The Python of a release, in whose environment the package ``shop`` is installed."""
        folder = self.folder / "releases" / name
        site = environment(folder, self.light)
        (site / "shop").mkdir()
        (site / "shop" / "__init__.py").touch()
        (site / "shop" / "prices.py").write_text(f"OF_ONE = {len(name)}\n")
        self.workflows(name).write_text(_WORKFLOWS.format(release=name, argument=argument))
        return folder / ".venv" / "bin" / "python"

    def workflows(self, name: str) -> Path:
        """The module of a release's workflows."""
        (found,) = (self.folder / "releases" / name).glob(".venv/lib/python*/site-packages/shop")
        return found / "workflows.py"

    def rollout(self, *words: str | Path, code: int = 0) -> str:
        """What `rollout WORDS` prints; it must end with ``code``."""
        done = subprocess.run(
            [VENV_BIN / "python", "-m", "rollout", *words],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "ROLLOUT_HOME": str(self.folder),
                **self.server.environ,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        return said

    def make_current(self, build_id: str) -> None:
        """New runs go to the build."""
        done = self.server.cli(
            "worker", "deployment", "set-current-version", "--yes",
            "--deployment-name", self.name, "--build-id", build_id,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.fixture
def shop(temporal_server: DevServer) -> Iterator[Shop]:
    """The machine, its supervisord running."""
    made = Shop(temporal_server)
    try:
        made.supervisord.start()
        yield made
    finally:
        made.supervisord.stop()


async def test_each_runs_in_its_own_python(shop: Shop) -> None:
    """Worker, check, replay and fingerprint are those of the release's own environment."""
    client = await Client.connect(shop.server.address)

    async def buy(what: str) -> str:
        run_id = f"{shop.name}-{what}"
        return str(await client.execute_workflow("Buy", what, id=run_id, task_queue=shop.name))

    first = shop.release("r1")
    added = shop.rollout("add", "r1", "--python", first, "--app", "shop.workflows")
    assert "polls, metrics on port " in added
    shop.make_current("r1")
    assert await buy("tea") == "tea charged by r1 at 2"

    # Relative, as a person types it; the third release gives its activity something else.
    shop.release("r22")
    relative = Path("releases/r22/.venv/bin/python")
    shop.rollout("add", "r22", "--python", relative, "--app", "shop.workflows")
    shop.make_current("r22")
    assert await buy("cake") == "cake charged by r22 at 3"
    third = shop.release("r333", argument="what.upper()")
    shop.rollout("add", "r333", "--python", third, "--app", "shop.workflows")

    prints = [await version_metadata(client, shop.name, each) for each in ("r1", "r22", "r333")]
    assert len({each.fingerprint for each in prints if each}) == 3
    assert "passed: 1 run of r1 replay on r22" in shop.rollout("verify", "r22", "--from", "r1")
    drifted = shop.rollout("verify", "r333", "--from", "r1")
    assert "argument 1 of the activity charge is not what it was" in drifted

    shop.make_current("r1")
    eventually(lambda: "r333" in shop.rollout("retire", "r333", "--force", "--yes"), seconds=60)
    assert await buy("bread") == "bread charged by r1 at 2"


def test_what_is_wrong_is_told_before_anything_is_started(shop: Shop) -> None:
    """An environment without the runner, code that cannot be imported, a Python that is none."""
    python = shop.release("r1")
    broken = shop.release("r2")
    shop.workflows("r2").write_text("import nothing_of_this_name\n")
    bare = shop.release("r3")
    (light,) = shop.folder.glob("releases/r3/.venv/lib/python*/site-packages/libraries.pth")
    light.unlink()
    add = ("--app", "shop.workflows")
    for build_id, words, code, message in (
        ("r2", ("--python", broken, *add), 2, "--app shop.workflows cannot be imported"),
        ("r3", ("--python", bare, *add), 1, "pip install 'temporal-worker-rollout[worker]'"),
        ("r4", ("--python", "releases/r4/bin/python", *add), 2, "releases/r4/bin/python is no"),
        ("r1", ("--python", python), 2, "which workflows? give --app MODULE"),
    ):
        assert message in shop.rollout("add", build_id, *words, code=code)
    assert not list((shop.folder / "programs").iterdir())


def test_changed_code_under_an_old_name(shop: Shop) -> None:
    """A release that was changed where it lies does not start again, and says why."""
    shop.rollout("add", "r1", "--python", shop.release("r1"), "--app", "shop.workflows")
    (shop.workflows("r1").parent / "prices.py").write_text("OF_ONE = 1000\n")
    (program,) = (file.stem for file in (shop.folder / "programs").iterdir())
    shop.supervisord.ctl("restart", program)
    (log,) = shop.folder.glob(f"var/log/{program}.log")
    eventually(lambda: "build r1 was deployed with code " in log.read_text())
