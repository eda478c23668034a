"""How a rollout is told of that somebody waits for: on a terminal, line by line, or as JSON."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol

from rich.console import Console
from rich.status import Status

from rollout.core.outcome import Told
from rollout.core.shares import real_share, target_share

__all__ = ["Progress", "State", "progress"]

_ALIVE = 30.0
"""Seconds after which a line is written although nothing has changed, so that a log goes on."""


@dataclass(frozen=True)
class State:
    """Where the rollout stands, as it is told."""

    fields: dict[str, Any]
    """What JSON has, but for ``time``, ``outcome`` and ``exit_code``."""
    news: object = field(compare=False)
    """Equal for two states of which the second is not worth telling after the first."""

    @classmethod
    def of(cls, build_id: str, told: Told, news: object, refusals: tuple[str, ...]) -> State:
        """What a controller told of the way of ``build_id``."""
        seen = told.seen
        ramping = seen.ramping
        real = real_share(seen, build_id)
        share = round(target_share(seen, build_id), 4)
        return cls(
            {
                "deployment": seen.deployment,
                "target": build_id,
                "phase": told.phase,
                "reason": told.reason,
                "current": seen.current,
                "ramping": ramping
                and {"build_id": ramping.build_id, "percentage": ramping.percentage},
                "share": share,
                "real_share": None if real is None else round(real, 4),
                "observed_at": seen.oldest.isoformat(),
                "refusals": list(refusals),
            },
            (news, share, refusals),
        )

    @classmethod
    def unknown(cls, deployment: str, build_id: str, why: str) -> State:
        """Nobody told anything, for the reason ``why``."""
        nothing = dict.fromkeys(("current", "ramping", "share", "real_share", "observed_at"))
        fields = {"deployment": deployment, "target": build_id, "phase": "unknown", "reason": why}
        return cls({**fields, **nothing, "refusals": []}, ("unknown", why.partition(" (")[0]))

    @property
    def sentence(self) -> str:
        """The state for a person."""
        share = self.fields["share"]
        part = "" if share is None else f" [{share:.0%}]"
        said = f"{self.fields['phase']}{part}: {self.fields['reason']}"
        return "; ".join([said, *self.fields["refusals"]])


class _Sink(Protocol):
    """Where it is told."""

    def now(self, state: State, *, is_news: bool) -> None:
        """This is so now."""

    def end(self, state: State | None, outcome: str, code: int, reason: str) -> None:
        """It has ended."""

    def close(self) -> None:
        """Nothing more follows."""


class Progress:
    """Tells each state that is news, and one each `_ALIVE` seconds beside."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self._news: object = None
        self._told_at = float("-inf")
        self._last: State | None = None

    def tell(self, state: State) -> None:
        """Where it stands now."""
        self._last = state
        now = time.monotonic()
        is_news = state.news != self._news or now - self._told_at >= _ALIVE
        if is_news:
            self._news, self._told_at = state.news, now
        self._sink.now(state, is_news=is_news)

    def end(self, outcome: str, code: int, reason: str) -> None:
        """How it has ended and why, and the exit code that goes with it."""
        self._sink.end(self._last, outcome, code, reason)

    def close(self) -> None:
        """Nothing more follows."""
        self._sink.close()


def progress(build_id: str, *, as_json: bool) -> Progress:
    """JSON lines on stdout; else a terminal gets one line that lives, and a log one a change."""
    if as_json:
        return Progress(_JsonLines())
    console = Console(stderr=False, highlight=False, markup=False)
    return Progress(_Live(console, build_id) if console.is_terminal else _Lines())


class _JsonLines:
    """One object a line."""

    def now(self, state: State, *, is_news: bool) -> None:
        if is_news:
            self._write(state.fields, None, None)

    def end(self, state: State | None, outcome: str, code: int, reason: str) -> None:
        fields = state.fields if state else State.unknown("", "", "nothing was seen").fields
        self._write({**fields, "reason": reason}, outcome, code)

    def close(self) -> None:
        pass

    def _write(self, fields: dict[str, Any], outcome: str | None, code: int | None) -> None:
        line = {"time": _now().isoformat(), **fields, "outcome": outcome, "exit_code": code}
        print(json.dumps(line), flush=True)


class _Lines:
    """A line a change, with the time: for the log of a pipeline."""

    def now(self, state: State, *, is_news: bool) -> None:
        if is_news:
            print(f"{_now():%H:%M:%S} {state.sentence}", flush=True)

    def end(self, state: State | None, outcome: str, code: int, reason: str) -> None:
        if code == 0 and state is not None:
            print(f"{state.fields['target']} is {outcome}", flush=True)

    def close(self) -> None:
        pass


class _Live(_Lines):
    """The state in place, and above it what is over."""

    def __init__(self, console: Console, build_id: str) -> None:
        self._console = console
        self._status: Status = console.status(f"waiting for {build_id}")
        self._status.start()
        self._news = ""

    def now(self, state: State, *, is_news: bool) -> None:
        if is_news:
            self._console.print(f"{_now().astimezone():%H:%M:%S} {state.sentence}", soft_wrap=True)
        self._status.update(_plain(state.sentence))

    def end(self, state: State | None, outcome: str, code: int, reason: str) -> None:
        self.close()
        super().end(state, outcome, code, reason)

    def close(self) -> None:
        self._status.stop()
        sys.stdout.flush()


def _plain(text: str) -> str:
    """``text`` where rich reads markup."""
    return text.replace("[", r"\[")


def _now() -> datetime:
    return datetime.now(timezone.utc)
