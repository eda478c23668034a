"""A build that uses each of the options that a module may give, and tells what it saw of them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import nexusrpc
import nexusrpc.handler
import temporalio.client
import temporalio.worker
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    WorkerTuner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from tests.support import own_passed

_KEY = 0x5A
_TIP = int(os.environ.get("OWN_TIP", "0"))
_POOL: ContextVar[str] = ContextVar("pool", default="no pool")
_running, _most, _lock = 0, 0, threading.Lock()


class Cipher(PayloadCodec):
    """Nothing that anybody could read, for the purposes of a test."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload as a whole, ciphered."""
        return [
            Payload(
                metadata={"encoding": b"binary/encrypted"}, data=_ciphered(each.SerializeToString())
            )
            for each in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """What is not ciphered stays as it is."""
        return [
            Payload.FromString(_ciphered(each.data))
            if each.metadata.get("encoding") == b"binary/encrypted"
            else each
            for each in payloads
        ]


def _ciphered(data: bytes) -> bytes:
    return bytes(byte ^ _KEY for byte in data)


CONVERTER = replace(DataConverter.default, payload_codec=Cipher())


class Signing(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """Signs what each activity returns."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap what is called next."""
        return _Signing(next)


class _Signing(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        return {**(await self.next.execute_activity(input)), "signed": True}


@nexusrpc.service
class Prices:
    """A Nexus service."""

    double: nexusrpc.Operation[int, int]


@nexusrpc.handler.service_handler(service=Prices)
class PricesHandler:
    """Its handler, which runs in a thread of the executor that the build gives."""

    @nexusrpc.handler.sync_operation
    def double(self, _context: nexusrpc.handler.StartOperationContext, amount: int) -> int:
        """Twice as much."""
        assert threading.current_thread().name.startswith("own-nexus")
        return 2 * amount


@activity.defn
def charge(amount: int) -> dict[str, Any]:
    """What this process looks like from within a thread of its activities."""
    global _running, _most  # noqa: PLW0603
    with _lock:
        _running += 1
        _most = max(_most, _running)
    time.sleep(0.2)
    with _lock:
        _running -= 1
    return {
        "charged": amount,
        "thread": threading.current_thread().name,
        "most_at_once": _most,
        "token": id(own_passed.TOKEN),
    }


@activity.defn
async def pool() -> dict[str, Any]:
    """What the lifespan has left in its context."""
    return {"pool": _POOL.get()}


@workflow.defn
class Buy:
    """Calls all of it."""

    @workflow.run
    async def run(self, amount: int, endpoint: str) -> dict[str, Any]:
        """All that its activities have seen, and what it has."""
        seconds = timedelta(seconds=20)
        done: dict[str, Any] = await workflow.execute_activity(
            charge, amount + _TIP, start_to_close_timeout=seconds
        )
        done |= await workflow.execute_activity(pool, start_to_close_timeout=seconds)
        if endpoint:
            prices = workflow.create_nexus_client(service=Prices, endpoint=endpoint)
            done["doubled"] = await prices.execute_operation(Prices.double, amount)
        return {**done, "passed_through": done["token"] == id(own_passed.TOKEN)}


WORKFLOWS = [Buy]
ACTIVITIES = [charge, pool]
TASK_QUEUES = {
    **{name: [Buy, charge, pool] for name in os.environ.get("OWN_QUEUES", "").split() if name},
    **{name: [charge] for name in os.environ.get("OWN_CHARGES", "").split() if name},
}


def client_options() -> dict[str, Any]:
    """For `Client.connect`."""
    return {"data_converter": CONVERTER, "interceptors": [Signing()]}


def worker_options() -> dict[str, Any]:
    """For `Worker`."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules("tests.support.own_passed")
    return {
        "activity_executor": ThreadPoolExecutor(4, thread_name_prefix="own-activities"),
        "nexus_task_executor": ThreadPoolExecutor(1, thread_name_prefix="own-nexus"),
        "nexus_service_handlers": [PricesHandler()],
        "tuner": WorkerTuner.create_fixed(activity_slots=1),
        "workflow_runner": SandboxedWorkflowRunner(restrictions=restrictions),
    }


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    """Around the worker's life."""
    _note("entered")
    _POOL.set("a pool")
    yield
    _note("left")


def _note(word: str) -> None:
    if notes := os.environ.get("OWN_NOTES"):
        with Path(notes).open("a", encoding="utf-8") as file:
            file.write(f"{word}\n")
