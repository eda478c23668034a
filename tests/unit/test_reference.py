"""docs/reference.md: it is what the code says, and its tables leave nothing out."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from docs.source.__main__ import FILE, rendered
from docs.source.environment import bare, variables
from docs.source.log_keys import KEYS
from docs.source.status_json import STATUS, STATUS_VERSION
from rollout.base.settings import ROOT
from rollout.commands.command_table import COMMANDS
from rollout.core.actions import Plan
from rollout.core.config import Deployment, RolloutConfig
from rollout.core.observation import Observation, Ramp, Version
from rollout.core.status_document import status_document

CODE = [
    *sorted((ROOT / "rollout").rglob("*.py")),
    *sorted((ROOT / "client").rglob("*.py")),
    *sorted((ROOT / "workers").rglob("*.py")),
]
CONFIGURATION = [
    ROOT / "supervisord.conf",
    *sorted((ROOT / "stack/programs").glob("*.ini")),
    *sorted((ROOT / "workers/programs").glob("*.ini")),
]
OF_THE_SYSTEM = {"PATH", "HOME", "PYTHONPATH", "XDG_CONFIG_HOME"}
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
NOT_KEYS = {"exc_info", "stack_info"}  # the logger's own words


def test_the_file_is_what_the_code_says() -> None:
    """A change of the code that the reference tells of is a change of the reference."""
    text = FILE.read_text(encoding="utf-8")

    assert text == rendered(), "run `python -m docs.source`"


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes it, with whatever ports and builds in their shell, writes the same."""
    monkeypatch.setenv("EXPORTER_PORT", "9999")
    monkeypatch.setenv("TASK_QUEUE", "mine")
    monkeypatch.setenv("MANAGED", "1")

    assert rendered() == FILE.read_text(encoding="utf-8")


def test_every_command_is_in_it() -> None:
    """Each command of the table has a section, and so has each of `rollout stack`."""
    text = rendered()

    titles = re.findall(r"^### `(.*)`$", text, re.MULTILINE)

    wanted = [f"rollout {name}" for name in (*COMMANDS, "stack setup", "stack up", "stack down")]
    assert [name for name in wanted if name not in titles] == []


class TestEnvironment:
    """The one table of environment variables."""

    def test_every_variable_that_the_code_reads_is_in_the_table(self) -> None:
        """A name given to os.environ in the package or the demo is documented."""
        read = {name for path in CODE for name in _read_variables(path)}

        assert {"LOG_FORMAT", "ROLLOUT_HOME", "GRAFANA_HOME"} <= read
        assert read - variables() - OF_THE_SYSTEM == set()

    def test_every_variable_that_a_program_file_expands_is_in_the_table(self) -> None:
        """${NAME:-default} in supervisord.conf and the program files is documented."""
        texts = (path.read_text(encoding="utf-8") for path in CONFIGURATION)

        expanded = {name for text in texts for name in re.findall(r"\$\{([A-Z_0-9]+)", text)}

        assert "LOAD_RATE" in expanded
        assert expanded - variables() - {"NAME"} == set()

    def test_what_was_set_is_set_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The variables are away only while the reference is written."""
        monkeypatch.setenv("TASK_QUEUE", "mine")

        with bare():
            inside = "TASK_QUEUE" in os.environ

        assert (inside, os.environ["TASK_QUEUE"]) == (False, "mine")


def test_every_key_that_is_logged_is_in_the_table() -> None:
    """A keyword of a log call in the package or the client is documented."""
    logged = {key for path in CODE for key in _logged_keys(path)}

    assert "retry_in_seconds" in logged
    assert logged - KEYS - NOT_KEYS == set()


def test_status_has_the_fields_that_are_documented() -> None:
    """Neither the JSON of a real status nor the tables have a field that the other lacks."""
    at = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
    seen = Observation(
        "greetings",
        "default",
        at,
        current="v1",
        ramping=Ramp("v2", 10),
        versions=(Version("v1", "current"), Version("v2", "ramping")),
    )
    config = RolloutConfig(deployment=Deployment(target="v2"))

    found: dict[str, Any] = status_document(config, seen, Plan("progressing", "at 10 %"), at)

    assert list(found) == list(STATUS)
    assert [list(version) for version in found["versions"]] == [list(STATUS_VERSION)] * 2
    assert list(found["ramping"]) == ["build_id", "percentage"]
    assert list(found["versions"][0]["evidence"][0]) == ["check", "ok", "detail"]


def _read_variables(path: Path) -> Iterator[str]:
    """The names that a file gives to an ``environ``: asked for, taken, or looked for."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=place, attr="get"), args=[name, *_]):
                yield from _name(place, name)
            case ast.Subscript(value=place, slice=name):
                yield from _name(place, name)
            case ast.Compare(left=name, ops=[ast.In() | ast.NotIn()], comparators=[place]):
                yield from _name(place, name)


def _name(place: ast.expr, name: ast.expr) -> Iterator[str]:
    if ast.unparse(place).rpartition(".")[2] == "environ" and isinstance(name, ast.Constant):
        yield str(name.value)


def _logged_keys(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if ast.unparse(node.func.value) == "log" and node.func.attr in LEVELS:
            yield from (keyword.arg for keyword in node.keywords if keyword.arg)
