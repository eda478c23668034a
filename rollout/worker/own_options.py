"""What a build's module may say of its own client and worker, beside what it offers.

* ``client_options()``: a dict for `Client.connect`, such as a data converter or interceptors;
* ``worker_options()``: a dict for `Worker`, such as Nexus handlers, executors, a tuner or a
  workflow runner;
* ``lifespan()``: an async context manager, entered before the worker connects and left once it
  has drained;
* ``TASK_QUEUES``: a list of task queues to poll beside that of ``--task-queue``; or a dict, in
  which each has a list of those of WORKFLOWS and ACTIVITIES that run there, and no others.

The two functions are called once, when the module is loaded: for a check, a replay and a worker
alike. docs/python-workers.md shows each of them.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
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

# The SDK finds a wrong one at the first task, where it says little of whose it is.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "data_converter": (DataConverter,),
    "tls": (bool, TLSConfig),
    "activity_executor": (Executor,),
    "workflow_task_executor": (ThreadPoolExecutor,),
    "nexus_task_executor": (ThreadPoolExecutor,),
    "workflow_runner": (WorkflowRunner,),
    "unsandboxed_workflow_runner": (WorkflowRunner,),
    "tuner": (WorkerTuner,),
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
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class OwnOptions:
    """The module's own options, checked as far as can be without a server."""

    client: Mapping[str, Any] = field(default_factory=dict)
    worker: Mapping[str, Any] = field(default_factory=dict)
    lifespan: Lifespan | None = None
    task_queues: tuple[str, ...] = ()
    served: Mapping[str, Sequence[object]] = field(default_factory=dict)
    """What runs on a task queue; one that is not in it serves everything."""

    @property
    def nexus_handlers(self) -> tuple[object, ...]:
        """The handlers of Nexus services."""
        return tuple(self.worker.get("nexus_service_handlers", ()))


def own_options(module: ModuleType) -> OwnOptions:
    """Read them of ``module``. Raises `Misuse`, with the module's name, for what is none."""
    return OwnOptions(
        _options(module, "client_options", Client.connect, _OF_CLIENT, _CLIENT_LISTS),
        _options(module, "worker_options", Worker, _OF_WORKER, _WORKER_LISTS),
        _lifespan(module),
        _task_queues(module),
        _served(module),
    )


def _options(
    module: ModuleType,
    name: str,
    taker: Callable[..., object],
    owned: Mapping[str, str],
    lists: Mapping[str, type],
) -> dict[str, Any]:
    """What the module's function ``name`` gives for ``taker``; nothing where it has none."""
    given = _called(module, name)
    what = f"{module.__name__}: {name}()"
    known = inspect.signature(taker).parameters.keys() - owned.keys()
    for option, value in given.items():
        if option in owned:
            raise Misuse(f"{what} must not give {option}: {owned[option]}")
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise Misuse(f"{what} gives {option!r}, which {taker.__qualname__} does not take{hint}")
        if option in lists:
            _check_list(f"{what} gives {option}", value, lists[option])
        elif option in _TYPES and value is not None and not isinstance(value, _TYPES[option]):
            kinds = " or ".join(map(_path, _TYPES[option]))
            raise Misuse(f"{what} gives {option}={_short(value)}, which is not a {kinds}")
    return given


def _called(module: ModuleType, name: str) -> dict[str, Any]:
    function = getattr(module, name, None)
    if function is None:
        return {}
    what = f"{module.__name__}: {name}"
    if not callable(function):
        raise Misuse(f"{what} is not a function: let it be one that returns a dict")
    if inspect.iscoroutinefunction(function):
        raise Misuse(f"{what}() is async: let it be a plain function that returns a dict")
    try:
        given = function()
    except Exception as error:
        raise Misuse(f"{what}() failed: {type(error).__name__}: {_line(error)}") from error
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise Misuse(f"{what}() returned {_short(given)}: let it return a dict of names and values")
    return dict(given)


def _check_list(what: str, value: object, kind: type) -> None:
    if not isinstance(value, (list, tuple)):
        raise Misuse(f"{what}={_short(value)}, which is not a list")
    for each in value:
        if isinstance(each, type):
            raise Misuse(f"{what} with the class {each.__name__} in it: give an instance of it")
        if not isinstance(each, kind):
            raise Misuse(f"{what} with {_short(each)} in it, which is not a {_path(kind)}")


def _lifespan(module: ModuleType) -> Lifespan | None:
    found: Lifespan | None = getattr(module, "lifespan", None)
    if found is None:
        return None
    what = f"{module.__name__}: lifespan"
    if not callable(found):
        raise Misuse(f"{what} is not a function: let it be one that returns a context manager")
    if inspect.isasyncgenfunction(found) or inspect.iscoroutinefunction(found):
        raise Misuse(f"{what}() is not a context manager: put @asynccontextmanager above it")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise Misuse(f"{what}() must need no argument: {error}") from error
    return found


def _task_queues(module: ModuleType) -> tuple[str, ...]:
    """Each once; a text alone would be a list of letters."""
    found = getattr(module, "TASK_QUEUES", ())
    what = f"{module.__name__}: TASK_QUEUES"
    if not isinstance(found, (list, tuple, dict)):
        raise Misuse(f"{what} is not a list: write [{_short(found)}]")
    for each in found:
        if not isinstance(each, str) or not each.strip():
            raise Misuse(f"{what} has {_short(each)} in it, which is not the name of a task queue")
    return tuple(dict.fromkeys(found))


def _served(module: ModuleType) -> Mapping[str, Sequence[object]]:
    """What a dict TASK_QUEUES has for each; it is of what the module offers, and not nothing."""
    found = getattr(module, "TASK_QUEUES", ())
    if not isinstance(found, dict):
        return {}
    offered = [*getattr(module, "WORKFLOWS", ()), *getattr(module, "ACTIVITIES", ())]
    for queue, served in found.items():
        what = f"{module.__name__}: TASK_QUEUES[{queue!r}]"
        if not isinstance(served, (list, tuple)) or not served:
            raise Misuse(f"{what} is not a list of workflows and activities")
        for each in served:
            if each not in offered:
                raise Misuse(f"{what} has {_short(each)}, which WORKFLOWS and ACTIVITIES lack")
    return dict(found)


def _path(kind: type) -> str:
    """A type as a person imports it: the SDK's private modules are no one's to name."""
    parts = [part for part in kind.__module__.split(".") if not part.startswith("_")]
    return ".".join([*(part for part in parts if part != "builtins"), kind.__name__])


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
