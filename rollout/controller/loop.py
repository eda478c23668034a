"""The loop that joins observing, planning and acting, and tells of itself in logs and metrics.

It keeps no state: killed at any point, it goes on from what the server says.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import get_args

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Info
from temporalio.client import Client
from temporalio.service import RPCError

from rollout.base.exit import Failure, Misuse
from rollout.base.settings import ROOT, VAR
from rollout.controller.operator import Operator
from rollout.controller.readings import look
from rollout.core.actions import (
    Action,
    ClearRamp,
    DeleteVersion,
    MoveRuns,
    Phase,
    Plan,
    RemoveProgram,
    StartProgram,
    StopProgram,
)
from rollout.core.config import RolloutConfig
from rollout.core.config_file import differences, load
from rollout.core.observation import Observation
from rollout.core.plan import plan
from rollout.supervision.rpc import Supervisor
from rollout.temporal.routing import Refused

__all__ = [
    "ControllerMetrics",
    "Refusals",
    "carry_out",
    "control",
    "is_running",
    "last_refusals",
    "only_one",
    "own_identity",
]

log = structlog.get_logger(__name__)

_APART = (ClearRamp, MoveRuns, StopProgram, StartProgram, RemoveProgram, DeleteVersion)
"""What depends on nothing that stands before it in a plan, and holds nothing up."""

PERIOD = 1.0
WAITING_PERIOD = 0.5
LONGEST_PERIOD = 5.0  # an operator's new intent waits no longer than this
_PHASES: tuple[str, ...] = get_args(Phase)


def own_identity() -> str:
    """Who manages the deployment: this checkout on this machine, whoever runs it."""
    return f"rollout@{socket.gethostname()}:{ROOT}"


def only_one(deployment: str) -> int:
    """Hold the lock of this checkout's controller for ``deployment`` until the process ends.

    Two controllers of one checkout share an identity, so the server cannot tell
    them apart. Raises `Failure` where another holds it. Returns the descriptor.
    """
    path = _lock_file(deployment)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + 1  # `is_running` holds it for an instant
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise Failure(f"another controller runs for {deployment} here ({path})") from error
            time.sleep(0.05)
        else:
            return descriptor


def is_running(deployment: str) -> bool:
    """Whether a controller of this checkout holds the lock for ``deployment``."""
    try:
        with _lock_file(deployment).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):  # the latter: another user's, who may well run it
        return True
    return False


def _lock_file(deployment: str) -> Path:
    return VAR / "run" / f"rollout-{deployment}.lock"


class ControllerMetrics:
    """The controller's own series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reconciles = Counter(
            "rollout_reconciles",
            "Rounds of observe, plan and act, by how they ended (ok, refused, error).",
            ["result"],
            registry=registry,
        )
        self._phase = Gauge(
            "rollout_phase", "1 for the phase that the rollout is in.", ["phase"], registry=registry
        )
        self._paused = Gauge(
            "rollout_paused", "1 while rollout.toml says paused.", registry=registry
        )
        self._last = Gauge(
            "rollout_last_reconcile_time_seconds",
            "Unix time of the last round that ended well.",
            registry=registry,
        )
        self._target = Info("rollout_target", "The version that is wanted.", registry=registry)
        for result in ("ok", "refused", "error"):
            self._reconciles.labels(result)

    def configured(self, config: RolloutConfig) -> None:
        """Note what rollout.toml says."""
        self._paused.set(config.deployment.paused)
        self._target.info({"build_id": config.deployment.target})

    def reconciled(self, result: str, phase: str | None = None) -> None:
        """Note a round; ``phase`` where one was planned."""
        self._reconciles.labels(result).inc()
        if phase is not None:
            for name in _PHASES:
                self._phase.labels(name).set(name == phase)
        if result == "ok":
            self._last.set_to_current_time()


class Intent:
    """rollout.toml, read again whenever asked; a broken edit keeps the last good one in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._error = ""
        self.config = load(path)

    def refresh(self) -> RolloutConfig:
        """What the file says now; the deployment's name cannot change under a controller."""
        try:
            fresh = load(self._path)
            if fresh.deployment.name != self.config.deployment.name:
                raise Misuse("deployment.name has changed: restart the controller")  # noqa: TRY301
        except Misuse as error:
            if str(error) != self._error:
                log.error("rollout.toml is not followed until it is mended", error=str(error))
            self._error = str(error)
            return self.config
        if fresh != self.config:
            log.info("rollout.toml has changed", changes=differences(self.config, fresh))
        self.config, self._error = fresh, ""
        return fresh


async def control(client: Client, path: Path, metrics: ControllerMetrics) -> None:
    """Bring the deployment to what the file at ``path`` says, until cancelled."""
    intent = Intent(path)
    supervisor = Supervisor()
    identity = own_identity()
    operator = Operator(client, intent.config.deployment.name, identity)
    refusals = Refusals(intent.config.deployment.name)
    told: tuple[str, str] = ("", "")
    last: tuple[Action, ...] = ()
    period = PERIOD
    while True:
        config = intent.refresh()
        metrics.configured(config)
        try:
            seen = await look(client, config, supervisor)
            decided = plan(config, seen, datetime.now(timezone.utc), identity)
            told = _tell(decided, told)
            operator.drop(decided.actions)
            held_up = await carry_out(decided, operator, config, seen, refusals)
            metrics.reconciled("refused" if held_up else "ok", decided.phase)
            period = _longer(period) if held_up else _next_period(decided, last)
            last = decided.actions
        except RPCError as error:
            log.warning("Temporal cannot be read", error=error.message, retry_in_seconds=period)
            metrics.reconciled("error")
            period = _longer(period)
        except Exception:
            # Whatever it was, a rollback may be asked for next.
            log.exception("a round failed", retry_in_seconds=period)
            metrics.reconciled("error")
            period = _longer(period)
        await asyncio.sleep(period)


async def carry_out(
    decided: Plan, operator: Operator, config: RolloutConfig, seen: Observation, refusals: Refusals
) -> bool:
    """Carry the plan out; whether the rollout was held up by a refusal.

    A refusal is mostly a conflict: somebody changed the routing in between, and the
    next round sees what they did. What follows it in the plan may depend on it, unless
    it stands `_APART`. Once all traffic is at the target nothing depends on anything.
    """
    held_up = False
    found = []
    for action in decided.actions:
        apart = isinstance(action, _APART) or decided.phase == "moving"
        if held_up and not apart:
            continue
        try:
            await operator.perform(action, config, seen)
        except Refused as refused:
            found.append(str(refused))
            held_up = held_up or not apart
    refusals.note(found)
    return held_up


def _longer(period: float) -> float:
    return min(max(2 * period, PERIOD), LONGEST_PERIOD)


class Refusals:
    """What could not be done in the last round, for the log and for `rollout status`."""

    def __init__(self, deployment: str) -> None:
        self._file = _refusal_file(deployment)
        self._told: list[str] = []
        self.note([])

    def note(self, found: list[str]) -> None:
        """Tell what is new, and leave a word for `status`; nothing is decided by it."""
        for reason in found:
            if reason not in self._told:
                log.warning("refused", reason=reason)
        self._told = found
        with contextlib.suppress(OSError):
            if found:
                self._file.write_text("\n".join(found), encoding="utf-8")
            else:
                self._file.unlink(missing_ok=True)


def last_refusals(deployment: str) -> list[str]:
    """What this checkout's controller could not do in its last round; none where it did all."""
    try:
        return _refusal_file(deployment).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _refusal_file(deployment: str) -> Path:
    return VAR / "run" / f"rollout-{deployment}.refusal"


def _next_period(decided: Plan, last: tuple[Action, ...]) -> float:
    """Seconds until the next round: none where what was just done may make more possible."""
    if decided.actions and decided.actions != last:
        return 0.0
    return WAITING_PERIOD if decided.phase == "waiting" else PERIOD


def _tell(decided: Plan, told: tuple[str, str]) -> tuple[str, str]:
    """Log the plan when it changes, not at each second of a countdown."""
    shape = (decided.phase, "".join(c for c in decided.reason if not c.isdigit()))
    if shape != told:
        log.info("plan", phase=decided.phase, reason=decided.reason)
    return shape
