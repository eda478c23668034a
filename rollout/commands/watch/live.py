"""``rollout watch``: a live view of the rollout in a terminal, or a line for each change elsewhere.

It only reads. What it cannot read, it says in the picture, and goes on trying.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import signal
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from rollout.base.exit import Failure, Misuse
from rollout.base.server import asked_server
from rollout.base.settings import LOG_DIR, prometheus_url
from rollout.commands.looking import from_controller, live_page, plan_of
from rollout.commands.watch.bars import glyphs_for
from rollout.commands.watch.picture import as_line, render
from rollout.commands.watch.view import Context, Trends, View, view_of
from rollout.commands.world import is_elsewhere
from rollout.controller.identity import own_identity
from rollout.controller.intent import Intent
from rollout.controller.past import Event, LogTail
from rollout.controller.snapshot import Snapshot, Unanswered
from rollout.controller.telling import told_by
from rollout.core.actions import Plan
from rollout.core.changes import what_changed
from rollout.core.observation import Observation
from rollout.core.plan import plan
from rollout.prometheus.client import Prometheus, prometheus_at
from rollout.prometheus.traffic import Traffic, read_traffic
from rollout.supervision.process_log import read_process_log
from rollout.supervision.rpc import Supervisor

if TYPE_CHECKING:
    from rollout.commands.watch.alone import Alone

__all__ = ["Lines", "show", "watch"]

_EVENTS_KEPT = 50
_TOLD = "told: "
"""Before the notes that the controller's own warnings are kept under."""
_PROMETHEUS_TIMEOUT = 2.0
_PROCESSES_EVERY = 5.0
"""Seconds between two looks at supervisord's log."""


def watch(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout watch``."""
    parser.add_argument(
        "--json", action="store_true", help="for scripts: an object a line, one for each change"
    )
    parser.set_defaults(run=_watch)


async def _watch(arguments: argparse.Namespace) -> int:
    return await show(arguments.config, Console(highlight=False), as_json=arguments.json)


async def show(
    config_path: Path,
    console: Console,
    *,
    interval: float = 1.0,
    workflow_type: str | None = None,
    as_json: bool = False,
) -> int:
    """Show the rollout on ``console`` every ``interval`` seconds until Ctrl-C or SIGTERM; 0 then.

    With ``as_json`` each change is an object on a line, with ``at`` and ``text``. The real shares
    are of ``workflow_type``, by default the one that completes most often.
    Raises `Misuse` where the configuration is wrong at the start; broken later, the last
    good one stays in force.
    """
    if isinstance(console.file, io.TextIOWrapper):
        # A terminal that cannot show a character gets another, and not a traceback.
        console.file.reconfigure(errors="replace")
    watcher = _Watcher(config_path, workflow_type)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    reading = asyncio.create_task(watcher.read_on(interval))
    try:
        if console.is_terminal and not console.is_dumb_terminal and not as_json:
            await _draw(watcher, console, interval, ended, reading)
        else:
            say = _json_line if as_json else _line_on(console)
            await _tell(watcher, say, interval, ended, reading)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return 0


async def _draw(
    watcher: _Watcher,
    console: Console,
    interval: float,
    ended: asyncio.Event,
    reading: asyncio.Task[None],
) -> None:
    """The live picture; it is drawn also while a reading hangs, so that countdowns go on."""
    glyphs = glyphs_for(console.encoding)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            page = watcher.page()
            height = console.height - (1 if page else 0)
            picture = render(watcher.view(), console.width, height, glyphs)
            live.update(Group(picture, Text(page, "dim")) if page else picture, refresh=True)
            if await _over(ended, reading, min(interval, 1.0)):
                return


async def _tell(
    watcher: _Watcher,
    say: Callable[[datetime, str], None],
    interval: float,
    ended: asyncio.Event,
    reading: asyncio.Task[None],
) -> None:
    """One line a change: of the versions at first, then of what happens."""
    told = Lines()
    if page := watcher.page():
        say(datetime.now(timezone.utc), page)
    while True:
        view = watcher.view()
        for at, text in told.news(view):
            say(at, text)
        if await _over(ended, reading, interval):
            return


def _line_on(console: Console) -> Callable[[datetime, str], None]:
    def say(at: datetime, text: str) -> None:
        console.print(f"{at:%H:%M:%S} {text}", soft_wrap=True, markup=False, highlight=False)

    return say


def _json_line(at: datetime, text: str) -> None:
    print(json.dumps({"at": at.isoformat(), "text": text}), flush=True)


async def _over(ended: asyncio.Event, reading: asyncio.Task[None], seconds: float) -> bool:
    """Whether it is to end, asked for ``seconds``; raises what the reading has died of."""
    if reading.done():
        reading.result()
    with suppress(asyncio.TimeoutError, TimeoutError):
        await asyncio.wait_for(ended.wait(), seconds)
    return ended.is_set()


class Lines:
    """What the plain lines have said already."""

    def __init__(self) -> None:
        self._versions = False
        self._said: set[Event] | None = None
        self._plan: Hashable = None
        self._notes: tuple[str, ...] = ()

    def news(self, view: View) -> list[tuple[datetime, str]]:
        """What is new in ``view``, each with its time."""
        lines = [(view.at, f"! {note}") for note in view.notes if note not in self._notes]
        self._notes = view.notes
        if view.phase and not self._versions:
            head = f"{view.deployment}, namespace {view.namespace}, target {view.target}"
            lines += [(view.at, text) for text in (head, *map(as_line, view.rows))]
            self._versions = True
        if self._said is None:  # what the controller did before is history
            self._said = set(view.events)
        lines += [(event.at, event.text) for event in view.events if event not in self._said]
        self._said.update(view.events)
        if view.phase and view.news != self._plan:
            lines.append((view.at, f"{view.phase}: {view.reason}"))
            self._plan = view.news
        return lines


class _Watcher:
    """What has been read so far, and the reading of more."""

    def __init__(self, config_path: Path, workflow_type: str | None) -> None:
        self._type = workflow_type
        self._intent = Intent(config_path, renamed="start `rollout watch` anew")
        self._alone: Alone | None = None
        self._seen: Observation | None = None
        self._snapshot: Snapshot | None = None
        self._traffic = Traffic()
        self._trends = Trends()
        self._events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._log = LogTail(LOG_DIR, self._intent.config.deployment.name)
        self._notes: dict[str, str] = {}
        self._restarts: Mapping[str, int] = {}
        self._processes_at = 0.0

    def page(self) -> str:
        """Where the same is to be seen in a browser; empty where no controller serves it."""
        page = live_page(self._intent.config.deployment.name)
        return f"live page: {page}" if page else ""

    def view(self) -> View:
        """The picture as of now."""
        now = datetime.now(timezone.utc)
        events = sorted([*self._log.events(), *self._events], key=lambda event: event.at)
        notes = tuple(self._notes.values())
        context = Context(self._traffic, self._trends, events, notes, self._restarts)
        return view_of(self._intent.config, self._seen, self._plan(now), now, context)

    def _plan(self, now: datetime) -> Plan | None:
        if self._seen is None:
            return None
        if self._snapshot is not None:
            return plan_of(self._snapshot, self._intent.config, self._seen)
        return plan(self._intent.config, self._seen, now, own_identity())

    async def read_on(self, interval: float) -> None:
        """Read everything every ``interval`` seconds, until cancelled."""
        async with prometheus_at(prometheus_url(), timeout=_PROMETHEUS_TIMEOUT) as prometheus:
            while True:
                self._refresh_intent()
                await asyncio.gather(
                    self._observe(), self._measure(prometheus), self._count_restarts()
                )
                await asyncio.sleep(interval)

    def _refresh_intent(self) -> None:
        self._intent.refresh()
        self._notes.pop("config", None)
        if self._intent.problem:
            self._notes["config"] = f"not followed until it is mended: {self._intent.problem}"
        for key in [key for key in self._notes if key.startswith(_TOLD)]:
            del self._notes[key]
        if self._snapshot is not None:
            told = told_by(self._snapshot, self._intent.config)
            # Why the newest look failed is said by whoever looks next, and a broken file above.
            self._notes |= {f"{_TOLD}{text}": text for text in told if not self._intent.problem}

    async def _observe(self) -> None:
        name = self._intent.config.deployment.name
        try:
            self._snapshot, seen = await from_controller(name, asked_server())
            self._notes.pop("source", None)
        except Unanswered as none:
            self._snapshot = None
            self._notes["source"] = f"read from the server by this command: {none}"
            await self._observe_alone()
            return
        self._take(seen)

    async def _observe_alone(self) -> None:
        if self._alone is None:
            # What it takes to ask the server is imported only where it is asked.
            from rollout.commands.watch.alone import Alone  # noqa: PLC0415

            self._alone = Alone(self._intent.config.deployment.name)
        try:
            seen = await self._alone.observe(self._intent.config)
        except Misuse:
            raise
        except Failure as failure:
            self._away(str(failure))
            return
        if seen is not None:
            self._take(seen)

    def _take(self, seen: Observation) -> None:
        if self._notes.pop("temporal", None):
            self._events.append(Event(seen.at, "Temporal answers again"))
        if self._seen is not None:
            told = what_changed(self._seen, seen, self._intent.config.deployment.target)
            self._events += [Event(seen.at, text) for text in told]
        if self._seen is None or self._seen.at != seen.at:
            self._trends.add(seen)
        self._seen = seen

    def _away(self, reason: str) -> None:
        since = f"; this is of {self._seen.at:%H:%M:%S} UTC" if self._seen else ""
        self._notes["temporal"] = f"{reason}{since}"

    async def _measure(self, prometheus: Prometheus) -> None:
        name = self._intent.config.deployment.name
        self._traffic = await read_traffic(prometheus, name, self._type)

    @cached_property
    def _supervisor(self) -> Supervisor:
        """One for all looks: it reads the programs' files again only where they have changed."""
        return Supervisor()

    async def _count_restarts(self) -> None:
        if is_elsewhere() or time.monotonic() < self._processes_at:
            return
        self._processes_at = time.monotonic() + _PROCESSES_EVERY
        try:
            log = await read_process_log(self._supervisor, self._intent.config.deployment.name)
        except Failure:  # that it does not answer, the look says
            self._restarts = {}
        else:
            self._restarts = log.restarts()
