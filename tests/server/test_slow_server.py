"""A server that answers each call after four seconds: late is told, and nothing else is wrong."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from uuid import uuid4

import pytest
from structlog.testing import capture_logs
from temporalio.client import Client

from rollout.controller.operator import Operator
from rollout.core.actions import SetCurrent, StopProgram
from rollout.core.config_file import parse
from rollout.core.plan import plan
from rollout.core.status_document import status_document
from rollout.core.verdict import STALE, safe_to_stop
from rollout.temporal.observer import Observer
from rollout.temporal.routing import DeploymentRouting, Refused
from tests.support.foreign_worker import connect, foreign_worker
from tests.support.slow_proxy import slow_proxy
from tests.support.temporal_server import DevServer
from tests.support.waiting import until

pytestmark = pytest.mark.temporal

SECONDS = 4.0


async def test_late_and_not_wrong(temporal_server: DevServer) -> None:
    """Nothing claims to be younger than it is, or acts on a routing that is another by now."""
    client = await connect(temporal_server)
    deployment = f"late-{uuid4().hex[:8]}"
    routing = DeploymentRouting(client, deployment, "me")
    observer = Observer(client, deployment)
    config = parse(f'[deployment]\nname = "{deployment}"\ntarget = "v2"\n')
    async with (
        foreign_worker(client, deployment, "v1"),
        foreign_worker(client, deployment, "v2"),
        slow_proxy(temporal_server.address, SECONDS) as address,
    ):

        async def registered() -> bool:
            return len((await observer.observe()).versions) == 2

        await until(registered, seconds=20)
        await routing.set_current("v1")
        late = await Client.connect(address)
        slow = Observer(late, deployment, at_once=False)
        seen = await slow.observe("v2")
        # The routing was answered 4 s late, and the parts after that.
        for what, least in ((seen.at, 2 * SECONDS), (seen.oldest, 2 * SECONDS)):
            assert age(what) >= least
        assert not safe_to_stop(seen, "v2", "v2", datetime.now(timezone.utc)).safe_to_stop

        # While it looks again, somebody routes by hand.
        looking = asyncio.create_task(slow.observe("v2"))
        await asyncio.sleep(SECONDS / 2)
        await routing.set_current("v2")
        seen = await looking
        assert seen.current == "v1"  # as it was when the question was asked, and that is told
        document = status_document(
            config, seen, plan(config, seen, now(), "me"), now(), source=None
        )
        assert document["age_seconds"] >= SECONDS
        assert document["age_seconds"] >= age(seen.at) - 1
        operator = Operator(late, deployment, "me", lambda _: slow.expire())
        for action in (SetCurrent("v1"), StopProgram("v2")):
            with capture_logs() as logged, pytest.raises(Refused):
                await operator._perform(action, config, seen)
            assert logged == []
        assert (await observer.observe()).current == "v2"

        # An observation that nobody renews is soon nothing to rely on.
        later = seen.oldest + STALE * 1.1
        assert not safe_to_stop(seen, "v1", "v2", later).safe_to_stop
        assert plan(config, seen, later, "me").actions == ()


def now() -> datetime:
    """The time of day."""
    return datetime.now(timezone.utc)


def age(moment: datetime) -> float:
    """Seconds since ``moment``."""
    return (now() - moment).total_seconds()
