"""How a rollout is told of that somebody waits for: on a terminal, line by line, or as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape

from rollout.commands import answers
from rollout.core.outcome import Told
from rollout.core.shares import real_share, target_share

__all__ = ["Progress", "State", "progress"]

_ALIVE = 30.0
"""Seconds after which a line is written although nothing has changed, so that a log goes on."""


@dataclass(frozen=True)
class State:
    """Where the rollout stands, as it is told."""

    fields: dict[str, Any]
    """What JSON has of it."""
    news: Hashable = field(compare=False)
    """Equal for two states of which the second is not worth telling after the first."""

    @classmethod
    def of(cls, build_id: str, told: Told, news: Hashable, refusals: tuple[str, ...]) -> State:
        """What a controller told of the way of ``build_id``."""
        seen = told.seen
        ramping = seen.ramping
        real = real_share(seen, build_id)
        share = round(target_share(seen, build_id), 4)
        fields = {
            "deployment": seen.deployment,
            "target": build_id,
            "phase": told.phase,
            "reason": told.reason,
            "current": seen.current,
            "ramping": ramping and {"build_id": ramping.build_id, "percentage": ramping.percentage},
            "target_share": share,
            "real_share": None if real is None else round(real, 4),
            "observed_at": seen.oldest.isoformat(),
            "refusals": list(refusals),
        }
        return cls(fields, (news, share, refusals))

    @classmethod
    def unknown(cls, deployment: str, build_id: str, why: str) -> State:
        """Nobody told anything, for the reason ``why``."""
        nothing = ("current", "ramping", "target_share", "real_share", "observed_at")
        fields = {"deployment": deployment, "target": build_id, "phase": "unknown", "reason": why}
        news = ("unknown", why.partition(" (")[0])
        return cls({**fields, **dict.fromkeys(nothing), "refusals": []}, news)

    @property
    def sentence(self) -> str:
        """The state for a person."""
        share = self.fields["target_share"]
        part = "" if share is None else f" [{share:.0%}]"
        said = f"{self.fields['phase']}{part}: {self.fields['reason']}"
        return "; ".join([said, *self.fields["refusals"]])


class _Sink(Protocol):
    """Where it is told."""

    def now(self, state: State, *, is_news: bool) -> None:
        """It stands so now."""

    def close(self) -> None:
        """Nothing more follows."""


class Progress:
    """Tells each state that is news, and one each `_ALIVE` seconds beside."""

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self._news: Hashable = None
        self._told_at = float("-inf")

    def tell(self, state: State) -> None:
        """Where it stands now."""
        now = time.monotonic()
        is_news = state.news != self._news or now - self._told_at >= _ALIVE
        if is_news:
            self._news, self._told_at = state.news, now
        self._sink.now(state, is_news=is_news)

    def close(self) -> None:
        """Nothing more follows."""
        self._sink.close()


def progress(build_id: str) -> Progress:
    """JSON for a script; else a terminal gets one line that lives, and a log one a change."""
    if answers.is_json():
        return Progress(_JsonLines())
    console = Console(highlight=False)
    return Progress(_Live(console, build_id) if console.is_terminal else _Lines())


class _JsonLines:
    """One object a line; the answer repeats the last."""

    def now(self, state: State, *, is_news: bool) -> None:
        answers.note(**state.fields)
        if is_news:
            answers.line(**state.fields, outcome=None)

    def close(self) -> None:
        pass


class _Lines:
    """A line a change, with the time: for the log of a pipeline."""

    def now(self, state: State, *, is_news: bool) -> None:
        if is_news:
            print(f"{_now():%H:%M:%S} {state.sentence}", flush=True)

    def close(self) -> None:
        pass


class _Live:
    """The state in place, and above it what is over."""

    def __init__(self, console: Console, build_id: str) -> None:
        self._console = console
        self._status = console.status(f"waiting for {escape(build_id)}")
        self._status.start()

    def now(self, state: State, *, is_news: bool) -> None:
        sentence = escape(state.sentence)
        if is_news:
            self._console.print(f"{_now():%H:%M:%S} {sentence}", soft_wrap=True)
        self._status.update(sentence)

    def close(self) -> None:
        self._status.stop()
        sys.stdout.flush()


def _now() -> datetime:
    return datetime.now(timezone.utc).astimezone()
