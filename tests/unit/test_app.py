"""What a build offers, and the fingerprint of its code."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollout.base.exit import Misuse
from rollout.base.settings import ROOT
from rollout.worker.app import demo_module, load, search_path

NOTHING = hashlib.sha256().hexdigest()[:16]
"""The fingerprint of no file at all."""

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


SHOP = """
from datetime import timedelta
from temporalio import activity, workflow

@activity.defn
async def charge(amount: int) -> str:
    return "{release} charged %d" % amount

@workflow.defn
class Buy:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            charge, {amount}, start_to_close_timeout=timedelta(seconds=5)
        )

WORKFLOWS = [Buy]
ACTIVITIES = [charge]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Puts a release of the package ``shop`` into the site-packages of an environment of its own.

    What this returns is the package's folder, the next import's ``shop``.
    """

    def install(release: str, amount: int = 10, init: str = "") -> Path:
        site = tmp_path / release / "lib" / "python3" / "site-packages"
        folder = site / "shop"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text(init)
        (folder / "workflows.py").write_text(SHOP.format(release=release, amount=amount))
        monkeypatch.syspath_prepend(str(site))
        real = sysconfig.get_path
        monkeypatch.setattr(
            "rollout.worker.app.sysconfig.get_path",
            # The other still says where temporalio lies: reading all of that would take seconds.
            lambda name: str(site) if name == "purelib" else real(name),
        )
        forget(folder)
        return folder

    yield install
    forget(Path("shop"))


def shop_fingerprint(module: str = "shop.workflows") -> str:
    """The fingerprint of the release that was installed last."""
    forget(Path("shop"))
    return load(module).fingerprint


class TestInstalled:
    """A build may be installed like any library: it is not left out for that."""

    def test_two_releases_of_one_package(self, install: Callable[..., Path]) -> None:
        """Each in an environment of its own, they have fingerprints of their own, each time."""
        install("a1b2c3d")
        first = shop_fingerprint()
        install("e4f5a6b", amount=12)
        second = shop_fingerprint()
        assert first != second
        assert NOTHING not in (first, second)
        install("a1b2c3d")
        assert shop_fingerprint() == first

    def test_the_packages_own_module_counts(self, install: Callable[..., Path]) -> None:
        """It is run before the build's, so what it holds counts; that it is there does not."""
        folder = install("a1b2c3d")
        before = shop_fingerprint()
        (folder / "__init__.py").write_text('"""A shop."""\n')
        assert shop_fingerprint() == before
        (folder / "__init__.py").write_text("PRICE = 12\n")
        assert shop_fingerprint() != before

    def test_code_that_is_only_offered(
        self, install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A module that offers what an installed package defines is covered with that."""
        name = f"offer_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text("from shop.workflows import ACTIVITIES, WORKFLOWS\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        found = []
        for release in ("a1b2c3d", "e4f5a6b"):
            install(release)
            sys.modules.pop(name, None)
            found.append(shop_fingerprint(name))
        assert found[0] != found[1]

    def test_other_libraries_are_left_out(self, install: Callable[..., Path]) -> None:
        """A library beside it is changed, and it is the same build."""
        folder = install("a1b2c3d")
        library = folder.parent / "shop_library.py"
        source = folder / "workflows.py"
        source.write_text(f"import shop_library\n{source.read_text()}")
        found = set()
        for text in ("A = 1\n", "A = 1 + 1\n"):
            library.write_text(text)
            sys.modules.pop("shop_library", None)
            found.add(shop_fingerprint())
        assert len(found) == 1


class TestNothingToCover:
    """Where no code can be told from another the build is refused."""

    @pytest.mark.parametrize(
        ("first", "message"),
        [
            ("__file__ = None", "no source of it can be found, .* a text FINGERPRINT"),
            ("FINGERPRINT = ''", "FINGERPRINT is empty, so that no code differs from another"),
            ("FINGERPRINT = ' '", "FINGERPRINT is empty"),
        ],
    )
    def test_it_is_refused(self, package: Path, first: str, message: str) -> None:
        """The sentence says what to give it; a fingerprint of its own is enough."""
        build = package / "build.py"
        text = build.read_text().replace(f"from {package.name} import helper", "")
        build.write_text(f"{first}\n{text}")
        with pytest.raises(Misuse, match=message):
            fingerprint(package)
        build.write_text(f"__file__ = None\nFINGERPRINT = 'commit 1'\n{text}")
        assert len(fingerprint(package)) == 16


class TestContract:
    """A module that is no build is refused in one line that says why."""

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("", "offers nothing"),
            ("class Plain: ...\nWORKFLOWS = [Plain]", r"is not a @workflow\.defn class"),
            ("def plain(): ...\nACTIVITIES = [plain]", r"is not an @activity\.defn function"),
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


NAMES = ("client", "workers", "metrics", "stack", "tests", "bench", "grafana")
"""Packages that a shop may well have, and that are folders of this checkout, too."""

API = """
import shop_log
from {name} import load
{more}
shop_log.note({name!r}, load.MINE)
{offer}
"""

OFFER = """
from temporalio import activity

@activity.defn
def pay() -> None: ...

ACTIVITIES = [pay]
"""

SITE = """
import sys
from pathlib import Path

others = [entry for entry in sys.path if not (Path(entry) / "rollout" / "base").is_dir()]
sys.path[:] = [*others, {checkout!r}]
"""
"""What an installation's .pth file does: the checkout is importable, after all else."""


@pytest.fixture(params=[True, False], ids=["packages", "folders"])
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with a package of each name, with or without an ``__init__.py``.

    The api of each imports the next one's; each has a module ``load``, as the demo's client has.
    """
    site, shop = tmp_path / "site", tmp_path / "shop"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE.format(checkout=str(ROOT)))
    (site / "shop_log.py").write_text("def note(name, mine):\n    print(name, mine, flush=True)\n")
    for name, following in zip(NAMES, (*NAMES[1:], None), strict=True):
        folder = shop / name
        folder.mkdir(parents=True)
        if request.param:
            (folder / "__init__.py").write_text("")
        (folder / "load.py").write_text("MINE = 'is the shop\\'s'\n")
        more = f"import {following}.api" if following else ""
        (folder / "api.py").write_text(API.format(name=name, more=more, offer=OFFER))
    return shop


def check(words: tuple[str, ...], folder: Path, pythonpath: str) -> list[str]:
    """What a worker's command prints that is run in ``folder`` to check its options and code."""
    flags = ("--check", "--app", "client.api", "--build-id", "b1", "--strategy", "compatible")
    done = subprocess.run(
        [sys.executable, "-m", *words, *flags],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": pythonpath},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


class TestImporting:
    """A module that its owner can import can be served, whatever its name is."""

    @pytest.mark.parametrize("words", [("rollout", "worker"), ("workers",)], ids=" ".join)
    @pytest.mark.parametrize("inside", [True, False], ids=["in their folder", "from the checkout"])
    def test_packages_of_the_names_of_our_folders(
        self, shop: Path, words: tuple[str, ...], inside: bool
    ) -> None:
        """They are found in the current folder, and from this checkout where PYTHONPATH names it.

        A package ``workers`` hides the command of that name, as Python has it; `rollout worker`
        serves that one.
        """
        if words == ("workers",):
            (shop / "workers" / "__init__.py").unlink(missing_ok=True)
        site = str(shop.parent / "site")
        pythonpath = site if inside else os.pathsep.join([str(shop), site])
        said = check(words, shop if inside else ROOT, pythonpath)
        assert said == [f"{name} is the shop's" for name in reversed(NAMES)]

    def test_the_order_of_the_search_path(self) -> None:
        """PYTHONPATH comes before the current folder, which comes before all the rest."""
        found = search_path(
            ["", "/opt/checkout", "/srv/shop", "/usr/lib/python3"],
            os.pathsep.join(["/srv/shop", "", "lib"]),
            Path("/opt/checkout"),
        )
        own = str(Path("lib").absolute())
        assert found == ["/srv/shop", own, "/opt/checkout", "/usr/lib/python3"]

    def test_the_search_path_without_a_pythonpath(self) -> None:
        """The current folder comes first, be it known already or not."""
        here = Path("/srv/shop")
        assert search_path(["/opt/bin", "/usr/lib"], "", here) == [
            "/srv/shop",
            "/opt/bin",
            "/usr/lib",
        ]
        assert search_path(["/usr/lib", "/srv/shop"], "", here) == ["/srv/shop", "/usr/lib"]
