"""What can be done about a rollout, and the plan that says what is to be done now.

As text, an action is a few words for a log line or a plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "Action",
    "Block",
    "ClaimManager",
    "ClearRamp",
    "DeleteVersion",
    "JoinSet",
    "LiftBlock",
    "MoveRuns",
    "Phase",
    "Plan",
    "RemoveProgram",
    "SetCurrent",
    "SetRamp",
    "StartGate",
    "StartProgram",
    "StopProgram",
    "Verify",
]


@dataclass(frozen=True)
class ClaimManager:
    """Become the deployment's manager, so that no other identity can change its routing."""

    def __str__(self) -> str:
        return "claim the deployment"


@dataclass(frozen=True)
class JoinSet:
    """Write into a version's metadata which version set it belongs to, before it is routed to."""

    build_id: str
    version_set: str

    def __str__(self) -> str:
        return f"put {self.build_id} into the version set {self.version_set}"


@dataclass(frozen=True)
class SetCurrent:
    """All new runs go to ``build_id`` (empty: workers without a version); ends a ramp to it."""

    build_id: str
    ignore_missing_task_queues: bool = False
    """Whether it may be without workers on a task queue that the current version serves."""

    def __str__(self) -> str:
        if not self.build_id:
            return "send new runs to workers without a version"
        return f"make {self.build_id} current"


@dataclass(frozen=True)
class SetRamp:
    """``percentage`` (0 to 100) of new runs go to ``build_id``."""

    build_id: str
    percentage: float
    ignore_missing_task_queues: bool = False

    def __str__(self) -> str:
        return f"ramp {self.build_id} to {self.percentage:g} %"


@dataclass(frozen=True)
class ClearRamp:
    """All new runs go to the current version."""

    def __str__(self) -> str:
        return "end the ramp"


@dataclass(frozen=True)
class MoveRuns:
    """Move the running runs of ``source`` to the compatible ``target`` at their next task."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"move the runs of {self.source} to {self.target}"


@dataclass(frozen=True)
class StartGate:
    """Start a smoke run that is pinned to ``build_id``."""

    build_id: str
    task_queue: str
    attempt: int

    def __str__(self) -> str:
        return f"start the gate of {self.build_id} on {self.task_queue}, try {self.attempt}"


@dataclass(frozen=True)
class Verify:
    """Replay runs of ``source`` on the code of ``build_id``, and note the outcome."""

    build_id: str
    source: str

    def __str__(self) -> str:
        return f"replay runs of {self.source} on {self.build_id}"


@dataclass(frozen=True)
class Block:
    """Note in a version's metadata that it must get no traffic, and why."""

    build_id: str
    reason: str

    def __str__(self) -> str:
        return f"block {self.build_id}"


@dataclass(frozen=True)
class LiftBlock:
    """Take a version's block away, as rollout.toml asks; once for the same code."""

    build_id: str

    def __str__(self) -> str:
        return f"lift the block of {self.build_id}"


@dataclass(frozen=True)
class StopProgram:
    """Stop the workers of a build that is safe to stop."""

    build_id: str

    def __str__(self) -> str:
        return f"stop the workers of {self.build_id}"


@dataclass(frozen=True)
class StartProgram:
    """Start the workers of a build whose runs need them again."""

    build_id: str

    def __str__(self) -> str:
        return f"start the workers of {self.build_id}"


@dataclass(frozen=True)
class RemoveProgram:
    """Remove the program file of a build whose workers are stopped, and unload it."""

    build_id: str

    def __str__(self) -> str:
        return f"remove the program of {self.build_id}"


@dataclass(frozen=True)
class DeleteVersion:
    """Delete the server's record of a version that has neither runs nor workers."""

    build_id: str

    def __str__(self) -> str:
        return f"delete the version {self.build_id}"


Action = (
    ClaimManager
    | JoinSet
    | SetCurrent
    | SetRamp
    | ClearRamp
    | MoveRuns
    | StartGate
    | Verify
    | Block
    | LiftBlock
    | StopProgram
    | StartProgram
    | RemoveProgram
    | DeleteVersion
)


Phase = Literal[
    "waiting",  # for something outside: a worker, the server
    "paused",
    "manual",
    "blocked",  # a person must act
    "progressing",
    "moving",  # the target is current; compatible runs are on their way to it
    "complete",
]


@dataclass(frozen=True)
class Plan:
    """What to do now, and the one sentence that says why, or why nothing."""

    phase: Phase
    reason: str
    actions: tuple[Action, ...] = field(default=())
