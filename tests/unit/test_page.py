"""The live page: its answers, its memory and its colours, by themselves."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from rollout.core.colours import COLOURS, build_colours
from rollout.core.drain import drain_of
from rollout.core.observation import Observation, Version
from rollout.core.plan import plan
from rollout.page.answers import Answer, Look, answers
from rollout.page.document import Told, document
from rollout.page.memory import Change, Memory
from rollout.page.past import past
from tests.support.moments import CONFIG, moments

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=timezone.utc)
SEEN = moments(NOW)
SETTLING, RAMPING, FAILING = SEEN["settling"], SEEN["ramping"], SEEN["failing"]
DRAINING, SAFE = SEEN["draining"], SEEN["safe"]
DRAINED, V2 = SAFE.versions
assert RAMPING.measurements is not None
FINE = RAMPING.measurements


def asked(seen: Observation, **more: object) -> tuple[Answer, ...]:
    """The four answers."""
    return answers(Look(CONFIG, seen, NOW, **more))  # type: ignore[arg-type]


def words(seen: Observation, **more: object) -> list[str]:
    """What each says in large letters."""
    return [answer.answer for answer in asked(seen, **more)]


class TestTenSeconds:
    """What a newcomer is to know after ten seconds, at each of five moments."""

    def test_settling(self) -> None:
        """All new runs go to v1, and nothing has begun."""
        assert words(SETTLING) == ["v1 100 %", "Not begun", "Nothing to compare yet", "No"]
        assert asked(SETTLING)[1].text == "v1 still gets new runs; 34 runs are open on it"

    def test_the_first_step(self) -> None:
        """A tenth goes to v2, in truth too, and v2 does as well."""
        new_runs, _, worse, stop = asked(RAMPING)
        assert (new_runs.answer, new_runs.text) == (
            "v1 90 %, v2 10 %",
            "really v1 90 %, v2 10 %, of 100 runs since this step",
        )
        assert (worse.answer, worse.tone) == ("No", "good")
        assert (stop.question, stop.answer) == ("May I stop v1?", "No")
        assert stop.text.startswith("90% of new runs go to v1")

    def test_a_failing_target(self) -> None:
        """It is said with the judge's numbers, before and after it is rolled back."""
        worse = asked(FAILING)[2]
        assert (worse.answer, worse.tone) == ("Yes", "bad")
        assert worse.text.startswith("40 % of v2's activities failed (20 of 50)")
        v1, v2 = FAILING.versions
        gone = replace(v2, status="draining", blocked=worse.text)
        back = replace(FAILING, ramping=None, measurements=None, versions=(v1, gone))
        assert asked(back)[2].text.startswith("v2 was rolled back: 40 % of v2's activities")
        assert words(back)[0] == "v1 100 %"

    def test_draining(self) -> None:
        """How many are left, and when none will be."""
        memory = Memory()
        for second in range(0, 62, 2):
            v1, v2 = DRAINING.versions
            left = replace(v1, open_pinned=30 - second // 4)
            at = NOW - timedelta(seconds=60 - second)
            memory.saw(replace(DRAINING, at=at, versions=(left, v2)), "v2")
        seen = replace(DRAINING, versions=(replace(DRAINING.versions[0], open_pinned=15), v2))
        new_runs, drain, _, stop = asked(seen, past=memory.samples())
        assert (new_runs.answer, stop.answer) == ("v2 100 %", "No")
        assert (drain.answer, drain.text) == (
            "15 runs left",
            "on v1; at this pace none in about 60 s",
        )

    def test_safe(self) -> None:
        """And only then."""
        assert words(SAFE)[1:] == ["Done", "Not known yet", "Yes"]
        assert asked(SAFE)[3].text == "all 8 points hold"
        assert words(SAFE, compared=replace(FINE))[2] == "No"


@pytest.mark.parametrize(
    "seen",
    [
        replace(SAFE, versions=(replace(DRAINED, open_runs=None), SAFE.versions[1])),
        replace(SAFE, versions=(replace(DRAINED, open_pinned=None, open_runs=None), V2)),
        replace(SAFE, versions=(replace(DRAINED, backlog=None), SAFE.versions[1])),
        replace(SAFE, stuck=None),
        replace(SAFE, at=NOW - timedelta(minutes=1)),
        replace(SAFE, routing_settled=False),
    ],
)
def test_the_unknown_speaks_against(seen: Observation) -> None:
    """What could not be read, or is old, makes nothing safe."""
    assert words(seen)[3] == "No"


def test_counts_that_are_not_known_are_not_zero() -> None:
    """Neither a drain without a count nor analysis without numbers is good news."""
    v1, v2 = DRAINING.versions
    blind = replace(DRAINING, versions=(replace(v1, open_runs=None, open_pinned=None), v2))
    assert asked(blind)[1].tone == "unknown"
    away = replace(RAMPING, measurements=replace(FINE, problem="no answer"))
    assert asked(away)[2].tone == "unknown"
    assert asked(replace(RAMPING, measurements=None))[2].tone == "unknown"


def test_a_drain_that_does_not_go_on() -> None:
    """It is told, and no end is promised; of a moment alone there is no pace."""
    counts = [(NOW + timedelta(seconds=s), 7) for s in range(0, 60, 2)]
    drain = drain_of(counts)
    assert drain is not None
    assert (drain.left, drain.pace, drain.seconds) == (7, 0.0, None)
    assert drain_of([(NOW, None)]) is None
    assert drain_of([*counts, (NOW + timedelta(seconds=60), None)]) is None
    short = drain_of(counts[:2])
    assert short is not None
    assert short.pace is None


class TestMemory:
    """What the controller remembers."""

    def test_it_is_bounded(self) -> None:
        """A day of looks, each second, takes no more than hours, and none is out of order."""
        memory = Memory()
        for second in range(0, 86400, 10):
            memory.saw(replace(SAFE, at=NOW + timedelta(seconds=second)), "v2")
        samples = memory.samples()
        assert len(samples) <= 1020
        assert [s.at for s in samples] == sorted({s.at for s in samples})
        assert samples[-1].at - samples[0].at >= timedelta(hours=5)

    def test_many_builds_do_not_grow_it(self) -> None:
        """Those that get new runs or have open ones are kept."""
        many = tuple(Version(f"b{n}", "drained", open_runs=0) for n in range(100))
        memory = Memory()
        memory.saw(replace(RAMPING, versions=(*many, *RAMPING.versions)), "v2")
        (sample,) = memory.samples()
        assert len(sample.builds) == 12
        assert {"v1", "v2"} <= set(sample.builds)

    def test_what_happened(self) -> None:
        """Between two looks."""
        memory = Memory()
        memory.saw(SETTLING, "v2")
        memory.saw(replace(RAMPING, at=NOW + timedelta(seconds=2)), "v2")
        told = [change.text for change in memory.changes()]
        assert told[0] == "10 % of new runs go to v2"

    def test_what_was_done(self) -> None:
        """Each deed once, however often it is told, and of many the last."""
        memory = Memory()
        deeds = [Change(NOW + timedelta(seconds=n), f"deed {n}") for n in range(100)]
        for end in range(1, 100):
            memory.did(deeds[max(0, end - 5) : end])
        assert memory.deeds() == tuple(deeds[39:99])

    def test_its_curves(self) -> None:
        """Prometheus's are taken where they go back as far; what is not known is a gap."""
        memory = Memory()
        for second in range(0, 20, 2):
            v1, v2 = RAMPING.versions
            unknown = replace(v1, open_runs=None if second == 8 else 34)
            seen = replace(RAMPING, at=NOW + timedelta(seconds=second), versions=(unknown, v2))
            memory.saw(seen, "v2")
        later, span = NOW + timedelta(seconds=20), timedelta(minutes=15)
        own = past(memory, span, later, {})
        assert own["source"] == "controller"
        assert len(own["curves"]["open"]["v1"]) < len(own["curves"]["meant"]["v1"])
        began = int(NOW.timestamp())
        for first, source in ((began - 60, "prometheus"), (began + 10, "controller")):
            measured = {"open": {"v1": [(first, 1.0)]}, "meant": {}, "real": {}}
            assert past(memory, span, later, measured)["source"] == source


class TestColours:
    """The same for a build everywhere."""

    def test_by_name(self) -> None:
        """In whatever company; where two would be alike, the younger gives way."""
        assert build_colours(["v1", "v2"]) == {"v1": "blue", "v2": "orange"}
        alone = build_colours(["3f9c2ab"])["3f9c2ab"]
        assert build_colours(["3f9c2ab", "x", "y", "z"])["3f9c2ab"] == alone
        assert len(set(build_colours([f"b{n}" for n in range(6)]).values())) == 6
        assert len(build_colours([f"b{n}" for n in range(50)])) == 50

    def test_the_page_has_these(self) -> None:
        """Once for each ground."""
        css = Path("rollout/page/files/page.css").read_text("utf-8")
        light, dark = css.split("prefers-color-scheme: dark", 1)
        for name, colour in COLOURS.items():
            assert f"--{name}: {colour.light};" in light
            assert f"--{name}: {colour.dark};" in dark
            assert f".c-{name} {{" in css

    @pytest.mark.parametrize("name", COLOURS)
    def test_words_in_it_can_be_read(self, name: str) -> None:
        """A contrast of 4.5 at least (WCAG 2, AA), on the page's cards."""
        colour = COLOURS[name]
        assert contrast(colour.light, "#ffffff") >= 4.5
        assert contrast(colour.dark, "#1a1e24") >= 4.5

    def test_so_can_the_page(self) -> None:
        """Its own text and signs, on its ground and on its cards."""
        css = Path("rollout/page/files/page.css").read_text("utf-8")
        for part in css.split("prefers-color-scheme: dark", 1):
            found = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", part.split("}", 1)[0]))
            for name in ("text", "dim", "good", "bad", "warn", "unknown"):
                for ground in ("ground", "card"):
                    assert contrast(found[name], found[ground]) >= 4.5, (name, ground)


def contrast(one: str, other: str) -> float:
    """As WCAG 2 has it, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of a colour in hexadecimal."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class TestDocument:
    """What the page is told."""

    def test_before_the_first_look(self) -> None:
        """There is no status, and why."""
        told = Told("shop", CONFIG, None, None, "Temporal is away", "a:1", (), Memory())
        shown = document(told, NOW)
        assert (shown["status"], shown["unread"]) == (None, "Temporal is away")

    def test_the_judges_numbers(self) -> None:
        """Of the old build first, then of the new one."""
        decided = plan(CONFIG, FAILING, NOW, "me")
        told = Told("shop", CONFIG, FAILING, decided, None, "a:1", (), Memory())
        shown = document(told, NOW)
        compared = shown["comparison"]
        assert (compared["old"], compared["new"]) == ("v1", "v2")
        assert compared["failures"][1] == {
            "what": "activities",
            "builds": [{"failed": 0, "of": 300}, {"failed": 20, "of": 50}],
        }
        assert shown["colours"] == {"v1": "blue", "v2": "orange"}
        assert [mark["state"] for mark in shown["steps"]] == ["done", "here", "ahead"]
