"""The truth test: a whole switchover under load, each figure of ours held against the server's.

``python -m tests.support.truth`` runs it, on the machine as it is and with all cores kept busy by
others, prints the tables and writes docs/truth.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from temporalio.client import Client

from rollout.base.settings import ROOT
from tests.support.scrape import Series
from tests.support.stack_clone import StackClone, stack_clone
from tests.support.truth_ours import Ours
from tests.support.truth_rules import hold
from tests.support.truth_server import BUILDS, Kernel, ServerLook, Truth
from tests.support.truth_table import Account, Row, as_markdown
from tests.support.waiting import until

__all__ = ["Account", "hold_against_the_server"]

PROGRAMS = {
    "worker-v1": "--build-id v1",
    "worker-v2": "--build-id v2",
    "load": "client load",
    "rollout": "rollout run",
}
FILE = ROOT / "docs" / "truth.md"

_PATIENCE = 120
"""Seconds that each part of the switchover may take, on a machine that is busy."""


@contextlib.contextmanager
def _busy(processes: int) -> Iterator[None]:
    """So many processes that do nothing but keep a core busy, for ten minutes at most."""
    burn = "import time\nend = time.monotonic() + 600\nwhile time.monotonic() < end: pass"
    burning = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _stack(rate: int, pause: int) -> Iterator[StackClone]:
    with stack_clone(LOAD_RATE=str(rate)) as clone:
        clone.edit("rollout.toml", 'settle = "20s"', 'settle = "3s"')
        clone.edit(
            "rollout.toml", 'percentage = 10, pause = "30s"', 'percentage = 25, pause = "30s"'
        )
        clone.edit("rollout.toml", 'pause = "30s"', f'pause = "{pause}s"')
        clone.edit("supervisord.conf", "--orders 0.2", "--orders 0.2 --order-seconds 4-6")
        up = clone.up("--timeout", "150", seconds=180)
        if up.returncode:  # on a machine that is busy a check may take longer than it is given
            up = clone.up("--timeout", "150", seconds=180)
        assert up.returncode == 0, up.stdout
        yield clone


def hold_against_the_server(
    *, stopped_for: float = 12, rate: int = 5, pause: int = 7, busy: bool = False
) -> Account:
    """Run the switchover on a stack of its own; v2's worker is stopped for so many seconds."""
    began = time.monotonic()
    with _busy((os.cpu_count() or 2) if busy else 0), _stack(rate, pause) as stack:
        return asyncio.run(_Switchover(stack, stopped_for).run(began))


@dataclass
class _Switchover:
    stack: StackClone
    stopped_for: float
    kernel: Kernel = field(default_factory=Kernel)
    rows: list[Row] = field(default_factory=list)
    cut_off_at: dict[str, float] = field(default_factory=dict)
    """By build, when its worker was killed or stopped."""

    async def run(self, began: float) -> Account:
        client = await Client.connect(f"127.0.0.1:{self.stack.ports['TEMPORAL_PORT']}")
        self.truth, self.ours = Truth(client), Ours(self.stack)
        watching = [
            asyncio.create_task(each)
            for each in (self.truth.keep_looking(), self.ours.keep_reading(), self._processes())
        ]
        try:
            driving = asyncio.create_task(self._drive())
            done, _ = await asyncio.wait({driving, *watching}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # what watches ends by an error alone
        finally:
            for task in (driving, *watching):
                task.cancel()
            await asyncio.gather(driving, *watching, return_exceptions=True)
        held = hold(self.ours.claims, self.truth.looks)
        await self._add_up()
        self._shares()
        self._starts()
        return Account(
            held,
            tuple(self.rows),
            len(self.truth.looks),
            time.monotonic() - began,
            self.ours.not_answered,
            f"load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores",
        )

    async def _processes(self) -> None:
        pid = int((self.stack.root / "var/run/supervisord.pid").read_text())
        while True:
            self.kernel.look(pid, PROGRAMS)
            await asyncio.sleep(0.2)

    async def _drive(self) -> None:
        """The switchover, with what goes wrong in the middle of it."""
        await self._when(
            "v2 gets new runs", lambda look: look.routing.percentage > 0 or look.of("v2").total > 2
        )
        killed, self.cut_off_at["v1"] = self._pid("worker-v1"), time.time()
        os.kill(killed, signal.SIGKILL)
        await self._so("worker-v1 is started again", lambda: self._pid("worker-v1") != killed)
        await self._when("v2 is current", lambda look: look.routing.current == "v2")
        stopped, at = self._pid("worker-v2"), time.time()
        self.cut_off_at["v2"] = at
        os.kill(stopped, signal.SIGSTOP)
        try:
            await asyncio.sleep(self.stopped_for)
        finally:
            os.kill(stopped, signal.SIGCONT)
        self._said_dead(at, time.time())
        # On a machine that is busy v2's worker may not keep up with the load: then new runs wait,
        # and nothing is safe before the load ends.
        with contextlib.suppress(AssertionError):
            await self._so("v1 is safe", self._v1_is_safe, seconds=30)
        await asyncio.to_thread(self.stack.supervisorctl, "stop", "load")
        await self._when(
            "all runs end",
            lambda look: not look.nowhere.running and not any(look.of(b).running for b in BUILDS),
        )
        await self._so("v1 is safe", self._v1_is_safe)
        # One more reading of each of ours lies between two looks at the server.
        heard = time.time()
        await self._so("ours are read", lambda: self.ours.claims[-1].since > heard)
        await self._so(
            "workers are scraped", lambda: all(len(self._since(heard, b)) > 1 for b in BUILDS)
        )
        heard = time.time()
        await self._so("the server is asked", lambda: self.truth.looks[-1].began > heard)

    def _v1_is_safe(self) -> bool:
        return bool(self.ours.last("safe_to_stop", "v1"))

    def _since(self, heard: float, program: str) -> list[Series]:
        return [series for at, series in self.ours.counters.get(program, []) if at > heard]

    async def _when(self, what: str, condition: Callable[[ServerLook], bool]) -> None:
        looks = self.truth.looks
        await self._so(what, lambda: bool(looks) and condition(looks[-1]))

    async def _so(
        self, what: str, condition: Callable[[], bool], seconds: float = _PATIENCE
    ) -> None:
        async def check() -> bool:
            assert condition(), f"it is not so that {what}; we said {self.ours.words()}"
            return True

        await until(check, seconds=seconds)

    def _pid(self, program: str) -> int:
        """The process id that was begun last."""
        began = self.kernel.seen[program]
        return max(began, key=lambda pid: began[pid])

    def _said_dead(self, stopped: float, went_on: float) -> None:
        said = [
            each.heard - stopped
            for each in self.ours.claims
            if stopped < each.heard < went_on and each.values.get(("workers", "v2")) == 0
        ]
        late = f"{min(said):.1f} s later" if said else f"not within {went_on - stopped:.0f} s"
        self.rows.append(Row("a stopped worker is said to be dead", "late", late))

    def _shares(self) -> None:
        """What each version was meant to get, and got, as long as the routing stood still."""
        for period in _periods(self.truth.looks):
            first, last = period[0], period[-1]
            got = {b: last.of(b).total - first.of(b).total for b in BUILDS}
            routing, total = first.routing, sum(got.values())
            if not total or not routing.current:
                continue
            said = self._real_share(last.ended)
            self.rows.append(
                Row(
                    f"new runs that v2 got, meant to get {routing.share('v2'):.0%}",
                    "measured",
                    f"{got['v2'] / total:.0%} of {total} runs" + (f"; said {said}" if said else ""),
                )
            )

    def _real_share(self, until: float) -> str:
        for heard, document in reversed(self.ours.documents):
            if heard <= until:
                for version in document["versions"]:
                    share = version.get("real_share")
                    if version["build_id"] == "v2" and share is not None:
                        return f"{share:.0%} of {version.get('real_samples')}"
        return ""

    def _starts(self) -> None:
        """The exporter's starts and times of start, against the kernel's processes."""
        _, series = self.ours.counters["exporter"][-1]
        starts = _by(series, "supervisord_process_starts_total", "name")
        times = _by(series, "supervisord_process_start_time_seconds", "name")
        for program in ("worker-v1", "worker-v2"):
            seen = self.kernel.seen[program]
            self._bounded(f"starts of {program}", starts.get(program, 0), len(seen), len(seen))
            began = max(seen.values())
            off = times.get(program, 0) - began
            # supervisord knows whole seconds, and the kernel its own boot to a hundredth.
            self._row(f"last start of {program}", "bounded", f"{off:+.1f} s", good=abs(off) < 2)

    async def _add_up(self) -> None:
        """At the end, when nothing runs: each counter against the server's counts."""
        load = json.loads(self.stack.log("load").splitlines()[-1])
        gate = " AND WorkflowId STARTS_WITH 'gate/'"
        gates = {b: (await self.truth.runs(b, gate)).total for b in BUILDS}
        ran = {b: await self.truth.runs(b) for b in BUILDS}
        started = (await self.truth.count("TaskQueue='greetings'")).total - sum(gates.values())
        # A start that was under way as the load was told to end was taken or not.
        self._bounded("runs started, by the load", load["started"], started - 2, started)
        for build_id in BUILDS:
            ended = ran[build_id].ended - gates[build_id]
            # Those that ended after the load had are on the server alone.
            self._bounded(
                f"runs completed on {build_id}, by the load",
                load["by_build"].get(build_id, 0), max(0, ended - load["open"]), ended,
            )  # fmt: skip
            ended, cut_off = ran[build_id].ended, self._cut_off(build_id)
            self._bounded(
                f"runs completed on {build_id}, by its worker",
                _added_up(self.ours.counters[build_id]),
                ended - cut_off, ended + (cut_off if build_id == "v2" else 0),
            )  # fmt: skip
        for what in ("failed", "crossed"):
            self._bounded(f"runs that {what}", load[what], 0, 0)

    def _cut_off(self, build_id: str) -> int:
        """How many runs its worker may have completed without counting them, or the other way.

        A worker that was killed has not been scraped of its last completions. One that was
        stopped in the middle of telling the server may count a completion that the server did
        not take, or miss one that it took.
        """
        at = self.cut_off_at[build_id]
        scraped = [heard for heard, _ in self.ours.counters[build_id] if heard < at]
        since = max(scraped, default=0.0) - 1
        before = [look for look in self.truth.looks if look.ended <= since]
        after = [look for look in self.truth.looks if look.began >= at + 1]
        if not after:
            return 0
        return after[0].of(build_id).ended - (before[-1].of(build_id).ended if before else 0)

    def _bounded(self, what: str, ours: float, low: float, high: float) -> None:
        server = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        outcome: Literal["equal", "bounded"] = "equal" if low == high else "bounded"
        self._row(what, outcome, f"{ours:g}, the server {server}", good=low <= ours <= high)

    def _row(
        self, what: str, outcome: Literal["equal", "bounded"], said: str, *, good: bool
    ) -> None:
        self.rows.append(Row(what, outcome if good else "wrong", said))


def _added_up(scrapes: list[tuple[float, Series]]) -> float:
    """A counter's last value, and those it had before its process began anew."""
    whole, last = 0.0, 0.0
    for _, series in scrapes:
        value = sum(series.get("temporal_workflow_completed_total", {}).values())
        if value < last:
            whole += last
        last = value
    return whole + last


def _by(series: Series, name: str, label: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for labels, value in series.get(name, {}).items():
        key = dict(labels).get(label, "")
        found[key] = found.get(key, 0.0) + value
    return found


def _periods(looks: list[ServerLook]) -> Iterator[list[ServerLook]]:
    """The looks between two changes of the routing, where there are at least two."""
    period: list[ServerLook] = []
    for look in looks:
        if period and look.routing != period[-1].routing:
            if len(period) > 1:
                yield period
            period = []
        period.append(look)
    if len(period) > 1:
        yield period


_PAGE = """# The truth test

Every figure of ours, held against those who know: the server's own counts and routing, and the
kernel's processes. `python -m tests.support.truth` wrote this page; `make test` runs the same, with
a shorter stop (`tests/stack/test_truth.py`).

A whole switchover from v1 to v2 runs under a load of {rate} workflows a second. During the ramp
v1's worker is killed (kill -9); once v2 is current, its worker is stopped (SIGSTOP) for
{stopped_for:g} s, so that every new run waits. Each second the controller's API and the exporter's
metrics are read, and `rollout status --json` every five seconds.

- **equal**: the server said the same in the looks before and after.
- **bounded**: runs began or ended between the two looks, and our figure lies between what was
  possible in between. No slack is added: a figure that was older than it said would lie outside.
- **approximate**: the load hears of a start or an end sooner than visibility, or later. What waits
  the server itself knows approximately; to see nothing where ten tasks or more wait is wrong.
- **late**, or **measured**: how late we said so, or what came of it.
- **wrong**: anything else. *Safe to stop* is wrong where the server counts an open run in both
  looks around it, *complete* where runs that no worker takes up wait in both.

While v1's worker is dead its share of new runs waits without a version, so that v2 has more than
its share of those that have one.

## As the machine was

{quiet}

## With as many more processes as there are cores, each keeping one busy

{busy}
"""


def main() -> int:
    """Run it quiet and busy, and write docs/truth.md; or one of the two, and only print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.truth", description=__doc__)
    parser.add_argument("--quiet", action="store_true", help="only this one; nothing is written")
    parser.add_argument("--busy", action="store_true", help="only this one; nothing is written")
    parser.add_argument("--stopped-for", type=float, default=30, metavar="SECONDS")
    parser.add_argument("--rate", type=int, default=5, metavar="N", help="workflows a second")
    options = parser.parse_args()
    one = options.quiet or options.busy
    printed, failures = {}, []
    for name in ("quiet", "busy"):
        if one and not getattr(options, name):
            continue
        account = hold_against_the_server(
            stopped_for=options.stopped_for, rate=options.rate, busy=name == "busy"
        )
        printed[name] = as_markdown(account)
        failures += account.failures
        print(printed[name], flush=True)  # noqa: T201 - a command
    if not one:
        page = _PAGE.format(rate=options.rate, stopped_for=options.stopped_for, **printed)
        FILE.write_text(page, encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
