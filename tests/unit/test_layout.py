"""Who among the tests and benchmarks may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.base.settings import ROOT


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("folder", ["tests", "bench"])
def test_of_the_tests_only_support_is_imported(folder: str) -> None:
    """No test module imports another, and a benchmark none of them."""
    found = {
        (file.name, name)
        for file in (ROOT / folder).rglob("*.py")
        for name in _imported(file)
        if name.partition(".")[0] == "tests" and not name.startswith("tests.support")
    }
    assert not found


def test_the_package_knows_nothing_of_what_is_around_it() -> None:
    """The wheel holds `rollout` alone: no module of it imports the demo, a test, a benchmark."""
    around = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"rollout"}
    found = {
        (file.name, name)
        for file in (ROOT / "rollout").rglob("*.py")
        for name in _imported(file)
        if name.partition(".")[0] in around
    }
    assert not found
