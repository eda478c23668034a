"""Whatever is read, partly, late, or by clocks that are wrong: nothing is called safe that is not.

A world with open runs, waiting runs and workers changes while looks at it are taken. Each part of
a look is read at its own moment, or fails. A model keeps what was really read, and when.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.core.liveness import SKEWED, Heartbeat, Liveness
from rollout.core.observation import Observation, Version
from rollout.core.plan import ACTION_AGE, plan
from rollout.core.verdict import STALE, safe_to_stop
from rollout.core.zeros import APART, zeros
from tests.support.examples import many
from tests.support.synthetic_deployment import ME, T0, config

PARTS = ("open_runs", "pinned", "queues", "workers", "new_runs")

failures = st.frozensets(st.sampled_from(PARTS), max_size=2)
looks = st.tuples(
    st.just("look"),
    failures,
    st.sampled_from([0.0, 0.5, 4.0]),  # seconds that each part takes
)
changes = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 2)),
    st.tuples(st.just("auto"), st.integers(0, 2)),
    st.tuples(st.just("waiting"), st.sampled_from([0, 1, 1520])),
    st.tuples(st.just("backlog"), st.sampled_from([0, 1])),
    st.tuples(st.just("alive"), st.booleans()),
    st.tuples(st.just("drained"), st.booleans()),
)
passing = st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 3.0, 7.0, 40.0, 200.0]))
glances = st.tuples(st.just("glance"), st.sampled_from([0.0, 4.0]))
events = st.one_of(looks, looks, glances, changes, passing)


@dataclass
class World:
    """v1 that somebody would like to stop, v2 that is current, and one who looks."""

    skew: float
    """Seconds by which the clock of v2's worker is ahead of ours."""
    now: datetime = T0
    open: int = 0
    """Pinned runs on v1."""
    auto: int = 0
    """Auto-upgrade runs that sleep on v1."""
    waiting: int = 0
    backlog: int = 0
    drained: bool = True
    drained_since: datetime = T0 - timedelta(minutes=30)
    alive: bool = True
    beat_at: datetime = T0
    """When v2's worker last beat, by our clock."""
    liveness: Liveness = field(default_factory=Liveness)
    zeros: dict[str, datetime] = field(default_factory=dict)
    seen: Observation | None = None
    reads: list[tuple[datetime, dict[str, int | None]]] = field(default_factory=list)
    """What each look really read, by part, and when it began."""
    listed: list[datetime] = field(default_factory=list)
    """When the workers were listed."""
    described: tuple[datetime, int] | None = None
    """When v1's queues were last read, and what of them."""

    def suffer(self, event: tuple[object, ...]) -> None:
        """Let one thing happen."""
        match event:
            case ("look", frozenset() as failed, float(takes)):
                self.look(failed, takes)
            case ("glance", float(takes)):
                self.glance(takes)
            case ("wait", float(seconds)):
                self.wait(seconds)
            case ("drained", bool(drained)):
                if drained and not self.drained:
                    self.drained_since = self.now
                self.drained = drained
            case (str(name), value):
                setattr(self, name, value)

    def wait(self, seconds: float) -> None:
        """Time passes, in which a live worker goes on beating every second."""
        self.now += timedelta(seconds=seconds)
        if self.alive:
            self.beat_at = self.now - timedelta(seconds=seconds % 1)

    def look(self, failed: frozenset[str], takes: float) -> None:
        """Read one part after the other, as an observer does."""
        began = self.now
        read: dict[str, int | None] = {}
        for part in PARTS:
            read[part] = None if part in failed else self.part(part)
            self.wait(takes)
        if read["queues"] is not None:
            self.described = (began, read["queues"])
        pinned = read["pinned"]
        open_runs = read["open_runs"]
        v1 = Version(
            "v1",
            "drained" if self.drained else "draining",
            created_at=T0 - timedelta(hours=2),
            first_activated_at=T0 - timedelta(hours=1),
            drained_since=self.drained_since if self.drained else None,
            open_runs=open_runs,
            open_pinned=pinned if open_runs is not None else None,
            backlog=self.described[1] if self.described else None,
            described_at=self.described[0] if self.described else None,
            described=self.described is not None,
            workers=1,
        )
        self.zeros = zeros(self.zeros, {"v1": v1.holding}, self.now)
        v1 = replace(v1, zero_since=self.zeros.get("v1"))
        v2 = Version(
            "v2", "current", first_activated_at=T0, open_runs=9, open_pinned=9, backlog=0,
            workers=read["workers"],
        )  # fmt: skip
        new_runs = read["new_runs"]
        self.seen = Observation(
            "d", "n", began, current="v2", manager=ME, versions=(v1, v2),
            unassigned=new_runs, stuck=new_runs,
        )  # fmt: skip
        self.reads.append((began, read))

    def glance(self, takes: float) -> None:
        """Read the routing and the versions' status alone; every other part stays as it was."""
        assert self.seen is not None
        at = self.now
        self.wait(takes)
        v1, v2 = self.seen.versions
        v1 = replace(
            v1,
            status="drained" if self.drained else "draining",
            drained_since=self.drained_since if self.drained else None,
        )
        self.seen = replace(self.seen, at=at, parts_at=self.seen.oldest, versions=(v1, v2))

    def part(self, name: str) -> int:
        """What there is to read of one part at this moment."""
        if name == "workers":
            ahead = timedelta(seconds=self.skew)
            beat = Heartbeat("w", "d", "v2", "q", self.beat_at + ahead)
            self.liveness = self.liveness.saw([beat], self.now)
            self.listed.append(self.now)
            return len(self.liveness.alive(self.now))
        return {
            "open_runs": self.open + self.auto,
            "pinned": self.open,
            "queues": self.backlog,
            "new_runs": self.waiting,
        }[name]

    def check(self) -> None:
        """What is said must be what was read."""
        if self.seen is None:
            return
        decided = plan(config(), self.seen, self.now, ME)
        began, read = self.reads[-1]
        if decided.phase == "complete":
            assert read["new_runs"] == 0, "complete, while runs wait or nobody knows"
        if decided.phase == "complete" or decided.actions:
            assert self.now - self.seen.at <= ACTION_AGE
            assert self.now - began <= STALE
        if not safe_to_stop(self.seen, "v1", "v2", self.now).safe_to_stop:
            return
        assert self.now - began <= STALE, "an old look"
        assert read["open_runs"] is not None, "unknown is not none"
        assert read["pinned"] == 0 or (read["pinned"] is None and read["open_runs"] == 0)
        assert read["new_runs"] == 0, "new runs wait, or nobody knows"
        assert (read["workers"] or 0) > 0, "somebody else is alive"
        assert self.seen.version("v1").status == "drained"
        assert self.described is not None
        read_at, backlog = self.described
        assert backlog == 0
        assert self.now - read_at <= STALE or read_at > self.drained_since
        assert self.two_zeros(), "one zero proves nothing"
        # Whatever its clock says; one who looks seldom is more patient.
        apart = max((b - a for a, b in pairwise(self.listed)), default=timedelta()) + timedelta(
            seconds=1
        )
        patience = max(timedelta(seconds=66), 3 * apart)
        assert self.now - self.beat_at <= patience + STALE + SKEWED, "dead for long"

    def two_zeros(self) -> bool:
        """Whether looks at least 3 s apart have read 0, and all between them."""
        last = self.reads[-1][0]
        for began, read in reversed(self.reads):
            pinned, open_runs = read["pinned"], read["open_runs"]
            holding = open_runs if open_runs is None or pinned is None else pinned
            if holding != 0:
                return False
            if last - began >= APART:
                return True
        return False


@settings(max_examples=many(400), deadline=None)
@given(
    st.lists(events, min_size=3, max_size=30), st.sampled_from([-3600.0, -5.0, 0.0, 5.0, 3600.0])
)
def test_nothing_is_safe_that_was_not_read(
    happenings: list[tuple[object, ...]], skew: float
) -> None:
    """*Safe to stop* needs every part, read within its age; *complete* that no new run waits."""
    world = World(skew)
    world.look(frozenset(), 0.0)
    world.wait(3.0)
    for event in happenings:
        world.suffer(event)
        world.check()


def test_it_can_be_safe() -> None:
    """The world above is not one in which nothing ever is."""
    world = World(0.0)
    world.look(frozenset(), 0.0)
    assert world.seen is not None
    assert not safe_to_stop(world.seen, "v1", "v2", world.now).safe_to_stop
    world.wait(3.0)
    world.look(frozenset(), 0.0)
    assert safe_to_stop(world.seen, "v1", "v2", world.now).safe_to_stop
    assert plan(config(), world.seen, world.now, ME).phase == "complete"
