"""The report: which time it is about, what its page shows, and where it is kept."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from temporalio.client import Client

from rollout.base import settings
from rollout.controller.past import Event
from rollout.controller.report.folder import DEPLOYMENTS, KEPT, keep, report_folder
from rollout.controller.report.html import el
from rollout.controller.report.page import page
from rollout.controller.report.period import Period, period
from rollout.controller.report.recorder import Recorder
from rollout.controller.report.reporter import Reporter
from rollout.core.actions import Plan
from rollout.core.observation import Observation, Ramp, Version
from rollout.core.report import Report
from tests.support.reports import BEGAN, example_report
from tests.support.synthetic_deployment import config

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\u202e\x00"
VOID = {"meta"}


class _Read(HTMLParser):
    """Every element with its attributes, and the text that a person sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words += data


class TestPage:
    """One page that needs nothing else."""

    def test_it_tells_the_story(self) -> None:
        """Who went where, how long it took, what failed, who asked, and what may be stopped."""
        words = _Read(page(example_report())).words
        for said in (
            *("v1 → v2: complete in 4 min", "all new runs go to v2", "ops: rollout to v2"),
            *("order-17", "run-1", "timed out", "the gate on shop, try 1, has passed"),
            *("v1: not safe to stop", "✗ 3 runs are open on v1", "2 of 40", "5.0%", "1.2 s"),
            *("worker-v2 has ended", "Share of new runs, meant and real (dashed)"),
        ):
            assert said in words, said

    def test_it_needs_nothing_from_outside(self) -> None:
        """No script runs, nothing is loaded, and its policy says so, too."""
        read = _Read(page(example_report()))
        assert read.open == []
        policy = next(a for tag, a in read.elements if a.get("http-equiv"))
        assert str(policy["content"]).startswith("default-src 'none'")
        for tag, attributes in read.elements:
            assert tag not in ("link", "img", "iframe", "object", "form", "base")
            assert tag != "script" or attributes["type"] == "application/json"
            assert not any(name.startswith("on") or name == "src" for name in attributes)
            assert not str(attributes.get("href", "data:")).partition("data:")[0]
        assert "http" not in re.sub(r"http-equiv", "", page(example_report()))

    def test_hostile_names_are_text(self) -> None:
        """Whatever a workflow, a build or an error is called, no element comes of it."""
        plain, hostile = (
            _Read(page(example_report(old=f"v1{text}", new=f"v2{text}", text=text)))
            for text in ("x", HOSTILE)
        )
        assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
        assert hostile.open == []
        assert "<img src=x onerror=alert(1)>" in hostile.words
        made = page(example_report(text=HOSTILE))
        made.encode()
        assert "\x00" not in made

    def test_its_json_is_the_report(self) -> None:
        """Embedded, and behind the link."""
        made = example_report(text="</script>")
        (data,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>',
                             page(made), re.DOTALL)  # fmt: skip
        assert msgspec.json.decode(data, type=Report) == made

    def test_what_is_not_known_is_said(self) -> None:
        """An empty report has no zero in it that nobody has counted."""
        bare = Report(
            deployment="shop", namespace="default", target="v2", previous=None,
            outcome="under way", reason="waiting", began=BEGAN, ended=BEGAN, made_at=BEGAN,
            missing=("failed runs: the server did not answer",),
        )  # fmt: skip
        words = _Read(page(bare)).words
        assert "Not known: failed runs: the server did not answer" in words
        assert "Runs that failed meanwhile?" in words
        assert words.count("nothing was recorded") == 4
        assert "Not known." in words

    def test_an_attribute_is_escaped(self) -> None:
        """As a text is."""
        assert el("text", "<b>", class_='"><script>') == (
            '<text class="&quot;&gt;&lt;script&gt;">&lt;b&gt;</text>'
        )


def at(second: float) -> datetime:
    """So many seconds after the beginning."""
    return BEGAN + timedelta(seconds=second)


WISH = Event(at(0), 'rollout.toml: target = "v2" (was "v1")', None, "config.changed")
RAMP = Event(at(5), "rollout: ramp v2 to 10 %", "v2", "routing.ramp-set")
COMPLETE = Event(at(60), "complete: all new runs go to v2", None, "plan.changed")
BACK = Event(at(40), "rolling v2 back: 40 % fail", "v2", "rollback.begun")


class TestPeriod:
    """Which rollout a report is about."""

    def test_from_the_wish_to_the_end(self) -> None:
        """The last change of the target begins it, a complete plan or a rollback ends it."""
        done = period([WISH, RAMP, COMPLETE], "v2", "now", at(90))
        assert (done.previous, done.began, done.ended) == ("v1", at(0), at(60))
        assert (done.outcome, done.reason) == ("complete", "all new runs go to v2")
        back = period([WISH, RAMP, BACK, COMPLETE], "v2", "now", at(90))
        assert (back.outcome, back.ended, back.reason) == ("rolled back", at(40), BACK.text)

    def test_under_way(self) -> None:
        """Then it ends now, and the plan says why."""
        going = period([COMPLETE, WISH, RAMP], "v2", "at 10 %", at(20))
        assert (going.outcome, going.ended, going.reason) == ("complete", at(60), going.reason)
        going = period([WISH, RAMP], "v2", "at 10 %", at(20))
        assert (going.outcome, going.ended, going.reason) == ("under way", at(20), "at 10 %")

    def test_without_a_wish(self) -> None:
        """The first change of routing to it begins it; without that, an hour ago."""
        assert period([RAMP], "v2", "", at(20)).began == at(5)
        assert period([], "v2", "", at(20)).began == at(20) - timedelta(hours=1)
        assert period([WISH], "v3", "", at(20)).previous is None

    def test_so_far_back(self) -> None:
        """As a person says."""
        assert period([WISH], "v2", "", at(20), since=300).began == at(-280)


class TestRecorder:
    """What is remembered where there is no Prometheus."""

    def test_the_looks_become_curves(self) -> None:
        """Not each of them, and what was not known leaves a gap."""
        recorder = Recorder()
        for second in range(9):
            count = None if second == 3 else 20 - second
            recorder.saw(
                Observation(
                    "shop", "default", at(second), current="v1", ramping=Ramp("v2", 10),
                    versions=(Version("v1", "current", open_runs=count), Version("v2", "ramping")),
                )
            )  # fmt: skip
        first = BEGAN.timestamp()
        found = {(c.kind, c.build_id): c.values for c in recorder.curves(first, first + 60)}
        assert found["open", "v1"] == ((first, 20.0), (first + 6, 14.0))
        assert found["meant", "v2"] == tuple((first + n, 0.1) for n in (0, 3, 6))
        assert ("real", "v2") not in found
        assert recorder.curves(first + 100, first + 200) == ()


class TestFolder:
    """Where reports are kept."""

    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(settings, "VAR", tmp_path)

    def test_the_oldest_go_first(self) -> None:
        """So many of a deployment stay, each as a page and as JSON."""
        for day in range(KEPT + 3):
            made = msgspec.structs.replace(example_report(), began=BEGAN + timedelta(days=day))
            keep(made)
        files = sorted(each.name for each in report_folder("shop").iterdir())
        assert len(files) == 2 * KEPT
        assert files[0].startswith("20261125T")

    def test_whatever_a_deployment_is_called(self, tmp_path: Path) -> None:
        """Its folder lies below the folder of reports."""
        for name in ("../../x", "a/b", ".", "..", "x" * 300):
            file = keep(msgspec.structs.replace(example_report(), deployment=name))
            assert file.resolve().parent.parent == (tmp_path / "reports").resolve()

    def test_deserted_deployments_go(self) -> None:
        """Those whose last report is the oldest."""
        for number in range(DEPLOYMENTS + 2):
            keep(msgspec.structs.replace(example_report(), deployment=f"d{number}"))
        assert len(list(report_folder("d0").parent.iterdir())) == DEPLOYMENTS


class TestReporter:
    """When the controller begins to write."""

    def ways(self, *rounds: tuple[Plan, Observation], target: str = "v2") -> list[Period]:
        """What it has begun to report in these rounds."""
        found: list[Period] = []
        client: Client = None  # type: ignore[assignment]
        reporter = Reporter(client)
        reporter._begin = lambda config, seen, way: found.append(way)  # type: ignore[method-assign]
        for decided, seen in rounds:
            reporter.round(config(target=target), seen, decided, 0.0)
        return found

    def look(self, second: float, current: str, ramp: float = 0, why: str = "") -> Observation:
        """v2 ramps, or not, or is blocked."""
        v2 = Version("v2", "ramping" if ramp else "inactive", blocked=why or None)
        return Observation(
            "d", "default", at(second), current=current, versions=(Version("v1", "current"), v2),
            ramping=Ramp("v2", ramp) if ramp else None,
        )  # fmt: skip

    def test_each_end_once(self) -> None:
        """Complete, with the build before it; what was complete when it began to look is none."""
        done = Plan("complete", "all new runs go to v2")
        going = Plan("progressing", "at 10 %")
        assert self.ways((done, self.look(0, "v2"))) == []
        (way,) = self.ways(
            (going, self.look(0, "v1", 10)),
            (going, self.look(5, "v1", 50)),
            (done, self.look(9, "v2")),
            (done, self.look(11, "v2")),
        )
        assert way == Period("v2", "v1", at(0), at(9), "complete", "all new runs go to v2")

    def test_a_rollback_is_an_end(self) -> None:
        """Once the traffic is back, with why."""
        going, blocked = Plan("progressing", "at 10 %"), Plan("blocked", "v2 was rolled back")
        (way,) = self.ways(
            (going, self.look(0, "v1", 10)),
            (blocked, self.look(5, "v1", 10, "40 % fail")),
            (blocked, self.look(7, "v1", why="40 % fail")),
            (blocked, self.look(9, "v1", why="40 % fail")),
        )
        assert (way.outcome, way.reason, way.ended) == ("rolled back", "40 % fail", at(7))
