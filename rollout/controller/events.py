"""What the controller logs: the names and fields of its records, written and read here alone.

The controller calls the functions that begin with ``log_``; `history` and `watch` read the same
records back as sentences.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollout.base.log_records import Record
from rollout.base.logger import get_logger
from rollout.core.actions import Action, Plan
from rollout.core.changes import Change
from rollout.core.event_names import done_name
from rollout.core.observation import Observation
from rollout.core.unlearned import COULD_NOT_LEARN
from rollout.core.work import work_of

__all__ = [
    "log_action_crashed",
    "log_done",
    "log_intent_broken",
    "log_intent_changed",
    "log_news_failed",
    "log_notification_failed",
    "log_notification_lost",
    "log_notified",
    "log_plan",
    "log_refused",
    "log_report_failed",
    "log_reported",
    "log_rolling_back",
    "log_round_failed",
    "log_seen",
    "log_unreadable",
    "log_verified",
    "sentence",
]

log = get_logger(__name__)

_DONE = "done"
_REFUSED = "refused"
_UNKNOWN = "outcome unknown"
"""Of a change whose call ended without an answer: neither done nor refused."""
_VERIFIED = "verified"
_PLAN = "plan"
_INTENT_CHANGED = "rollout.toml has changed"
_INTENT_BROKEN = "rollout.toml is not followed until it is mended"
_SEEN = "seen"
_ROLLING_BACK = "rolling back"
_REPORTED = "reported"

_OF_AN_ACTION = ("build_id", "percentage", "source", "target", "task_queue", "attempt", "reason")

_BLOCKED, _WAITING = "blocked", "waiting"
"""The phases that tell why nothing was done; in the others the actions themselves tell."""


def log_plan(decided: Plan, seen: Observation | None = None) -> None:
    """A plan that says something new; with what analysis has counted of what was ``seen``."""
    log.info(
        _PLAN,
        event_name="plan.changed",
        phase=decided.phase,
        reason=decided.reason,
        **_counted(seen),
    )


def log_done(action: Action) -> None:
    """An action has been carried out."""
    log.info(_DONE, event_name=done_name(action), action=str(action), **_fields(action))


def log_refused(reason: str) -> None:
    """An action was not carried out, or nobody knows whether it was; ``reason`` names it."""
    if reason.startswith(COULD_NOT_LEARN):
        log.warning(_UNKNOWN, event_name="action.outcome-unknown", reason=reason)
    else:
        log.warning(_REFUSED, event_name="action.refused", reason=reason)


def log_action_crashed(action: Action, error: Exception) -> None:
    """An action has failed in a way that nobody expected: the traceback is told, too."""
    log.error("an action failed", event_name="action.crashed", action=str(action), exc_info=error)


def log_rolling_back(build_id: str, reason: str) -> None:
    """A build gets blocked."""
    log.error(_ROLLING_BACK, event_name="rollback.begun", build_id=build_id, reason=reason)


def log_verified(build_id: str, source: str, outcome: str) -> None:
    """Runs of ``source`` were replayed on ``build_id``; ``outcome`` is ``passed`` or what broke."""
    log.info(
        _VERIFIED,
        event_name="replay.finished",
        build_id=build_id,
        source=source,
        outcome=outcome,
    )


def log_seen(change: Change) -> None:
    """Something was seen to have happened, whoever did it."""
    named = {} if change.build_id is None else {"build_id": change.build_id}
    named |= {"who": change.who} if change.who else {}
    log.info(_SEEN, event_name=change.name, text=change.text, **named)


def log_intent_changed(changes: str) -> None:
    """rollout.toml asks for something else; ``changes`` names the keys, with their old values."""
    log.info(_INTENT_CHANGED, event_name="config.changed", changes=changes)


def log_intent_broken(error: str) -> None:
    """rollout.toml cannot be followed."""
    log.error(_INTENT_BROKEN, event_name="config.broken", error=error)


def log_unreadable(error: str, retry_in: float) -> None:
    """The server did not say where the deployment stands; ``retry_in`` is in seconds."""
    log.warning(
        "Temporal cannot be read",
        event_name="server.unreadable",
        error=error,
        retry_in_seconds=retry_in,
    )


def log_round_failed(error: Exception, retry_in: float) -> None:
    """A round failed in a way that nobody expected: the traceback is told, too."""
    log.error(
        "a round failed", event_name="round.failed", retry_in_seconds=retry_in, exc_info=error
    )


def log_notified(channel: str, text: str) -> None:
    """Somebody was told."""
    log.info("notified", event_name="notification.sent", channel=channel, text=text)


def log_notification_failed(channel: str, text: str, error: str, retry_in: float) -> None:
    """Somebody could not be told; it is tried again."""
    log.warning(
        "a notification failed",
        event_name="notification.failed",
        channel=channel,
        text=text,
        error=error,
        retry_in_seconds=retry_in,
    )


def log_notification_lost(channel: str, text: str, error: str) -> None:
    """Somebody will not be told."""
    log.error(
        "a notification was given up",
        event_name="notification.lost",
        channel=channel,
        text=text,
        error=error,
    )


def log_news_failed(error: Exception) -> None:
    """What there is to tell could not be found out or kept; the rollout goes on."""
    log.error("notifications failed", event_name="notification.crashed", exc_info=error)


def _fields(action: Action) -> dict[str, str | float]:
    """What an action is about, a key each."""
    values = {name: getattr(action, name, None) for name in _OF_AN_ACTION}
    return {name: value for name, value in values.items() if value not in (None, "")}


def _counted(seen: Observation | None) -> dict[str, dict[str, dict[str, list[int]]]]:
    """What analysis has counted: of each build, of each kind of work, failed and executed."""
    measured = seen.measurements if seen else None
    if measured is None or measured.problem:
        return {}
    counted = {
        sample.build_id: {
            work.what: [round(work.failed), round(work.executed)]
            for work in work_of(measured, sample)
        }
        for sample in (measured.target, measured.current)
    }
    return {"counted": counted}


def log_reported(file: str, outcome: str) -> None:
    """A rollout has ended, and its report is in ``file``."""
    log.info(_REPORTED, event_name="report.written", file=file, outcome=outcome)


def log_report_failed(error: Exception) -> None:
    """A rollout has ended without a report."""
    log.error("a report failed", event_name="report.failed", exc_info=error)


def sentence(record: Record, *, waits: bool = True, seen: bool = False) -> str | None:
    """What the controller did, or why it could not; None for a record of anything else.

    ``waits`` says whether what it waits for is told, too, and ``seen`` whether what it saw is.
    """
    fields = record.fields
    event = fields["event"]
    if event == _PLAN:
        told = (_BLOCKED, _WAITING) if waits else (_BLOCKED,)
        is_told = seen or fields.get("phase") in told
        return f"{fields['phase']}: {fields.get('reason')}" if is_told else None
    return (_sight(event, fields) if seen else None) or _deed(event, fields)


def _sight(event: str, fields: Mapping[str, object]) -> str | None:
    """What was only seen, or led to something else that is told."""
    if event == _SEEN:
        return str(fields.get("text"))
    if event == _INTENT_BROKEN:
        return f"{event}: {fields.get('error')}"
    if event == _REPORTED:
        return f"the report of the rollout is {fields.get('file')}"
    if event == _ROLLING_BACK:
        return f"rolling {fields.get('build_id')} back: {fields.get('reason')}"
    return None


def _deed(event: str, fields: Mapping[str, object]) -> str | None:
    if event == _DONE:
        return f"rollout: {fields.get('action')}"
    if event in (_REFUSED, _UNKNOWN):
        return str(fields.get("reason"))
    if event == _VERIFIED:
        of, on = fields.get("source"), fields.get("build_id")
        return f"replay of {of}'s runs on {on}: {fields.get('outcome')}"
    if event == _INTENT_CHANGED:
        return f"rollout.toml: {fields.get('changes') or 'changed'}"
    return None
