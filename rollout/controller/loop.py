"""The controller's loop: observe, plan, perform, and tell of it.

It keeps no state that it would need: killed at any point, it goes on from what the server says.
What it remembers of its looks only makes it surer, and is soon known again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from datetime import datetime, timezone
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from rollout.controller import events
from rollout.controller.identity import own_identity
from rollout.controller.intent import Intent
from rollout.controller.metrics import ControllerMetrics
from rollout.controller.notifying import Notifier
from rollout.controller.nudge import nudged, nudged_at
from rollout.controller.observing import look
from rollout.controller.operator import Operator
from rollout.controller.publishing import Publisher
from rollout.controller.reasons import Round
from rollout.controller.refusals import Refusals
from rollout.controller.report.reporter import Reporter
from rollout.core.actions import Action, Plan
from rollout.core.changes import changes_between
from rollout.core.config import RolloutConfig
from rollout.core.config_file import differences
from rollout.core.held import Held
from rollout.core.observation import Observation
from rollout.core.pace import Pace
from rollout.core.plan import plan
from rollout.supervision.rpc import Supervisor
from rollout.supervision.survey import Surveyor
from rollout.temporal.observer import Observer
from rollout.temporal.routing import Refused
from rollout.temporal.rpc import THROTTLED

__all__ = ["Told", "carry_out", "control"]

PERIOD = 1.0  # after a failure, and then longer each time
LONGEST_PERIOD = 5.0
_GLANCE = 0.2  # seconds in which an edit of rollout.toml, or a nudge, is noticed
_LEAST_HEEDED = 2.0  # a program that starts and ends all the time is no reason to look more often


async def control(
    client: Client,
    path: Path,
    metrics: ControllerMetrics,
    publisher: Publisher,
    notifier: Notifier,
) -> None:
    """Bring the deployment to what the file at ``path`` says, until cancelled."""
    intent = Intent(path, renamed="restart the controller", keeps=True)
    told = Told(intent)
    identity = own_identity()
    # Kept, because what one look cannot tell it knows from those before.
    observer = Observer(client, intent.config.deployment.name, Supervisor(), at_once=False)
    held = Held()

    def changed(action: Action) -> None:
        observer.expire(*action.builds)
        publisher.changed()

    operator = Operator(client, intent.config.deployment.name, identity, changed)
    refusals = Refusals(intent.config.deployment.name, publisher.refusals)
    surveyor = Surveyor()
    hearers: tuple[Notifier | Reporter, ...] = (notifier, Reporter(client))
    last: tuple[Action, ...] = ()
    period = PERIOD
    nudges = _Nudges(intent.config.deployment.name)
    while True:
        config = intent.refresh()
        told.intent(intent)
        metrics.configured(config, is_ok=intent.problem is None)
        publisher.intent(intent)
        publisher.standing(surveyor.look())
        try:
            seen = await look(client, config, observer)
            now = datetime.now(timezone.utc)
            held_for = held.up_to(seen)
            decided = plan(config, seen, now, identity, held=held_for)
            held = held.after(seen, decided)
            told.plan(decided, seen)
            publisher.round(seen, decided)
            for hearer in hearers:
                hearer.round(config, seen, decided, held_for)
            operator.drop(decided.actions)
            held_up = await carry_out(decided, operator, config, seen, refusals)
            metrics.reconciled(
                "refused" if held_up else "ok", Round(config, seen, decided, held_for, now)
            )
            period = _longer(period) if held_up else _next_period(decided, last, observer.pace)
            last = decided.actions
        except RPCError as error:
            events.log_unreadable(error.message, period)
            publisher.unread(error.message)
            metrics.reconciled("error")
            period = _longer(period)
        except Exception as error:  # noqa: BLE001 - a rollback may be asked for next
            events.log_round_failed(error, period)
            publisher.unread(f"{type(error).__name__}: {error}")
            metrics.reconciled("error")
            period = _longer(period)
        metrics.throttled(THROTTLED.calls)
        if await _pause(period, intent, nudges):
            observer.expire(nudged(observer.deployment))


async def carry_out(
    decided: Plan, operator: Operator, config: RolloutConfig, seen: Observation, refusals: Refusals
) -> bool:
    """Carry the plan out; whether the rollout was held up by a refusal.

    A refusal is mostly a conflict: somebody changed the routing in between, and the
    next round sees what they did. What follows it in the plan may depend on it, unless
    it stands apart. Once all traffic is at the target nothing depends on anything.
    """
    held_up = False
    found = []
    for action in decided.actions:
        apart = action.stands_apart or decided.phase == "moving"
        if held_up and not apart:
            continue
        try:
            await operator.perform(action, config, seen)
        except Refused as refused:
            found.append(str(refused))
            held_up = held_up or not apart
    refusals.note(found)
    return held_up


class Told:
    """What the log has heard of the intent, the look and the plan: each is told when it changes."""

    def __init__(self, intent: Intent) -> None:
        self._config = intent.config
        self._problem: str | None = None
        self._plan: Hashable = None
        self._seen: Observation | None = None

    def intent(self, intent: Intent) -> None:
        """Tell what rollout.toml now asks for, or why it is not followed."""
        if intent.problem and intent.problem != self._problem:
            events.log_intent_broken(intent.problem)
        if intent.config != self._config:
            events.log_intent_changed(differences(self._config, intent.config))
        self._config, self._problem = intent.config, intent.problem

    def plan(self, decided: Plan, seen: Observation | None = None) -> None:
        """Tell the plan for what was ``seen``, though not at each second of a countdown.

        Before it, what has happened since the last look.
        """
        if seen is not None and self._seen is not None:
            for change in changes_between(self._seen, seen, self._config.deployment.target):
                events.log_seen(change)
        self._seen = seen or self._seen
        if decided.news != self._plan:
            events.log_plan(decided, seen)
        self._plan = decided.news


class _Nudges:
    """Who says that something has changed is heeded, though not all the time."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
        self._heard = nudged_at(deployment)
        self._heeded_at = time.monotonic()

    def has_come(self) -> bool:
        """Whether there is one that was not heeded yet, and the last is not too recent."""
        said = nudged_at(self._deployment)
        if said == self._heard or time.monotonic() - self._heeded_at < _LEAST_HEEDED:
            return False
        self._heard, self._heeded_at = said, time.monotonic()
        return True


async def _pause(period: float, intent: Intent, nudges: _Nudges) -> bool:
    """Wait ``period`` seconds, or until rollout.toml is another; whether a nudge ended it."""
    for _ in range(round(period / _GLANCE)):
        await asyncio.sleep(_GLANCE)
        if nudges.has_come():
            return True
        if intent.has_changed():
            return False
    return False


def _longer(period: float) -> float:
    return min(max(2 * period, PERIOD), LONGEST_PERIOD)


def _next_period(decided: Plan, last: tuple[Action, ...], pace: Pace) -> float:
    """Seconds until the next round: none where what was just done may make more possible."""
    return 0.0 if decided.actions and decided.actions != last else pace.routing
