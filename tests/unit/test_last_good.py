"""rollout.toml while it is broken: what is followed, what commands do, and what is left of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.base.exit import Misuse
from rollout.commands.command_table import dispatch
from rollout.controller.intent import Intent
from rollout.controller.last_good import copy_of, follow

GOOD = '[deployment]\nname = "d"\ntarget = "v2"  # wanted\n'
BROKEN = GOOD.replace("[deployment]", "[deployment")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good one, and a var folder of the test's own."""
    monkeypatch.setattr("rollout.base.settings.VAR", tmp_path / "var")
    monkeypatch.setenv("SUPERVISOR_SERVER_URL", "unix:///nowhere")  # no running stack's world
    path = tmp_path / "rollout.toml"
    path.write_text(GOOD)
    return path


def test_a_controller_that_starts_while_it_is_broken(file: Path) -> None:
    """It follows what the one before followed last, and knows what is wrong with the file."""
    Intent(file, keeps=True)
    file.write_text(BROKEN)
    for intent in (Intent(file, keeps=True), Intent(file)):
        assert intent.config.deployment.target == "v2"
        assert str(intent.problem).startswith("rollout.toml line 1: ")
    warning = str(follow(file).warning)
    assert "until it is mended the last good rollout.toml, of 20" in warning


def test_without_a_controller_nothing_is_kept(file: Path) -> None:
    """A reader writes nothing, so where no controller ever ran there is nothing to follow."""
    Intent(file)
    assert not copy_of(file).exists()
    file.write_text(BROKEN)
    with pytest.raises(Misuse, match="line 1"):
        follow(file)
    with pytest.raises(Misuse, match="line 1"):
        dispatch(["pause", "--config", str(file)])


def test_a_pause_takes_effect_at_once(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The controller follows it although the file is broken, and it stays when that is mended."""
    intent = Intent(file, keeps=True)
    file.write_text(BROKEN)
    assert intent.refresh().deployment.paused is False
    assert dispatch(["pause", "--config", str(file)]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("! rollout.toml line 1: ")
    assert told.err.endswith(" is followed, and now says paused = true\n")
    assert told.out.startswith("paused: ")
    assert intent.refresh().deployment.paused is True
    assert file.read_text() == BROKEN  # a person is at work on it
    assert Intent(file, keeps=True).config.deployment.paused is True

    file.write_text(GOOD)
    assert intent.refresh().deployment.paused is True
    assert intent.problem is None
    assert file.read_text() == f"{GOOD}paused = true\n"
    assert dispatch(["resume", "--config", str(file)]) == 0
    assert intent.refresh().deployment.paused is False
    assert file.read_text() == f"{GOOD}paused = false\n"


def test_what_a_person_wrote_meanwhile_wins(file: Path) -> None:
    """A key that the mended file gives another value is not taken back."""
    intent = Intent(file, keeps=True)
    file.write_text(BROKEN)
    for command in ("pause", "resume", "pause"):
        assert dispatch([command, "--config", str(file)]) == 0
    file.write_text(GOOD.replace("v2", "v3"))
    config = intent.refresh()
    assert (config.deployment.target, config.deployment.paused) == ("v3", True)

    file.write_text(BROKEN)
    assert intent.refresh().deployment.target == "v3"
    assert dispatch(["resume", "--config", str(file)]) == 0
    said = GOOD.replace("v2", "v4") + "paused = true\n"
    file.write_text(said)
    assert intent.refresh().deployment.paused is False  # as it was before, so the command's
    assert intent.config.deployment.target == "v4"


def test_a_full_disk_ends_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last good edition then is not written down, and is followed all the same."""

    def full(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("rollout.base.files.replace", full)
    intent = Intent(file, keeps=True)
    file.write_text(BROKEN)
    assert intent.refresh().deployment.target == "v2"
