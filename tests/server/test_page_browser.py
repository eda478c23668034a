"""The live page as a browser shows it: its text at each moment, and that nothing old looks new."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from prometheus_client import CollectorRegistry

from rollout.controller.api import serve
from rollout.core.observation import Observation, Version
from rollout.core.plan import plan
from rollout.page.document import Told
from rollout.page.memory import Change, Memory
from rollout.page.site import Site
from tests.support.browser import PICTURES, chromium, shown
from tests.support.moments import CONFIG, moments
from tests.support.temporal_server import free_port

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="NO CHROMIUM: nobody has looked at the live page"
)
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def _no_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_URL", f"http://127.0.0.1:{free_port()}")


def served(each: Callable[[], Sequence[Told]]) -> str:
    """The address of a page."""
    return f"http://127.0.0.1:{serve('127.0.0.1', 0, CollectorRegistry(), {}, Site(each))}/"


def told(name: str, seen: Observation, memory: Memory, *deeds: str) -> Told:
    """What a controller tells of a deployment that is as ``seen``."""
    decided = plan(CONFIG, seen, seen.at, "me")
    memory.did(Change(seen.at.replace(microsecond=0), deed) for deed in deeds)
    return Told(name, CONFIG, seen, decided, None, "127.0.0.1:7233", (), memory)


def past_of(moment: str) -> Memory:
    """Ten minutes in which the open runs of v1 became fewer."""
    memory, now = Memory(), datetime.now(timezone.utc)
    for ago in range(600, 0, -2):
        seen = moments(now - timedelta(seconds=ago))[moment]
        v1, v2 = seen.versions
        left = 0 if moment == "safe" else 30 + ago // 20
        v1 = replace(v1, open_runs=left, open_pinned=left)
        memory.saw(replace(seen, versions=(v1, v2)), "v2")
    return memory


@pytest.fixture(scope="module")
def url() -> str:
    """A page with a deployment for each moment."""
    memories = {moment: past_of(moment) for moment in moments(datetime.now(timezone.utc))}

    def each() -> list[Told]:
        now = datetime.now(timezone.utc)
        return [
            told(name, seen, memories[name], "rollout: ramp v2 to 10 %")
            for name, seen in moments(now).items()
        ]

    return served(each)


@pytest.mark.parametrize(
    ("moment", "known"),
    [
        ("settling", ("v1 100 %", "Not begun", "Nothing to compare yet", "May I stop v1? ! No")),
        (
            "ramping",
            ("v1 90 %, v2 10 %", "34 runs are open on it", "Is anything worse? ✓ No", "! No"),
        ),
        (
            "failing",
            ("v1 50 %, v2 50 %", "✕ Yes 40 % of v2's activities failed (20 of 50)", "! No"),
        ),
        ("draining", ("v2 100 %", "30 runs left on v1; at this pace none in about", "! No")),
        ("safe", ("v2 100 %", "Done v1 is drained", "May I stop v1? ✓ Yes all 8 points hold")),
    ],
)
def test_ten_seconds(url: str, moment: str, known: tuple[str, ...]) -> None:
    """A newcomer reads at once who gets new runs, the drain, what is worse, and whether to stop."""
    page = shown(f"{url}?deployment={moment}")
    assert page.state == "live", page.html
    answers = page.section("answers")
    place = 0
    for text in known:
        assert text in answers[place:], f"{text!r} is not in {answers!r} where it should be"
        place = answers.index(text, place)
    assert "Wanted v2" in page.section("state")
    builds = page.section("builds")
    assert "v1 compatible" in builds
    assert "v2 incompatible" in builds
    assert "rollout: ramp v2 to 10 %" in page.section("events")
    assert "As a table" in page.section("curves")
    assert page.section("alarm") == ""


@pytest.mark.parametrize(
    ("name", "moment", "size"),
    [
        ("light", "draining", (1280, 1000)),
        ("dark", "failing", (1280, 1000)),
        ("phone", "ramping", (500, 1600)),
    ],
)
def test_pictures(url: str, name: str, moment: str, size: tuple[int, int]) -> None:
    """They are kept in var/pictures, for people to look at."""
    file = PICTURES / f"{name}.png"
    shown(f"{url}?deployment={moment}", file, size=size, dark=name == "dark")
    assert file.stat().st_size > 20_000


def test_a_controller_that_is_gone() -> None:
    """It says since when; the verdict that was good is not known any more."""
    turns, memory = itertools.count(), Memory()

    def each() -> list[Told]:
        if next(turns) > 3:
            raise OSError("gone")
        return [told("shop", moments(datetime.now(timezone.utc))["safe"], memory)]

    page = shown(served(each), budget=12_000)
    assert page.state == "gone"
    assert "The controller has not answered since " in page.section("alarm")
    assert "May I stop v1? ? Not known at" in page.section("answers")
    assert "✓ Yes" not in page.section("answers")
    assert "not known since" in page.section("evidence")
    assert "not answering" in page.section("live")


def test_a_look_that_is_old() -> None:
    """A controller that answers and sees nothing is no better."""
    memory, then = Memory(), datetime.now(timezone.utc) - timedelta(seconds=20)
    old = replace(told("shop", moments(then)["safe"], memory), unread="Temporal is away")
    page = shown(served(lambda: [old]))
    assert page.state == "old"
    assert "has not seen the server since " in page.section("alarm")
    assert "Temporal is away" in page.section("alarm")
    assert "Not known" in page.section("answers")
    assert "Yes" not in page.section("builds")


def test_names_are_text() -> None:
    """HTML in a build's id, a deployment's name or a sentence is shown, and does nothing."""
    seen = moments(datetime.now(timezone.utc))["safe"]
    evil = replace(seen, versions=(*seen.versions, Version(EVIL, "inactive", blocked=EVIL)))
    told_of = replace(told(EVIL, evil, Memory(), EVIL), warnings=[EVIL])
    page = shown(served(lambda: [told_of]))
    assert page.state == "live"
    for part in ("name", "builds", "warnings", "events"):
        assert EVIL in page.section(part)
    assert "img" not in page.tags


def test_no_such_deployment(url: str) -> None:
    """It is said, with those that there are."""
    page = shown(f"{url}?deployment=other")
    assert "No deployment other is followed here; there is settling, " in page.section("alarm")
    assert page.section("answers") == ""
