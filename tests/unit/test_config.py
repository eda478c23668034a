"""rollout.toml: what is accepted, how mistakes are told, and that edits lose nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rollout.base.exit import Misuse
from rollout.core.config_file import differences, edit, load, parse

TEXT = """\
# Intent.
[deployment]
name = "greetings"       # as in --deployment
task_queue = "greetings"
baseline = "v1"
target = "v2"            # wanted
paused = false

[progressive]
settle = "20s"
steps = [
  { percentage = 10, pause = "30s" },
  { percentage = 50, pause = "30s" },
]
"""


def test_the_shipped_file_loads() -> None:
    """v1 first, then v2 by 10 % and 50 %, 30 s each, after 20 s of settling."""
    config = load()
    assert (config.deployment.baseline, config.deployment.pace) == ("v1", "progressive")
    steps = [(step.percentage, float(step.pause)) for step in config.progressive.steps]
    assert steps == [(10, 30), (50, 30)]
    assert float(config.progressive.settle) == 20


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("percentage = 50", "percentage = 110", "line 13: progressive.steps[1].percentage"),
        ("percentage = 50", "percentage = 5", "line 11: the percentages of the steps"),
        (
            'pause = "30s" },\n]',
            "pause = 30 },\n]",
            "line 13: progressive.steps[1].pause: 30 is no",
        ),
        (
            'settle = "20s"',
            'settle = "20x"',
            "line 10: progressive.settle: '20x' is not a duration",
        ),
        ('name = "greetings"', 'name = "a.b"', "line 3: deployment name 'a.b'"),
        ('target = "v2"', "target = v2", "line 6: "),
        ('target = "v2"', "", "line 2: deployment: Object missing required field `target`"),
        ("settle", "setle", "line 10: progressive: Object contains unknown field `setle`"),
        ("[progressive]", "[progresive]", "line 9: Object contains unknown field `progresive`"),
        ("paused = false", 'pace = "x"', "line 7: deployment.pace: Invalid enum value 'x'"),
        ('target = "v2"', 'target = "v\'2"', "line 6: build id"),
    ],
)
def test_a_mistake_is_named_with_its_line(before: str, after: str, message: str) -> None:
    """One line says the file, the line in it and what is wrong there."""
    assert before in TEXT
    with pytest.raises(Misuse) as caught:
        parse(TEXT.replace(before, after, 1))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bounds", "line", "message"),
    [
        ("", 20, "check 'queue' needs min, max or both"),
        ("min = 2\nmax = 1", 20, "check 'queue': min 2 is above max 1"),
        ("maximum = 1", 23, "unknown field `maximum`"),
    ],
)
def test_a_check_of_ones_own_is_looked_at(bounds: str, line: int, message: str) -> None:
    """One that cannot fail, or not pass, or is no check, is told with its line."""
    check = '[[analysis.checks]]\nname = "{}"\nquery = "1"\n{}\n'
    text = f"{TEXT}[analysis]\n{check.format('fine', 'max = 1')}{check.format('queue', bounds)}"
    with pytest.raises(Misuse) as caught:
        parse(text)
    assert str(caught.value).startswith(f"rollout.toml line {line}: analysis.checks[1]")
    assert message in str(caught.value)


def test_differences_are_told_by_key() -> None:
    """What an edit changed in [deployment], with the value before, and which tables else."""
    before = parse(TEXT)
    after = parse(
        TEXT.replace('target = "v2"', 'target = "v1"\nrollback = "v1"')
        .replace('baseline = "v1"\n', "")
        .replace("20s", "1m")
    )
    assert differences(before, before) == ""
    assert differences(before, after) == (
        'target = "v1" (was "v2"), baseline = none (was "v1"), rollback = "v1" (was none), '
        "[progressive] has changed"
    )


def test_an_edit_keeps_everything_else(tmp_path: Path) -> None:
    """Setting one key leaves comments, order and all other lines as they were."""
    file = tmp_path / "rollout.toml"
    file.write_text(TEXT, encoding="utf-8")
    edit(file, "deployment", paused=True)
    assert file.read_text(encoding="utf-8") == TEXT.replace("paused = false", "paused = true")
    assert list(tmp_path.iterdir()) == [file]


def test_a_bad_edit_changes_nothing(tmp_path: Path) -> None:
    """A value that the file could not hold is refused, and the file stays as it was."""
    file = tmp_path / "rollout.toml"
    file.write_text(TEXT, encoding="utf-8")
    with pytest.raises(Misuse):
        edit(file, "deployment", target="no such; build")
    assert file.read_text(encoding="utf-8") == TEXT


def test_two_edits_at_once_are_both_made(tmp_path: Path) -> None:
    """Nothing that a command has written is lost to another that ran beside it."""
    file = tmp_path / "rollout.toml"
    for _ in range(20):
        file.write_text(TEXT, encoding="utf-8")
        with ThreadPoolExecutor() as both:
            pausing = both.submit(edit, file, "deployment", paused=True)
            aiming = both.submit(edit, file, "deployment", target="v3")
            pausing.result()
            aiming.result()
        deployment = load(file).deployment
        assert (deployment.paused, deployment.target) == (True, "v3")


def test_a_link_stays_one(tmp_path: Path) -> None:
    """A file that is kept elsewhere is changed there."""
    (tmp_path / "real").mkdir()
    real = tmp_path / "real/rollout.toml"
    real.write_text(TEXT, encoding="utf-8")
    link = tmp_path / "rollout.toml"
    link.symlink_to(real)
    edit(link, "deployment", paused=True)
    assert link.is_symlink()
    assert load(real).deployment.paused


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is a mistake of the call, told with its path."""
    with pytest.raises(Misuse, match=r"nowhere\.toml cannot be read"):
        load(tmp_path / "nowhere.toml")
