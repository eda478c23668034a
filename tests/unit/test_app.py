"""What a build offers, and the fingerprint of its code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.base.exit import Misuse
from rollout.worker.app import demo_module, load

WORKFLOW = """
from temporalio import workflow
from {package} import helper

@workflow.defn
class Hello:
    @workflow.run
    async def run(self) -> str:
        return helper.WORD

WORKFLOWS = [Hello]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable package of a name of its own, with a build and a helper in it."""
    name = f"app_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "helper.py").write_text("WORD = 'hello'\n")
    (folder / "unrelated.py").write_text("WORD = 'other'\n")
    (folder / "build.py").write_text(WORKFLOW.format(package=name))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    forget(folder)


def forget(folder: Path) -> None:
    """Let the next import read the files again."""
    for name in [n for n in sys.modules if n.split(".")[0] == folder.name]:
        del sys.modules[name]


def fingerprint(folder: Path) -> str:
    """The fingerprint of the package's build as its files now are."""
    forget(folder)
    return load(f"{folder.name}.build").fingerprint


class TestDemoBuilds:
    """The builds that ship with the project."""

    def test_each_build_has_a_module(self) -> None:
        """v1, v1.1 and v2 all offer the same workflows, and differ in their code."""
        apps = [load(demo_module(build)) for build in ("v1", "v1.1", "v2")]
        for app in apps:
            names = [workflow.__name__ for workflow in app.workflows]
            assert names == ["Greeting", "Order", "Subscription"]
        assert len({app.fingerprint for app in apps}) == 3

    def test_an_unknown_build_is_told(self) -> None:
        """A build that is not there is refused with the list of those that are."""
        with pytest.raises(Misuse, match=r"unknown build 'v9': workers/builds has v1, v1\.1, v2"):
            demo_module("v9")


class TestFingerprint:
    """It changes with the code that a build reaches, and with nothing else."""

    def test_code_that_is_imported_counts(self, package: Path) -> None:
        """A changed helper changes the fingerprint; a file nobody imports does not."""
        before = fingerprint(package)
        (package / "unrelated.py").write_text("WORD = 'changed'\n")
        assert fingerprint(package) == before
        (package / "helper.py").write_text("WORD = 'changed it'\n")
        assert fingerprint(package) != before

    def test_a_fingerprint_of_ones_own_wins(self, package: Path) -> None:
        """A module that names its FINGERPRINT is not read for one."""
        build = package / "build.py"
        build.write_text(build.read_text() + "\nFINGERPRINT = 'commit 1'\n")
        before = fingerprint(package)
        (package / "helper.py").write_text("WORD = 'changed it'\n")
        assert fingerprint(package) == before
        build.write_text(build.read_text().replace("commit 1", "commit 22"))
        assert fingerprint(package) != before


class TestContract:
    """A module that is no build is refused in one line that says why."""

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("", "offers nothing"),
            ("class Plain: ...\nWORKFLOWS = [Plain]", r"is no @workflow\.defn class"),
            ("def plain(): ...\nACTIVITIES = [plain]", r"is no @activity\.defn function"),
            ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of"),
            ("1 / 0", "ZeroDivisionError: division by zero"),
            ("def (", "SyntaxError"),
        ],
    )
    def test_it_is_refused(self, package: Path, source: str, message: str) -> None:
        """The reason names what the module lacks."""
        (package / "build.py").write_text(source)
        with pytest.raises(Misuse, match=message) as caught:
            fingerprint(package)
        assert "\n" not in str(caught.value)
