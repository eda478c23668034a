"""What a build's module may say of its own client and worker, beside what it offers.

* ``client_options()``: a dict for `Client.connect`, such as a data converter or interceptors;
* ``worker_options()``: a dict for `Worker`, such as executors, a tuner or a workflow runner;
* ``lifespan()``: an async context manager, entered before the worker polls and left once it has
  drained;
* ``TASK_QUEUES``: the task queues to poll, beside those of ``--task-queue``;
* ``NEXUS_SERVICES``: Nexus service handlers;
* ``SANDBOX_PASSTHROUGH``: modules that the workflow sandbox takes as they are.

The two functions are called once, when the module is loaded, for a worker and a replay alike.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import temporalio.client
import temporalio.worker
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.service import TLSConfig
from temporalio.worker import Worker, WorkerTuner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from rollout.base.exit import Misuse

__all__ = ["Lifespan", "OwnOptions", "own_options"]

Lifespan = Callable[[], AbstractAsyncContextManager[object]]

_OF_CLIENT: Mapping[str, str] = {
    "target_host": "TEMPORAL_ADDRESS says where Temporal is, to every process alike",
    "namespace": "TEMPORAL_NAMESPACE says it, to every process alike",
    "identity": "the runner names its process itself",
    "runtime": "the runner makes it: give --metrics-port for metrics",
    "lazy": "the runner connects, and waits for as long as Temporal is away",
}
"""What the runner itself must own of `Client.connect`, and what to do instead."""

_VERSION = "the runner says the version, from --deployment, --build-id and --versioning"
_OF_WORKER: Mapping[str, str] = {
    "client": "the runner connects: give client_options()",
    "task_queue": "give --task-queue or TASK_QUEUES",
    "workflows": "list them in WORKFLOWS",
    "activities": "list them in ACTIVITIES",
    "identity": "the runner names its process itself",
    "graceful_shutdown_timeout": "give --drain",
    "deployment_config": _VERSION,
    "build_id": _VERSION,
    "use_worker_versioning": _VERSION,
}
"""The same of `Worker`."""

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "data_converter": DataConverter,
    "tls": (bool, TLSConfig),
    "activity_executor": Executor,
    "workflow_task_executor": ThreadPoolExecutor,
    "nexus_task_executor": ThreadPoolExecutor,
    "workflow_runner": WorkflowRunner,
    "unsandboxed_workflow_runner": WorkflowRunner,
    "tuner": WorkerTuner,
}
_CLIENT_LISTS: Mapping[str, type] = {
    "interceptors": temporalio.client.Interceptor,
    "plugins": temporalio.client.Plugin,
}
_WORKER_LISTS: Mapping[str, type] = {
    "interceptors": temporalio.worker.Interceptor,
    "plugins": temporalio.worker.Plugin,
    "nexus_service_handlers": object,
}


@dataclass(frozen=True)
class OwnOptions:
    """The module's own options, checked as far as can be without a server."""

    client: Mapping[str, Any] = field(default_factory=dict)
    worker: Mapping[str, Any] = field(default_factory=dict)
    """``SANDBOX_PASSTHROUGH`` and ``NEXUS_SERVICES`` are in it."""
    lifespan: Lifespan | None = None
    task_queues: tuple[str, ...] = ()

    @property
    def nexus_services(self) -> tuple[object, ...]:
        """The Nexus service handlers, wherever they were listed."""
        return tuple(self.worker.get("nexus_service_handlers", ()))

    def for_replay(self) -> dict[str, Any]:
        """What of it the replay of a history depends on, for `Replayer`."""
        options = {
            **_only(self.client, "data_converter", "header_codec_behavior"),
            **_only(
                self.worker,
                *("workflow_runner", "unsandboxed_workflow_runner", "workflow_task_executor"),
                *("workflow_failure_exception_types", "debug_mode"),
                "disable_safe_workflow_eviction",
            ),
        }
        # As in a worker, to which the client's own come first.
        for name, kind in (
            ("interceptors", temporalio.worker.Interceptor),
            ("plugins", temporalio.worker.Plugin),
        ):
            of_client = (each for each in self.client.get(name, ()) if isinstance(each, kind))
            options[name] = [*of_client, *self.worker.get(name, ())]
        return options


def own_options(module: ModuleType) -> OwnOptions:
    """Read them of ``module``. Raises `Misuse`, with the module's name, for what is none."""
    name = module.__name__
    client = _called(module, "client_options")
    _check(f"{name}: client_options()", client, Client.connect, _OF_CLIENT, _CLIENT_LISTS)
    worker = _called(module, "worker_options")
    _check(f"{name}: worker_options()", worker, Worker, _OF_WORKER, _WORKER_LISTS)
    if services := _nexus_services(module):
        worker["nexus_service_handlers"] = [*worker.get("nexus_service_handlers", ()), *services]
    if passed := _names(module, "SANDBOX_PASSTHROUGH", "module"):
        if "workflow_runner" in worker:
            raise Misuse(
                f"{name}: SANDBOX_PASSTHROUGH says nothing to a workflow_runner of "
                "worker_options(): leave one of the two out"
            )
        restrictions = SandboxRestrictions.default.with_passthrough_modules(*passed)
        worker["workflow_runner"] = SandboxedWorkflowRunner(restrictions=restrictions)
    return OwnOptions(client, worker, _lifespan(module), _names(module, "TASK_QUEUES", "queue"))


def _called(module: ModuleType, name: str) -> dict[str, Any]:
    """What the function ``name`` of ``module`` returns; nothing where there is no such function."""
    function = getattr(module, name, None)
    if function is None:
        return {}
    what = f"{module.__name__}: {name}"
    if not callable(function):
        raise Misuse(f"{what} is not a function: let it be one that returns a dict")
    if asyncio.iscoroutinefunction(function):
        raise Misuse(f"{what}() is async: let it be a plain function that returns a dict")
    try:
        given = function()
    except Exception as error:
        raise Misuse(f"{what}() failed: {type(error).__name__}: {_line(error)}") from error
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise Misuse(f"{what}() returned {_short(given)}: let it return a dict of names and values")
    return dict(given)


def _check(
    what: str,
    given: Mapping[str, object],
    taker: Callable[..., object],
    owned: Mapping[str, str],
    lists: Mapping[str, type],
) -> None:
    """Raise `Misuse` for a name that ``taker`` does not take, or not from here; and for a value."""
    known = set(inspect.signature(taker).parameters)
    for name, value in given.items():
        if name in owned:
            raise Misuse(f"{what} must not give {name}: {owned[name]}")
        if name not in known:
            near = difflib.get_close_matches(name, known - set(owned), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            called = taker.__qualname__
            raise Misuse(f"{what} gives {name!r}, which {called} does not take{hint}")
        if name in lists:
            _check_list(f"{what} gives {name}", value, lists[name])
        elif name in _TYPES and value is not None and not isinstance(value, _TYPES[name]):
            raise Misuse(f"{what} gives {name}={_short(value)}, which is not {_words(name)}")


def _check_list(what: str, value: object, kind: type) -> None:
    if not isinstance(value, (list, tuple)):
        raise Misuse(f"{what}={_short(value)}, which is not a list")
    for each in value:
        if not isinstance(each, kind):
            raise Misuse(
                f"{what} with {_short(each)} in it, which is not a {_path(kind)}"
                f"{'; give an instance of it' if isinstance(each, type) else ''}"
            )


def _lifespan(module: ModuleType) -> Lifespan | None:
    found: Lifespan | None = getattr(module, "lifespan", None)
    if found is None:
        return None
    what = f"{module.__name__}: lifespan"
    if not callable(found):
        raise Misuse(f"{what} is not a function: let it be one that returns a context manager")
    if inspect.isasyncgenfunction(found) or asyncio.iscoroutinefunction(found):
        raise Misuse(f"{what}() is not a context manager: put @asynccontextmanager above it")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise Misuse(f"{what}() must need no argument: {error}") from error
    return found


def _nexus_services(module: ModuleType) -> list[object]:
    found = getattr(module, "NEXUS_SERVICES", ())
    what = f"{module.__name__}: NEXUS_SERVICES"
    _check_list(what, found, object)
    for each in found:
        if isinstance(each, type):
            raise Misuse(f"{what} has the class {each.__name__} in it: give an instance of it")
        if not hasattr(type(each), "__nexus_service_definition__"):
            raise Misuse(
                f"{what} has {_short(each)} in it, which is not a Nexus service: put "
                "@nexusrpc.handler.service_handler above its class"
            )
    return list(found)


def _names(module: ModuleType, name: str, kind: str) -> tuple[str, ...]:
    """The list of texts ``name``, each once; a text alone would be a list of letters."""
    found = getattr(module, name, ())
    what = f"{module.__name__}: {name}"
    if not isinstance(found, (list, tuple)):
        raise Misuse(f"{what} is not a list: write [{_short(found)}]")
    for each in found:
        if not isinstance(each, str) or not each.strip():
            raise Misuse(f"{what} has {_short(each)} in it, which is not the name of a {kind}")
    return tuple(dict.fromkeys(found))


def _only(options: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names if name in options}


def _words(name: str) -> str:
    kinds = _TYPES[name]
    return " or ".join(f"a {_path(kind)}" for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))


def _path(kind: type) -> str:
    """A type as a person imports it: the SDK's private modules are no one's to name."""
    parts = [part for part in kind.__module__.split(".") if not part.startswith("_")]
    return ".".join([*(part for part in parts if part != "builtins"), kind.__name__])


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
