"""What we say: the controller's API, the exporter's metrics, `rollout status --json`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import httpx

from tests.support.scrape import Series, scrape
from tests.support.stack_clone import StackClone
from tests.support.truth_rules import Claims
from tests.support.truth_server import BUILDS

__all__ = ["Ours"]

_PREFIX = "temporal_worker_deployment_"
_OF_A_VERSION = {
    "open_runs": "version_open_workflows",
    "target_share": "version_target_ratio",
    "safe_to_stop": "version_safe_to_stop",
    "waiting_tasks": "version_waiting_tasks",
    "workers": "version_workers",
    "real_share": "version_real_ratio",
}


class Ours:
    """Reads what we say of a stack, and keeps it."""

    def __init__(self, stack: StackClone) -> None:
        self._stack = stack
        self.claims: list[Claims] = []
        self.documents: list[tuple[float, dict[str, Any]]] = []
        """Each status that was read, from the API or the command, and when it was heard."""
        self.counters: dict[str, list[tuple[float, Series]]] = {}
        """By program, what its metrics were, and when they were heard."""
        self.not_answered = 0

    async def keep_reading(self) -> None:
        """Read everything again and again, until cancelled."""
        await asyncio.gather(
            self._every(1.0, self._api),
            self._every(1.0, self._exporter),
            self._every(5.0, self._status),
            self._every(1.0, self._load),
            *(self._every(1.0, self._worker, name) for name in BUILDS),
        )

    def last(self, what: str, of: str = "", source: str | None = None) -> Any:
        """What was last claimed; None where nothing was."""
        for each in reversed(self.claims):
            if (what, of) in each.values and source in (None, each.source):
                return each.values[what, of]
        return None

    def words(self) -> str:
        """What was last said for a person, and what spoke against stopping v1."""
        if not self.documents:
            return "nothing"
        heard, said = self.documents[-1]
        against = [
            point["detail"]
            for version in said["versions"]
            for point in version["evidence"]
            if version["build_id"] == "v1" and not point["ok"]
        ]
        ago = f"{time.time() - heard:.0f} s ago"
        return f"{ago}: {said['phase']}, {said['reason']}, {said['warnings']}, v1: {against}"

    async def _every(
        self, seconds: float, read: Callable[..., Awaitable[None]], *words: str
    ) -> None:
        while True:
            began = time.monotonic()
            try:
                await read(*words)
            except (OSError, LookupError, ValueError, AssertionError):
                self.not_answered += 1  # it is not up yet, or was killed
            await asyncio.sleep(max(0.1, seconds - (time.monotonic() - began)))

    async def _api(self) -> None:
        port = self._stack.ports["ROLLOUT_METRICS_PORT"]
        asked = time.time()
        text = await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/api/v1/status")
        for document in json.loads(text)["deployments"]:
            self._heard("api", document, asked)

    async def _status(self) -> None:
        asked = time.time()
        process = await asyncio.create_subprocess_exec(
            str(self._stack.root / ".venv/bin/python"), "-m", "rollout", "status", "--json",
            cwd=self._stack.root, env=self._stack.environ,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            output, _ = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:
                process.kill()
        self._heard("status", json.loads(output), asked)

    def _heard(self, source: str, document: dict[str, Any], asked: float) -> None:
        heard = time.time()
        since = asked
        if observed := document.get("observed_at"):
            since = datetime.fromisoformat(observed.replace("Z", "+00:00")).timestamp()
        ramping = document["ramping"] or {"build_id": "", "percentage": 0.0}
        routing = (document["current"] or "", ramping["build_id"], round(ramping["percentage"], 3))
        values: dict[tuple[str, str], Any] = {
            ("routing", ""): routing,
            ("complete", ""): True if document["phase"] == "complete" else None,
            ("unassigned_runs", ""): document.get("unassigned_runs"),
        }
        if "unassigned_runs" not in document:  # it does not claim to see what waits
            del values["complete", ""]
        for version in document["versions"]:
            for what in _OF_A_VERSION:
                values[what, version["build_id"]] = version.get(what)
        self.claims.append(Claims(source, since, heard, values))
        self.documents.append((heard, document))

    async def _exporter(self) -> None:
        series = await asyncio.to_thread(scrape, self._stack.ports["EXPORTER_PORT"])
        heard = time.time()
        self.counters.setdefault("exporter", []).append((heard, series))
        (since,) = series[f"{_PREFIX}last_observation_time_seconds"].values()
        values: dict[tuple[str, str], Any] = {}
        for what, name in _OF_A_VERSION.items():
            for labels, value in series.get(_PREFIX + name, {}).items():
                values[what, dict(labels)["build_id"]] = value
        for value in series.get(f"{_PREFIX}unassigned_runs", {}).values():
            values["unassigned_runs", ""] = value
        changes = series.get(f"{_PREFIX}routing_change_time_seconds", {})
        for labels, value in changes.items():
            values[f"{dict(labels)['kind']}_changed", ""] = value
        self.claims.append(Claims("exporter", since, heard, values))

    async def _load(self) -> None:
        asked = time.time()
        series = await asyncio.to_thread(scrape, self._stack.ports["LOAD_METRICS_PORT"])
        started = sum(series["client_workflows_started_total"].values())
        values: dict[tuple[str, str], Any] = {("started", ""): started}
        for labels, value in series.get("client_workflows_finished_total", {}).items():
            key = ("completed", dict(labels)["build_id"])
            values[key] = values.get(key, 0) + value
        self.claims.append(Claims("load", asked, time.time(), values))

    async def _worker(self, build_id: str) -> None:
        port = self._stack.ports[f"WORKER_{build_id.upper()}_METRICS_PORT"]
        series = await asyncio.to_thread(scrape, port)
        self.counters.setdefault(build_id, []).append((time.time(), series))


def _get(url: str) -> str:
    try:
        return httpx.get(url, timeout=5).raise_for_status().text
    except httpx.HTTPError as error:  # not up yet
        raise OSError(str(error)) from error
