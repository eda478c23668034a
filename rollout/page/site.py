"""The page's paths, their answers and their headers. It only reads, and nothing from outside."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import parse_qs

import msgspec

from rollout.base.settings import prometheus_url
from rollout.core.observation import Measurements
from rollout.page.answers import old_build
from rollout.page.document import Told, document, overview
from rollout.page.past import SPANS, Curve, ask_prometheus, past
from rollout.page.refreshed import Refreshed
from rollout.prometheus.measure import measure

__all__ = ["POLICY", "Reply", "Site"]

_FILES = Path(__file__).parent / "files"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""What the page may do, as Content-Security-Policy: run and load its own files, and nothing else.
Text of a deployment that looks like HTML can become none (trusted types)."""

_AGAIN = 8.0
"""Seconds; what Prometheus said is shown for so long before it is asked again."""


@dataclass(frozen=True)
class Reply:
    """What a path has."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, content: object) -> Reply:
        """``content`` as it is at this moment."""
        body = msgspec.json.encode(content) + b"\n"
        return cls(body, "application/json; charset=utf-8", {"Cache-Control": "no-store"})


class Site:
    """The page of the deployments that ``each`` tells of, asked anew for each request."""

    def __init__(self, each: Callable[[], Sequence[Told]]) -> None:
        self._each = each
        self._files = dict(_read_files())
        self._curves = Refreshed[Mapping[str, Curve]](_AGAIN)
        self._compared = Refreshed[Measurements](_AGAIN)

    @property
    def paths(self) -> Sequence[str]:
        """Those that a person may ask for."""
        return ("/", "/api/v1/page", "/api/v1/past")

    def answer(self, path: str, query: str) -> Reply | None:
        """What ``path`` has; None where it is not one of the page's."""
        if path in self._files:
            return self._files[path]
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        if path == "/api/v1/page":
            return Reply.json(self._page(asked.get("deployment")))
        if path == "/api/v1/past":
            return Reply.json(self._past(asked.get("deployment"), asked.get("span", "15m")))
        return None

    def _page(self, deployment: str | None) -> object:
        """The deployment that is asked for; None where it is none of ours."""
        each = self._each()
        told = _named(each, deployment)
        now = datetime.now(timezone.utc)
        shown = document(told, now, self._comparison(told)) if told else None
        return {"now": now.isoformat(), "deployments": overview(each), "shown": shown}

    def _past(self, deployment: str | None, span: str) -> object:
        told = _named(self._each(), deployment)
        length = SPANS.get(span)
        if told is None or length is None:
            return None
        name, now = told.deployment, datetime.now(timezone.utc)
        measured = self._curves.get(
            (name, span), lambda: ask_prometheus(prometheus_url(), name, length, now)
        )
        return {"pending": measured is None, **past(told.memory, length, now, measured or {})}

    def _comparison(self, told: Told) -> Measurements | None:
        """Old against new by the judge's own questions, once nothing ramps any more."""
        config, seen = told.config, told.seen
        if config is None or seen is None or config.analysis is None or seen.ramping:
            return None
        target, analysis = config.deployment.target, config.analysis
        old, changed = old_build(seen, target), seen.current_changed_at
        if old is None or not old.workers or seen.current != target or changed is None:
            return None
        if analysis.source != "prometheus":
            return None
        since = (datetime.now(timezone.utc) - changed).total_seconds()
        return self._compared.get(
            (told.deployment, target, old.build_id),
            lambda: asyncio.run(
                measure(
                    prometheus_url(), told.deployment, target, old.build_id, analysis, since=since
                )
            ),
        )


def _named(each: Sequence[Told], deployment: str | None) -> Told | None:
    """The one called ``deployment``; the first where none is named."""
    if deployment is None:
        return next(iter(each), None)
    return next((told for told in each if told.deployment == deployment), None)


def _read_files() -> list[tuple[str, Reply]]:
    found = []
    for file in sorted(_FILES.iterdir()):
        if file.suffix not in _TYPES:
            continue
        body = file.read_bytes()
        # A browser that has it asks whether it is still the same: after an upgrade it is not.
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        path = "/" if file.name == "index.html" else f"/{file.name}"
        headers = {"Cache-Control": "no-cache", "ETag": tag}
        found.append((path, Reply(body, _TYPES[file.suffix], headers)))
    return found
