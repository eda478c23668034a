"""docs/python-workers.md: its code does what the page says of it."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import temporalio.client
from temporalio.client import Client
from temporalio.worker import Interceptor

from rollout.base.settings import ROOT
from rollout.worker.own_options import own_options
from tests.support.own_build import Cipher, PricesHandler
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually
from tests.support.worker_process import Command, environ

_WORKFLOWS = """
from datetime import timedelta
from temporalio import activity, workflow

@activity.defn
async def charge(amount: int) -> str:
    return f"charged {amount}"

@workflow.defn
class Order:
    @workflow.run
    async def run(self, amount: int) -> str:
        return await workflow.execute_activity(
            charge, amount, start_to_close_timeout=timedelta(seconds=10)
        )
"""
_TEMPORALIO_ALONE = """
import runpy, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        known = {"temporalio", "google", "nexusrpc", "typing_extensions", "shop"}
        if first not in known and first not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
runpy.run_module("shop.worker", run_name="__main__", alter_sys=True)
"""


def block(first_line: str) -> str:
    """The page's Python code that begins so."""
    page = (ROOT / "docs" / "python-workers.md").read_text("utf-8")
    (found,) = (
        code
        for code in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        if code.startswith(first_line)
    )
    return str(found)


@pytest.fixture
def shop(tmp_path: Path, temporal_server: DevServer) -> Iterator[Command]:
    """The page's worker, with its own `main()`, where temporalio alone can be imported."""
    folder = tmp_path / "shop"
    folder.mkdir()
    name = f"p{secrets.token_hex(4)}"
    (folder / "workflows.py").write_text(_WORKFLOWS)
    (folder / "version.py").write_text(block("import os\n"))
    main = block("import asyncio\nimport signal\n")
    assert '"shop"' in main
    (folder / "worker.py").write_text(main.replace('"shop"', f'"{name}"'))
    variables = {"TEMPORAL_DEPLOYMENT_NAME": name, "TEMPORAL_WORKER_BUILD_ID": "3f9c2ab"}
    words = [sys.executable, "-c", _TEMPORALIO_ALONE]
    command = Command(words, environ(temporal_server, **variables), tmp_path, cwd=tmp_path)
    command.name = name  # type: ignore[attr-defined]
    yield command
    command.end()


@pytest.mark.temporal
async def test_six_lines_are_enough(temporal_server: DevServer, shop: Command) -> None:
    """The worker is the version that its environment says, and drains on SIGTERM."""
    name: str = shop.name  # type: ignore[attr-defined]

    def is_current() -> bool:
        assert shop.returncode is None, shop.log_file.read_text()
        done = temporal_server.cli(
            "worker", "deployment", "set-current-version", "--yes",
            "--deployment-name", name, "--build-id", "3f9c2ab",
        )  # fmt: skip
        return done.returncode == 0

    eventually(is_current, seconds=30)
    client = await Client.connect(temporal_server.address)
    result = await client.execute_workflow("Order", 5, id=f"{name}-1", task_queue=name)
    assert result == "charged 5"
    version = (await client.get_workflow_handle(f"{name}-1").describe()).raw_description
    said = version.workflow_execution_info.versioning_info.deployment_version
    assert (said.deployment_name, said.build_id) == (name, "3f9c2ab")
    assert shop.stop() == 0


def test_six_lines_they_are() -> None:
    """Without the blank one."""
    assert len([line for line in block("import os\n").splitlines() if line]) == 6


def test_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module of the page gives options that the runner takes."""
    tracing = ModuleType("temporalio.contrib.opentelemetry")
    tracing.TracingInterceptor = type(  # type: ignore[attr-defined]
        "TracingInterceptor", (temporalio.client.Interceptor, Interceptor), {}
    )
    monkeypatch.setitem(sys.modules, "temporalio.contrib.opentelemetry", tracing)
    module = ModuleType("shop")
    module.__dict__.update(Encryption=Cipher, PricesHandler=PricesHandler)
    exec(block("from concurrent.futures"), module.__dict__)  # noqa: S102 - the page's own
    own = own_options(module)
    assert set(own.client) == {"data_converter", "interceptors", "plugins"}
    assert {"workflow_runner", "tuner", "nexus_service_handlers"} <= own.worker.keys()
    assert own.lifespan is not None


def test_the_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page imports of `rollout.worker` is there."""
    line = block("from rollout.worker import").splitlines()[0]
    exec(line, {})  # noqa: S102 - the page's own
