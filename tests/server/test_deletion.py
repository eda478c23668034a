"""Deleting a version's record on a real server."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.api.workflowservice.v1 import (
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentManagerRequest,
)
from temporalio.client import Client

from rollout.base.exit import Failure
from rollout.temporal.deletion import NotYet, delete_version
from rollout.temporal.observer import Observer
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually
from tests.support.worker_process import worker

pytestmark = pytest.mark.temporal

ME = "me"


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A server that forgets pollers after 2 s: with the default, 5 min, nobody would wait."""
    made = DevServer(
        tmp_path_factory.mktemp("temporal"),
        *("--dynamic-config-value", 'matching.PollerHistoryTTL="2s"'),
    )
    made.start()
    yield made
    made.stop()


async def make_current(client: Client, name: str, build_id: str) -> None:
    """Send all new runs to a build."""
    await client.workflow_service.set_worker_deployment_current_version(
        SetWorkerDeploymentCurrentVersionRequest(
            namespace="default", deployment_name=name, build_id=build_id, identity=ME
        )
    )


async def deleted(client: Client, name: str, build_id: str) -> None:
    """Try again while the server says that it is too early, for 20 s."""
    for _ in range(20):
        try:
            await delete_version(client, name, build_id, ME)
        except NotYet as early:
            reason = early.reason
            await asyncio.sleep(1)
        else:
            return
    pytest.fail(f"{build_id} cannot be deleted within 20 s: {reason}")


async def refusal(client: Client, name: str, build_id: str) -> str:
    """Why the version cannot be deleted yet."""
    with pytest.raises(NotYet) as refused:
        await delete_version(client, name, build_id, ME)
    assert str(refused.value) == f"{build_id} cannot be deleted yet: {refused.value.reason}"
    return refused.value.reason


async def test_what_stands_in_the_way(temporal_server: DevServer, tmp_path: Path) -> None:
    """Pollers, new runs and draining are told as reasons to wait; another manager is final."""
    name = f"d{secrets.token_hex(4)}"
    client = await Client.connect(temporal_server.address)
    await delete_version(client, name, "v1", ME)  # not even the deployment exists
    with (
        worker(temporal_server, tmp_path, name, "v1", "compatible", "--managed") as v1,
        worker(temporal_server, tmp_path, name, "v2", "incompatible", "--managed") as v2,
    ):
        for each in (v1, v2):
            eventually(lambda c=each: c.records("declared"), seconds=30)  # type: ignore[misc]
        assert "still remembers workers of v1" in await refusal(client, name, "v1")
        await make_current(client, name, "v1")
        assert await refusal(client, name, "v1") == "new runs go to v1"
        await make_current(client, name, "v2")
        assert "runs that began on v1" in await refusal(client, name, "v1")
        await client.workflow_service.set_worker_deployment_manager(
            SetWorkerDeploymentManagerRequest(
                namespace="default", deployment_name=name, manager_identity="they", identity=ME
            )
        )
        with pytest.raises(Failure, match=r"refused to delete v1: .*'they'") as refused:
            await delete_version(client, name, "v1", ME)
        assert not isinstance(refused.value, NotYet)


async def test_gone(forgetful: DevServer, tmp_path: Path) -> None:
    """Once drained and forgotten it is deleted, the other version stays; again does no harm."""
    name = f"d{secrets.token_hex(4)}"
    client = await Client.connect(forgetful.address)
    with (
        worker(forgetful, tmp_path, name, "v1", "compatible") as v1,
        worker(forgetful, tmp_path, name, "v2", "incompatible", "--managed") as v2,
    ):
        eventually(lambda: v1.records("took its place"), seconds=30)
        eventually(lambda: v2.records("declared"), seconds=30)
        await make_current(client, name, "v2")
        v1.stop()
        await deleted(client, name, "v1")
        seen = await Observer(client, name).observe()
        assert [version.build_id for version in seen.versions] == ["v2"]
        await delete_version(client, name, "v1", ME)


async def test_a_server_that_is_away(tmp_path: Path) -> None:
    """It is no reason to give up: try again later."""
    own = DevServer(tmp_path)
    own.start()
    client = await Client.connect(own.address)
    own.stop()
    with pytest.raises(NotYet, match="could not learn whether v1 was deleted: the server gave no"):
        await delete_version(client, "d", "v1", ME)
