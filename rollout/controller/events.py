"""What the controller logs: the names and fields of its records, written and read here alone.

The controller calls the functions that begin with ``log_``; `history` and `watch` read the same
records back as sentences.
"""

from __future__ import annotations

from rollout.base.log_records import Record
from rollout.base.logger import get_logger
from rollout.core.actions import Action, Plan
from rollout.core.unlearned import COULD_NOT_LEARN

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
    "log_rolling_back",
    "log_round_failed",
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

_BLOCKED, _WAITING = "blocked", "waiting"
"""The phases that tell why nothing was done; in the others the actions themselves tell."""


def log_plan(decided: Plan) -> None:
    """A plan that says something new."""
    log.info(_PLAN, phase=decided.phase, reason=decided.reason)


def log_done(action: Action) -> None:
    """An action has been carried out."""
    log.info(_DONE, action=str(action))


def log_refused(reason: str) -> None:
    """An action was not carried out, or nobody knows whether it was; ``reason`` names it."""
    log.warning(_UNKNOWN if reason.startswith(COULD_NOT_LEARN) else _REFUSED, reason=reason)


def log_action_crashed(action: Action, error: Exception) -> None:
    """An action has failed in a way that nobody expected: the traceback is told, too."""
    log.error("an action failed", action=str(action), exc_info=error)


def log_rolling_back(build_id: str, reason: str) -> None:
    """A build gets blocked."""
    log.error("rolling back", build_id=build_id, reason=reason)


def log_verified(build_id: str, source: str, outcome: str) -> None:
    """Runs of ``source`` were replayed on ``build_id``; ``outcome`` is ``passed`` or what broke."""
    log.info(_VERIFIED, build_id=build_id, source=source, outcome=outcome)


def log_intent_changed(changes: str) -> None:
    """rollout.toml asks for something else; ``changes`` names the keys, with their old values."""
    log.info(_INTENT_CHANGED, changes=changes)


def log_intent_broken(error: str) -> None:
    """rollout.toml cannot be followed."""
    log.error("rollout.toml is not followed until it is mended", error=error)


def log_unreadable(error: str, retry_in: float) -> None:
    """The server did not say where the deployment stands; ``retry_in`` is in seconds."""
    log.warning("Temporal cannot be read", error=error, retry_in_seconds=retry_in)


def log_round_failed(error: Exception, retry_in: float) -> None:
    """A round failed in a way that nobody expected: the traceback is told, too."""
    log.error("a round failed", retry_in_seconds=retry_in, exc_info=error)


def log_notified(channel: str, text: str) -> None:
    """Somebody was told."""
    log.info("notified", channel=channel, text=text)


def log_notification_failed(channel: str, text: str, error: str, retry_in: float) -> None:
    """Somebody could not be told; it is tried again."""
    log.warning(
        "a notification failed", channel=channel, text=text, error=error, retry_in_seconds=retry_in
    )


def log_notification_lost(channel: str, text: str, error: str) -> None:
    """Somebody will not be told."""
    log.error("a notification was given up", channel=channel, text=text, error=error)


def log_news_failed(error: Exception) -> None:
    """What there is to tell could not be found out or kept; the rollout goes on."""
    log.error("notifications failed", exc_info=error)


def sentence(record: Record, *, waits: bool = True) -> str | None:
    """What the controller did, or why it could not; None for a record of anything else.

    ``waits`` says whether what it waits for is told, too.
    """
    fields = record.fields
    event = fields["event"]
    if event == _DONE:
        return f"rollout: {fields.get('action')}"
    if event in (_REFUSED, _UNKNOWN):
        return str(fields.get("reason"))
    if event == _VERIFIED:
        of, on = fields.get("source"), fields.get("build_id")
        return f"replay of {of}'s runs on {on}: {fields.get('outcome')}"
    told = (_BLOCKED, _WAITING) if waits else (_BLOCKED,)
    if event == _PLAN and fields.get("phase") in told:
        return f"{fields['phase']}: {fields.get('reason')}"
    if event == _INTENT_CHANGED:
        return f"rollout.toml: {fields.get('changes') or 'changed'}"
    return None
