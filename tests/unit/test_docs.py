"""The pages: what they name is there, and where they lead is something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomlkit

from rollout.base.settings import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(ROOT.glob("docs/*.md")),
]
TOP = "workers|client|metrics|grafana|bench|docs|examples|tests|rollout|stack"
PATH = re.compile(rf"(?:{TOP})/[\w./*-]*|[\w.-]+\.(?:toml|conf|md|lock)|Makefile")
EXAMPLES = {"workers/builds/v3.py", "workers/programs/worker-v3.ini", "shop.toml", "pay.toml"}
"""What a reader is to make."""


def _page(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _paths(text: str) -> Iterator[str]:
    """The paths in a page's code: in backticks, each by itself."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`([^`\n]+)`", outside):
        yield from (word for word in code.split() if PATH.fullmatch(word))


def _anchors(text: str) -> set[str]:
    """The names of a page's headings, as GitHub links to them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_every_path_exists(page: Path) -> None:
    """A file or folder that a page names is in the repository."""
    named = set(_paths(page.read_text(encoding="utf-8"))) - EXAMPLES

    assert [path for path in sorted(named) if not list(ROOT.glob(path.rstrip("/")))] == []


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_every_link_resolves(page: Path) -> None:
    """A relative link leads to a file, and its anchor to a heading there."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in _anchors(target.read_text("utf-8"))):
            broken.append(link)
    assert broken == []


def test_paths_are_recognised() -> None:
    """What is looked for: paths below the folders and files of the root, and no other code."""
    text = "`rollout/core/plan.py` `rollout plan` `rollout.toml` `a/b`\n```\n`docs/x`\n```\n"

    assert list(_paths(text)) == ["rollout/core/plan.py", "rollout.toml"]


def test_the_floors_are_those_of_the_contract() -> None:
    """The table of the architecture has the rooms of import-linter's layers, on the same floors."""
    contracts = tomlkit.parse((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = next(each["layers"] for each in contracts["contracts"] if each["id"] == "floors")
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")

    told = re.findall(r"^\| (\d+) \| `rollout/(\w+)`", page, re.MULTILINE)

    wanted = {
        (str(floor), room)
        for floor, rooms in enumerate(reversed(layers), start=1)
        for room in rooms.split(" | ")
    }
    assert set(told) == wanted


@pytest.mark.parametrize("page", sorted(page.name for page in ROOT.glob("docs/*.md")))
def test_the_readme_leads_to_every_page(page: str) -> None:
    """Whoever begins at the README finds the rest."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert f"(docs/{page})" in text
