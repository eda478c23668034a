"""A folder with a file for each deployment, and one task for each of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rollout.base.exit import Failure, Misuse
from rollout.controller import each_file
from rollout.controller.each_file import for_each_file
from rollout.core.config_folder import choose, named
from tests.support.waiting import until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two deployments, the second one's file broken behind its name, and things besides."""
    (tmp_path / "b.toml").write_text('[deployment]\nname = "shop"\ntarget = "1"\n')
    (tmp_path / "pay.toml").write_text("[deployment\n")
    (tmp_path / ".draft.toml").touch()
    (tmp_path / "rollout.ini").touch()
    return tmp_path


class TestChoose:
    """Which file a command is about."""

    def test_names(self, folder: Path) -> None:
        """A file says itself which deployment it is about; one that cannot, by its own name."""
        assert named(folder) == {folder / "b.toml": "shop", folder / "pay.toml": "pay"}

    def test_a_name_in_a_broken_file(self, folder: Path) -> None:
        """What is wrong elsewhere in it does not make it another's."""
        (folder / "b.toml").write_text('[deployment]\nname = "shop"\ntarget = \n[gate]\n')
        assert named(folder)[folder / "b.toml"] == "shop"

    def test_by_name(self, folder: Path) -> None:
        """The one that is named; without a name the only one."""
        assert choose(folder, "shop") == folder / "b.toml"
        (folder / "pay.toml").unlink()
        assert choose(folder, None) == choose(folder / "b.toml", None) == folder / "b.toml"

    def test_what_cannot_be_chosen(self, folder: Path) -> None:
        """Says what there is to choose from."""
        with pytest.raises(Misuse, match=r"which deployment\? name one with -d: pay, shop"):
            choose(folder, None)
        with pytest.raises(Misuse, match="has no deployment 'shpo', but pay, shop"):
            choose(folder, "shpo")
        with pytest.raises(Misuse, match=r"b\.toml has no deployment 'pay', but shop"):
            choose(folder / "b.toml", "pay")
        (folder / "c.toml").write_text('[deployment]\nname = "shop"\n')
        with pytest.raises(Misuse, match=r"b.toml and \S+c.toml both name deployment shop"):
            choose(folder, "shop")
        for file in folder.glob("*.toml"):
            file.unlink()
        with pytest.raises(Misuse, match="has no deployment's"):
            choose(folder, None)


class TestForEachFile:
    """The tasks of a folder."""

    async def test_one_that_fails(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is begun again, the others go on, and files are followed while they are there."""
        monkeypatch.setattr(each_file, "_PERIOD", 0.01)
        running: set[str] = set()
        begun: list[str] = []

        async def follow(_file: Path, deployment: str) -> None:
            begun.append(deployment)
            if deployment == "pay":
                raise Failure("it is broken")
            running.add(deployment)
            try:
                await asyncio.Event().wait()
            finally:
                running.remove(deployment)

        async def so(expected: set[str]) -> None:
            async def is_so() -> bool:
                return running == expected and begun.count("pay") > 1

            await until(is_so)

        following = asyncio.ensure_future(for_each_file(folder, follow))
        await so({"shop"})
        (folder / "new.toml").write_text('[deployment]\nname = "eu"\n')
        await so({"shop", "eu"})
        (folder / "b.toml").unlink()
        await so({"eu"})
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        assert (running, begun.count("shop"), begun.count("eu")) == (set(), 1, 1)

    async def test_a_single_file(self, folder: Path) -> None:
        """What ends it ends all."""

        async def follow(file: Path, deployment: str) -> None:
            raise Failure(f"{file.name} {deployment}")

        with pytest.raises(Failure, match=r"b\.toml shop"):
            await for_each_file(folder / "b.toml", follow)
