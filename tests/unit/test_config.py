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
        (
            "percentage = 50",
            "percentage = 5",
            "line 11: progressive.steps: the percentages of the steps, [10, 5], must rise",
        ),
        (
            'pause = "30s" },\n]',
            "pause = 30 },\n]",
            "line 13: progressive.steps[1].pause: 30 is not a duration: write it in quotes",
        ),
        (
            'settle = "20s"',
            'settle = "20x"',
            "line 10: progressive.settle: '20x' is not a duration",
        ),
        ('name = "greetings"', 'name = "a.b"', "line 3: deployment.name: deployment name 'a.b'"),
        ('target = "v2"', "target = v2", "line 6: "),
        ('target = "v2"', "", "line 2: deployment.target: it is missing"),
        (
            "settle",
            "setle",
            "line 10: progressive.setle: there is no such key; did you mean settle",
        ),
        ("[progressive]", "[progresive]", "line 9: progresive: there is no such key; did you mean"),
        ("percentage = 10", "zzz = 10", "line 12: progressive.steps[0].zzz: there is no such key"),
        (
            "paused = false",
            'pace = "x"',
            "line 7: deployment.pace: 'x' is not one of progressive, all-at-once, manual",
        ),
        ('target = "v2"', 'target = "__v2"', "line 6: deployment.target: build id"),
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
        ("maximum = 1", 23, "analysis.checks[1].maximum: there is no such key"),
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


V2 = '[deployment]\ntarget = "v2"\n'
STEP = '{ percentage = 10, pause = "1s" }'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            '[ deployment ]\nname = "a"\n"target" = 2\n',
            " line 3: deployment.target: it must be text, not a whole number",
            id="a quoted key, and blanks in its table's header",
        ),
        pytest.param(
            '["deployment"]\ntarget = "v2"\n\'pace\' = "x"\n',
            " line 3: deployment.pace: 'x' is not one of progressive,",
            id="a quoted header, and a key in single quotes",
        ),
        pytest.param(
            'deployment.target = "v2"\ndeployment . paused = 1\n',
            " line 2: deployment.paused: it must be true or false, not a whole number",
            id="dotted keys",
        ),
        pytest.param(
            'deployment.name = "a"\ndeployment.paused = true\n',
            ": deployment.target: it is missing",
            id="a key that is missing in a table of dotted keys: nowhere is its place",
        ),
        pytest.param(
            'limits.versions = 3\ndeployment = { name = "a", target = 7 }\n',
            " line 2: deployment.target: it must be text, not a whole number",
            id="an inline table",
        ),
        pytest.param(
            f"{V2}[progressive]\nsteps = [{STEP},\n  {STEP.replace('1s', '1 s')}]\n",
            " line 5: progressive.steps[1].pause: '1 s' is not a duration",
            id="inline tables in an array, two of them with the same keys",
        ),
        pytest.param(
            f'{V2}[[progressive.steps]]\npercentage = 10\npause = "1s"\n'
            '[[ progressive . steps ]]\npercentage = "x"\npause = "1s"\n',
            " line 7: progressive.steps[1].percentage: it must be a number, not text",
            id="an array of tables",
        ),
        pytest.param(
            f"{V2}[[progressive.steps]]\npercentage = 10\n",
            " line 3: progressive.steps[0].pause: it is missing",
            id="a key that is missing in an array of tables: its table's header",
        ),
        pytest.param(
            f'# target = "v1"\n{V2}[verify]\nsample = 3\n[gate]\nworkflow = "sample = 4"\n'
            "sample = 5\n",
            " line 8: gate.sample: there is no such key",
            id="keys of one name in two tables, in a comment, and in a text",
        ),
        pytest.param(
            f'{V2}[gate]\nworkflow = """\nretries = 1\n"""\nretries = 99\n',
            " line 7: gate.retries: it must be a whole number <= 20",
            id="a text of several lines that looks like a key",
        ),
        pytest.param(
            f"{V2}[gate]\nworkflow = 'a'\ntask_queues = [\n  'b',\n  3,\n]\n",
            " line 7: gate.task_queues[1]: it must be text, not a whole number",
            id="an element of an array",
        ),
        pytest.param(
            f"{V2}[limits]\nversions = 1\n[deployment.a]\nb = 1\n",
            " line 5: deployment.a: there is no such key",
            id="a table that is continued after another",
        ),
        pytest.param(
            f'{V2}"a b.c" = 1\n', " line 3: deployment.a b.c: there is no such key", id="any key"
        ),
        pytest.param(
            f"{V2}paused = true\n'paused' = false\n[limits]\nversions = 'x'\n",
            " line 4: paused is there twice",
            id="a key twice",
        ),
        pytest.param(
            'deployment = { target = "v1", target = "v2" }\n',
            " line 1: target is there twice",
            id="a key twice in an inline table",
        ),
        pytest.param(
            f"{V2}paused = true\n[limits]\nversions = 3\n[deployment]\npaused = false\n",
            " line 6: deployment is there twice",
            id="a table twice",
        ),
        pytest.param(
            'deployment.target = "v2"\n[deployment]\npaused = true\n',
            " line 2: Redefinition of an existing table",
            id="a table both ways",
        ),
        pytest.param("[deployment\n", " line 1: ", id="no TOML at all"),
        pytest.param("", ": deployment: it is missing", id="nothing"),
        pytest.param(
            V2.replace("\n", "\r\n") + "x = 1\r\n", " line 3: deployment.x: ", id="DOS's lines"
        ),
    ],
)
def test_the_key_is_named_and_the_line_only_where_it_is_certain(text: str, message: str) -> None:
    """However TOML is written, the line is the key's own, and none is claimed otherwise."""
    with pytest.raises(Misuse) as caught:
        parse(text)
    assert str(caught.value).startswith(f"rollout.toml{message}")
    assert "\n" not in str(caught.value)


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


def test_an_edit_keeps_the_ends_of_lines(tmp_path: Path) -> None:
    """A file that was written on Windows stays one."""
    file = tmp_path / "rollout.toml"
    text = TEXT.replace("\n", "\r\n").encode()
    file.write_bytes(text)
    edit(file, "deployment", paused=True)
    assert file.read_bytes() == text.replace(b"paused = false", b"paused = true")


def test_a_bad_edit_changes_nothing(tmp_path: Path) -> None:
    """A value that the file could not hold is refused, and the file stays as it was."""
    file = tmp_path / "rollout.toml"
    file.write_text(TEXT, encoding="utf-8")
    with pytest.raises(Misuse):
        edit(file, "deployment", target="__no such build")
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


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        ('webhook = "ftp://x"', "webhook", 'it must be "env:NAME" or "file:PATH"'),
        ('webhook = "https://me:secret@x/"', "webhook", "it must be a URL without user and"),
        ('apprise = ["slack://secret"]', "apprise", 'it must be "env:NAME" or "file:PATH"'),
        ('headers = { Authorization = "x" }', "headers", 'it must be "env:NAME" or "file:PATH"'),
        ('events = ["routing", "x"]', "events", "'x' is not one of routing, rollback, block, "),
    ],
)
def test_a_secret_does_not_stand_in_the_file(line: str, place: str, message: str) -> None:
    """It is refused with its place, and is not in the message."""
    with pytest.raises(Misuse) as caught:
        parse(f"{V2}[notify]\n{line}\n")
    assert f"notify.{place}" in str(caught.value)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
