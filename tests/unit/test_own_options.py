"""What a build's module gives of its own for its client and its worker, checked as it is loaded."""

from __future__ import annotations

from types import ModuleType

import pytest

from rollout.base.exit import Misuse
from rollout.worker.app import App
from rollout.worker.own_options import own_options

_IMPORTS = """
from contextlib import asynccontextmanager
from temporalio.converter import DataConverter
from temporalio.worker import Interceptor
"""
_SHOP = """
class A: ...
class B: ...
def c(): ...
def d(): ...
WORKFLOWS, ACTIVITIES = [A, B], [c, d]
"""


def read(source: str) -> object:
    """The options of a module ``shop`` with that source."""
    module = ModuleType("shop")
    exec(_IMPORTS + source, module.__dict__)  # noqa: S102 - a module is what is read
    return own_options(module)


def test_a_module_that_says_nothing() -> None:
    """It has no options of its own."""
    own = own_options(ModuleType("shop"))
    assert (own.client, own.worker, own.lifespan, own.task_queues) == ({}, {}, None, ())


def test_each_task_queue_once() -> None:
    """A queue that is named twice is polled once."""
    module = ModuleType("shop")
    module.TASK_QUEUES = ["a", "b", "a"]  # type: ignore[attr-defined]
    assert own_options(module).task_queues == ("a", "b")


def test_a_task_queue_may_have_its_own() -> None:
    """One that is not named serves everything."""
    module = ModuleType("shop")
    exec(_IMPORTS + _SHOP + "TASK_QUEUES = {'a': [B, c], 'b': [d]}", module.__dict__)  # noqa: S102
    own, offers = own_options(module), module.__dict__
    assert own.task_queues == ("a", "b")
    a, b, c, d = (offers[name] for name in ("A", "B", "c", "d"))
    app = App("shop", [a, b], [c, d], "", own)
    assert [app.on(queue) for queue in ("a", "b", "other")] == [
        ([b], [c]), ([], [d]), ([a, b], [c, d]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "def client_options(): return {'namespace': 'shop'}",
            "shop: client_options() must not give namespace: TEMPORAL_NAMESPACE says it",
        ),
        (
            "def worker_options(): return {'build_id': '7'}",
            "shop: worker_options() must not give build_id: the runner says the version",
        ),
        (
            "def client_options(): return {'dataconverter': 1}",
            (
                "shop: client_options() gives 'dataconverter', which Client.connect does not take; "
                "did you mean data_converter?"
            ),
        ),
        (
            "def client_options(): return {'data_converter': DataConverter}",
            (
                "shop: client_options() gives data_converter=<class "
                "'temporalio.converter._data_converter.DataConverter'>, which is not a "
                "temporalio.converter.DataConverter"
            ),
        ),
        (
            "def worker_options(): return {'interceptors': Interceptor()}",
            "which is not a list",
        ),
        (
            "def worker_options(): return {'interceptors': [Interceptor]}",
            (
                "shop: worker_options() gives interceptors with the class Interceptor in it: "
                "give an instance of it"
            ),
        ),
        (
            "def worker_options(): return {'interceptors': [5]}",
            "with 5 in it, which is not a temporalio.worker.Interceptor",
        ),
        ("client_options = {}", "shop: client_options is not a function"),
        ("async def client_options(): ...", "shop: client_options() is async"),
        ("def worker_options(): ...", "shop: worker_options() returned None"),
        ("def worker_options(): 1 / 0", "shop: worker_options() failed: ZeroDivisionError"),
        ("async def lifespan(): yield", "put @asynccontextmanager above it"),
        (
            "@asynccontextmanager\nasync def lifespan(app): yield",
            "shop: lifespan() must need no argument: missing a required argument: 'app'",
        ),
        ("TASK_QUEUES = 'orders'", "shop: TASK_QUEUES is not a list: write ['orders']"),
        ("TASK_QUEUES = ['']", "shop: TASK_QUEUES has '' in it"),
        ("TASK_QUEUES = {'a': []}", "shop: TASK_QUEUES['a'] is not a list of workflows and"),
        ("TASK_QUEUES = {'a': int}", "shop: TASK_QUEUES['a'] is not a list of workflows and"),
        ("TASK_QUEUES = {'a': [int]}", "TASK_QUEUES['a'] has <class 'int'>, which WORKFLOWS and"),
    ],
)
def test_a_mistake_is_told(source: str, message: str) -> None:
    """In one line that names the module, what is wrong, and where there is one the way out."""
    with pytest.raises(Misuse) as caught:
        read(source)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
