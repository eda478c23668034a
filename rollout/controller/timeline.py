"""Everything that is known to have happened to a deployment, from all who tell it, as events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from rollout.base.exit import Failure
from rollout.base.log_files import COMMANDS_LOG, LogFile
from rollout.base.log_records import Record
from rollout.controller.past import Event, deeds
from rollout.controller.server_times import events_of
from rollout.core.observation import Observation
from rollout.supervision.process_events import ProcessEvent, process_event
from rollout.supervision.process_log import ProcessLog, read_process_log
from rollout.supervision.rpc import Supervisor

__all__ = ["Timeline"]

_CONTROLLER, _SUPERVISORD = "rollout", "supervisord"


class Timeline:
    """The events of one deployment: those that are known now, and on as they come."""

    def __init__(self, folder: Path, deployment: str, supervisor: Supervisor | None) -> None:
        """``folder`` has the logs; where ``supervisor`` keeps its own elsewhere, it is asked."""
        self._deployment = deployment
        self._supervisor = supervisor
        self._deeds = LogFile(folder, _CONTROLLER)
        self._commands = LogFile(folder, COMMANDS_LOG)
        has_log = (folder / f"{_SUPERVISORD}.log").exists()
        self._processes = LogFile(folder, _SUPERVISORD) if has_log else None
        self._log = ProcessLog((), {}, frozenset())
        self._told: set[Event] = set()
        self.problem: str | None = None
        """Why nobody tells of processes; None: supervisord does, or its log is here."""

    async def past(self, seen: Observation | None) -> list[Event]:
        """Everything so far, oldest first; with the times that the server keeps, where ``seen``."""
        await self._ask_supervisord()
        records = self._processes.history() if self._processes else ()
        # Rotated logs may be long, and whoever asks may have a rollout under way.
        done, given = self._deeds.history(), self._commands.history()
        return await asyncio.to_thread(self._new, seen, done, given, _events(records))

    async def news(self, seen: Observation | None) -> list[Event]:
        """What has come since."""
        if self._processes is None:
            await self._ask_supervisord()
        records = self._processes.news() if self._processes else ()
        return self._new(seen, self._deeds.news(), self._commands.news(), _events(records))

    def _new(
        self,
        seen: Observation | None,
        done: Iterable[Record],
        given: Iterable[Record],
        processes: Iterable[ProcessEvent],
    ) -> list[Event]:
        own = () if self._processes else self._log.events
        found = [
            *(events_of(seen, ()) if seen else ()),
            *deeds(done, self._deployment, seen=True),
            *self._given(given),
            *self._of_processes([*processes, *own]),
        ]
        new = [event for event in dict.fromkeys(found) if event not in self._told]
        self._told.update(new)
        return sorted(new, key=lambda event: event.at)

    async def _ask_supervisord(self) -> None:
        """Whose processes there are, and what its log tells where it is not in the folder."""
        if self._supervisor is None:
            return
        try:
            self._log = await read_process_log(self._supervisor, self._deployment)
            self.problem = None
        except Failure as failure:
            self.problem = None if self._processes else str(failure)

    def _of_processes(self, found: Iterable[ProcessEvent]) -> Iterator[Event]:
        for event in found:
            if event.process not in self._log.others:
                build_id = self._log.builds.get(event.process)
                name = f"process.{event.kind}"
                yield Event(event.at, event.text, build_id, name, "supervisord")

    def _given(self, found: Iterable[Record]) -> Iterator[Event]:
        for record in found:
            fields = record.fields
            if fields.get("deployment_name") not in (None, self._deployment):
                continue
            who, code = str(fields.get("who", "")), fields.get("exit_code")
            text = f"{who}: rollout {fields.get('command')}"
            text += "" if code == 0 else f" (exit code {code}: {fields.get('error', 'failed')})"
            at = datetime.fromtimestamp(record.time, tz=timezone.utc)
            name = str(fields.get("event_name", ""))
            yield Event(at, text, None, name, "person", who=who)


def _events(records: Iterable[Record]) -> Iterator[ProcessEvent]:
    for record in records:
        if event := process_event(record):
            yield event
