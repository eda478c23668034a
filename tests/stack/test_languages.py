"""A worker in TypeScript and one in Go, with their SDKs' own options, from one release to the next.

The page's commands under a supervisord of the test's own, and a real Prometheus on the snippet that
`rollout init` has written.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError

from rollout.base.settings import ROOT
from tests.support.example_workers import Example, go, typescript
from tests.support.own_home import OwnHome
from tests.support.prometheus import Prometheus
from tests.support.supervisord import PrivateSupervisord
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually, until

pytestmark = [pytest.mark.temporal, pytest.mark.stack, pytest.mark.long]

PAGE = (ROOT / "docs" / "go-and-typescript.md").read_text("utf-8")


@dataclass(frozen=True)
class Language:
    """An example, and what of the second release's code is another."""

    build: Callable[..., Example]
    words: str
    """Of its worker, as the page's command has them."""
    workflow: str
    change: tuple[str, str]


LANGUAGES = {
    "typescript": Language(
        typescript,
        "node lib/worker.js",
        "order",
        ("return await ship(id);", "return 'by v2: ' + (await ship(id));"),
    ),
    "go": Language(
        go,
        "bin/worker",
        "Order",
        ("return shipped, err", 'return "by v2: " + shipped, err'),
    ),
}


def add_command(language: Language) -> list[str]:
    """The command that the page has for it."""
    line = next(
        line for line in PAGE.replace("\\\n", " ").splitlines()
        if line.startswith("rollout add ") and line.endswith(f"-- {language.words}")
    )  # fmt: skip
    return re.findall(r"'([^']*)'|(\S+)", line.removeprefix("rollout "))


def page_table(name: str) -> str:
    """The page's example of the table ``[name]``."""
    found = re.search(rf"^\[{name}\]\n.*?(?=^\[|^```)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[0]


class Upgrade:
    """A deployment of its own, as a person has it after `rollout init`."""

    def __init__(self, server: DevServer, folder: Path, language: Language) -> None:
        self.name = f"shop-{secrets.token_hex(3)}"
        self.language = language
        self.supervisord = PrivateSupervisord()
        self.home = OwnHome(server, self.supervisord)
        self.prometheus = Prometheus(folder / "prometheus")
        self._folder = folder

    def start(self) -> None:
        """Everything but a worker."""
        self.supervisord.start()
        words = ("--supervisor", f"unix://{self.supervisord.socket}")
        url = {"PROMETHEUS_URL": self.prometheus.url}
        self.home.init(
            "-d", self.name, "--directory", str(self.home.folder), *words, environ=url
        )  # fmt: skip
        self._want()
        self.home.update("rollout", "rollout-exporter")
        self.prometheus.start((self.home.folder / "prometheus-scrape.yml").read_text())

    def stop(self) -> None:
        """All of it."""
        self.prometheus.stop()
        self.supervisord.stop()

    def _want(self) -> None:
        file = self.home.folder / f"{self.name}.toml"
        text = file.read_text().replace('"5m"', '"3s"').replace('settle = "20s"', 'settle = "1s"')
        gate = page_table("gate").replace('"order"', f'"{self.language.workflow}"')
        file.write_text(f"{text}\n{gate}\n[analysis]\nmin_samples = 5\n")

    def release(self, build_id: str, change: tuple[str, str] | None = None) -> Path:
        """Build the release and add it, by the page's command."""
        folder = self._folder / build_id
        self.language.build(folder, change)
        words = ["".join(each) for each in add_command(self.language)]
        told = {"3f9c2ab": build_id, "/srv/shop/releases/3f9c2ab": str(folder)}
        words = [str(free_port()) if each == "9201" else told.get(each, each) for each in words]
        said = self.home.rollout(*words)
        assert f"{build_id} polls" in said
        return folder

    def status(self) -> dict[str, Any]:
        """What the controller serves: the document of `rollout status --json`."""
        text = (self.home.include / "rollout.ini").read_text()
        (port,) = re.findall(r"--metrics-port (\d+)", text)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status", timeout=5) as answer:
            (found,) = json.load(answer)["deployments"]
        return dict(found)

    def version(self, build_id: str) -> dict[str, Any]:
        """What it says of one build."""
        return next(each for each in self.status()["versions"] if each["build_id"] == build_id)

    def is_current(self, build_id: str) -> bool:
        """Whether it is, and all is done."""
        status = self.status()
        assert status["current"] == build_id, f"{status['phase']}: {status['reason']}"
        return True


@pytest.fixture(params=sorted(LANGUAGES))
def upgrade(
    request: pytest.FixtureRequest, temporal_server: DevServer, tmp_path: Path
) -> Iterator[Upgrade]:
    """One for each language."""
    made = Upgrade(temporal_server, tmp_path, LANGUAGES[request.param])
    try:
        made.start()
        yield made
    finally:
        made.stop()


@asynccontextmanager
async def traffic(client: Client, upgrade: Upgrade) -> AsyncIterator[None]:
    """A few runs a second, for the time of the block."""

    async def go_on() -> None:
        while True:
            await client.start_workflow(
                upgrade.language.workflow, args=["cake", 0], id=f"o-{secrets.token_hex(6)}",
                task_queue=upgrade.name,
            )  # fmt: skip
            await asyncio.sleep(0.25)

    task = asyncio.create_task(go_on())
    yield
    assert not task.done(), task
    task.cancel()


@pytest.mark.timeout(
    900
)  # installing and compiling in both languages, and an SDK's first heartbeat
async def test_from_one_release_to_the_next(upgrade: Upgrade) -> None:
    """Gate, ramp, analysis by their own metrics, drain, safe to stop, retired."""
    client = await Client.connect(upgrade.home.server.address)
    upgrade.release("v1")
    upgrade.home.rollout("to", "v1")
    eventually(lambda: upgrade.is_current("v1"), seconds=60)
    workflow, queue = upgrade.language.workflow, upgrade.name
    asleep = await client.start_workflow(
        workflow, args=["tea", 3600], id=f"{queue}-tea", task_queue=queue
    )

    upgrade.release("v2", upgrade.language.change)
    async with traffic(client, upgrade):
        upgrade.home.rollout("to", "v2")

        async def current() -> bool:
            return await asyncio.to_thread(upgrade.is_current, "v2")

        await until(current, seconds=120)
    found = await client.execute_workflow(
        workflow, args=["x", 0], id=f"{queue}-x", task_queue=queue
    )
    assert found == "by v2: shipped x"
    runs = client.list_workflows(f"WorkflowType='{workflow}' AND TaskQueue='{queue}'")
    gates = [run.status async for run in runs if run.id.startswith(f"gate/{queue}/v2/")]
    assert gates == [WorkflowExecutionStatus.COMPLETED]
    scraped = upgrade.prometheus.query("count by (build_id, deployment_name) (up{job='worker'})")
    assert {(s["metric"]["build_id"], s["metric"]["deployment_name"]) for s in scraped} == {
        ("v1", queue), ("v2", queue)
    }  # fmt: skip
    assert not upgrade.prometheus.query("{exported_build_id!=''}")

    eventually(lambda: upgrade.version("v1")["open_runs"] == 1)
    assert not upgrade.version("v1")["safe_to_stop"]
    await asleep.cancel()
    with pytest.raises(WorkflowFailureError):  # v1's worker, and no other, has ended it
        await asleep.result()
    eventually(lambda: upgrade.version("v1")["safe_to_stop"], seconds=120)
    upgrade.home.rollout("retire", "v1", "--yes")
    program = f"worker-{queue}-v1"
    assert not (upgrade.home.include / f"{program}.ini").exists()
    assert f"stopped: {program} (exit status 0)" in upgrade.supervisord.log()

    def only_v2_runs() -> bool:
        versions = upgrade.status()["versions"]
        return [v["build_id"] for v in versions if v["process"] is not None] == ["v2"]

    eventually(only_v2_runs, seconds=60)
    assert upgrade.status()["phase"] == "complete"
