"""What the controller tells of its last round to everybody who would otherwise ask the server."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from rollout.base import settings
from rollout.base.server import Server
from rollout.controller.identity import own_identity
from rollout.controller.intent import Intent
from rollout.controller.past import LogTail
from rollout.controller.snapshot import Announcement, Decision, Deed, Snapshot
from rollout.controller.telling import told_by
from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.observation import Observation
from rollout.core.status_document import Source, status_document
from rollout.page.document import Told
from rollout.page.memory import Change, Memory

__all__ = ["Publisher"]


class Publisher:
    """The last round as it is served. Written by the loop, read by the threads that answer."""

    def __init__(self, server: Server, config_file: Path) -> None:
        self._config: RolloutConfig | None = None
        self._text = ""
        self._decided_on: RolloutConfig | None = None
        self._log: LogTail | None = None
        self._memory = Memory()
        self._last = Snapshot(
            pid=os.getpid(),
            identity=own_identity(),
            address=server.address,
            namespace=server.namespace,
            made_at=datetime.now(timezone.utc),
            config_file=str(config_file.resolve()),
        )

    @property
    def observed_at(self) -> datetime | None:
        """When the oldest part of the last look that succeeded was asked for; None before it."""
        seen = self._last.observation
        return seen.oldest if seen else None

    @property
    def machine_problems(self) -> Sequence[str]:
        """What is wrong on this machine, whatever the server says, a sentence each."""
        return self._last.standing

    def intent(self, intent: Intent) -> None:
        """What rollout.toml asks for, as the next round follows it."""
        self._config = intent.config
        if self._log is None:  # the name stays: a controller follows no other
            self._log = LogTail(settings.LOG_DIR, intent.config.deployment.name)
        self._text = intent.text
        self._change(config_problem=intent.problem)

    def round(self, seen: Observation, decided: Plan) -> None:
        """What was seen, and what is to be done about it as the intent is."""
        # Not before: the plan that is served until then was made of what was wanted before.
        self._decided_on = self._config
        target = self._config.deployment.target if self._config else ""
        self._memory.saw(seen, target)
        if self._log:
            self._memory.did(Change(event.at, event.text) for event in self._log.events())
        decision = Decision.of(decided, target)
        self._change(observation=seen, decided=decision, unread=None, config=self._text)

    def changed(self) -> None:
        """Something was done, or may have been: the look before does not show it."""
        self._change(changed_at=datetime.now(timezone.utc))

    def unread(self, why: str) -> None:
        """The look failed: what was seen before stays, and grows old."""
        self._change(unread=why)

    def refusals(self, found: Sequence[str]) -> None:
        """What could not be done in this round."""
        self._change(refusals=tuple(found))

    def standing(self, found: Sequence[str]) -> None:
        """What is wrong on this machine, whatever the server says."""
        self._change(standing=tuple(found))

    def served(self) -> dict[str, Callable[[], object]]:
        """What each path answers with."""
        return {"/api/v1/status": self._deployments, "/api/v1/snapshot": self._snapshot}

    def announce(self, deployment: str, url: str, page: str = "") -> Callable[[], None]:
        """Leave word where this controller and its page are; how to take that back."""
        here = self._last
        return Announcement(url, here.pid, here.address, here.namespace, page).leave(deployment)

    def told(self, deployment: str) -> Told:
        """What the page shows, of the deployment that is followed under this name."""
        last = self._last
        config = (None if last.unread else self._decided_on) or self._config
        return Told(
            deployment=deployment,
            config=config,
            seen=last.observation,
            decided=last.decided.plan() if last.decided else None,
            unread=last.unread,
            address=last.address,
            warnings=told_by(last, config) if config else (),
            memory=self._memory,
        )

    def _change(self, **changes: Any) -> None:  # noqa: ANN401 - fields of each type
        # One assignment: a thread that answers has the round before or this one, whole.
        self._last = msgspec.structs.replace(self._last, **changes)

    def _snapshot(self) -> Snapshot:
        events = self._log.events() if self._log else ()
        deeds = tuple(Deed(event.at, event.text) for event in events)
        return msgspec.structs.replace(self._last, made_at=datetime.now(timezone.utc), deeds=deeds)

    def _deployments(self) -> dict[str, Any]:
        document = self.status()
        return {"deployments": [document] if document else []}

    def status(self) -> dict[str, Any] | None:
        """The document of ``rollout status --json``; None before a first look has succeeded."""
        last = self._last
        config = self._config if last.unread else self._decided_on
        if config is None or last.observation is None or last.decided is None:
            return None
        source = Source("controller", last.address, told_by(last, config))
        now = datetime.now(timezone.utc)
        return status_document(config, last.observation, last.decided.plan(), now, source)
