"""What can be done about a rollout, and the plan that says what is to be done now.

As text, an action is a few words for a log line or a plan. Its class says how it is to be
carried out.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

__all__ = [
    "BLOCKS",
    "Action",
    "Block",
    "ClaimManager",
    "ClearRamp",
    "Declare",
    "DeleteVersion",
    "JoinSet",
    "Kind",
    "LiftBlock",
    "MoveRuns",
    "Phase",
    "Plan",
    "RemoveProgram",
    "ScaleProgram",
    "SetCurrent",
    "SetRamp",
    "StartGate",
    "StartProgram",
    "StopProgram",
    "TellHosts",
    "Verify",
]


class _Traits:
    """How an action is carried out; each class overrides what is different about it."""

    lasts: ClassVar[bool] = False
    """It may take long, so that it goes on beside the controller's loop."""
    stands_apart: ClassVar[bool] = False
    """It depends on nothing that stands before it in a plan, and holds nothing up."""
    longest_pause: ClassVar[float] = 120.0
    """Seconds for which it is let be at the most after it has failed, and failed again."""
    ends_when_unplanned: ClassVar[bool] = False
    """Under way, it is ended where no plan asks for it any longer."""

    @property
    def builds(self) -> tuple[str, ...]:
        """The versions that it is about."""
        named = (getattr(self, name, "") for name in ("build_id", "source", "target"))
        return tuple(build_id for build_id in named if build_id)


@dataclass(frozen=True)
class ClaimManager(_Traits):
    """Become the deployment's manager, so that no other identity can change its routing."""

    def __str__(self) -> str:
        return "claim the deployment"


@dataclass(frozen=True)
class Declare(_Traits):
    """Write on a version what its program says of it, whose worker says nothing itself."""

    stands_apart = True

    build_id: str
    strategy: str | None
    fingerprint: str | None

    def __str__(self) -> str:
        told = {"strategy": self.strategy, "code": self.fingerprint}
        said = ", ".join(f"{name} {value}" for name, value in told.items() if value)
        return f"declare {self.build_id}: {said}"


@dataclass(frozen=True)
class JoinSet(_Traits):
    """Write into a version's metadata which version set it belongs to, before it is routed to."""

    build_id: str
    version_set: str

    def __str__(self) -> str:
        return f"put {self.build_id} into the version set {self.version_set}"


@dataclass(frozen=True)
class SetCurrent(_Traits):
    """All new runs go to ``build_id`` (empty: workers without a version); ends a ramp to it."""

    build_id: str
    ignore_missing_task_queues: bool = False
    """Whether it may be without workers on a task queue that the current version serves."""

    def __str__(self) -> str:
        if not self.build_id:
            return "send new runs to workers without a version"
        return f"make {self.build_id} current"


@dataclass(frozen=True)
class SetRamp(_Traits):
    """``percentage`` (0 to 100) of new runs go to ``build_id``."""

    build_id: str
    percentage: float
    ignore_missing_task_queues: bool = False

    def __str__(self) -> str:
        return f"ramp {self.build_id} to {self.percentage:g} %"


@dataclass(frozen=True)
class ClearRamp(_Traits):
    """All new runs go to the current version."""

    stands_apart = True

    def __str__(self) -> str:
        return "end the ramp"


@dataclass(frozen=True)
class MoveRuns(_Traits):
    """Move the running runs of ``source`` to the compatible ``target`` at their next task."""

    lasts = True
    stands_apart = True

    source: str
    target: str

    def __str__(self) -> str:
        return f"move the runs of {self.source} to {self.target}"


@dataclass(frozen=True)
class StartGate(_Traits):
    """Start a smoke run that is pinned to ``build_id``."""

    build_id: str
    task_queue: str
    attempt: int

    def __str__(self) -> str:
        return f"start the gate of {self.build_id} on {self.task_queue}, try {self.attempt}"


@dataclass(frozen=True)
class Verify(_Traits):
    """Replay runs of ``source`` on the code of ``build_id``, and note the outcome."""

    lasts = True
    longest_pause = 10.0  # new runs may wait for it
    ends_when_unplanned = True

    build_id: str
    source: str

    def __str__(self) -> str:
        return f"replay runs of {self.source} on {self.build_id}"


@dataclass(frozen=True)
class Block(_Traits):
    """Note in a version's metadata that it must get no traffic, and why."""

    build_id: str
    reason: str

    def __str__(self) -> str:
        return f"block {self.build_id}"


@dataclass(frozen=True)
class LiftBlock(_Traits):
    """Take a version's block away, as rollout.toml asks; once for the same code."""

    build_id: str

    def __str__(self) -> str:
        return f"lift the block of {self.build_id}"


@dataclass(frozen=True)
class TellHosts(_Traits):
    """Leave what is wanted where the worker hosts read it, on the version ``build_id``."""

    stands_apart = True

    build_id: str
    wanted: str
    """See `rollout.core.host_notes`."""

    def __str__(self) -> str:
        return "tell the hosts what is wanted"


@dataclass(frozen=True)
class StopProgram(_Traits):
    """Stop the workers of a build that is safe to stop."""

    lasts = True
    stands_apart = True

    build_id: str

    def __str__(self) -> str:
        return f"stop the workers of {self.build_id}"


@dataclass(frozen=True)
class StartProgram(_Traits):
    """Start the workers of a build whose runs need them again."""

    lasts = True
    stands_apart = True
    longest_pause = 10.0  # new runs may wait for it

    build_id: str

    def __str__(self) -> str:
        return f"start the workers of {self.build_id}"


@dataclass(frozen=True)
class ScaleProgram(_Traits):
    """Have ``processes`` of a build's workers here, and touch none of those that stay."""

    lasts = True
    stands_apart = True
    longest_pause = 30.0

    build_id: str
    processes: int

    def __str__(self) -> str:
        number = f"{self.processes} process{'' if self.processes == 1 else 'es'}"
        return f"bring {self.build_id} to {number}"


@dataclass(frozen=True)
class RemoveProgram(_Traits):
    """Remove the program file of a build whose workers are stopped, and unload it."""

    lasts = True
    stands_apart = True

    build_id: str

    def __str__(self) -> str:
        return f"remove the program of {self.build_id}"


@dataclass(frozen=True)
class DeleteVersion(_Traits):
    """Delete the server's record of a version that has neither runs nor workers."""

    lasts = True
    stands_apart = True
    longest_pause = 30.0  # the server refuses it for minutes, in which nothing is wrong

    build_id: str

    def __str__(self) -> str:
        return f"delete the version {self.build_id}"


Action = (
    ClaimManager
    | Declare
    | JoinSet
    | SetCurrent
    | SetRamp
    | ClearRamp
    | MoveRuns
    | StartGate
    | Verify
    | Block
    | LiftBlock
    | TellHosts
    | StopProgram
    | StartProgram
    | ScaleProgram
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


Kind = Literal[
    "routing",  # it changes, or is about to
    "settling",  # the current build, before the target's first step
    "pausing",  # at a step, as long as rollout.toml says
    "held",  # at a step, by analysis
    "short",  # at a step, for the target's workers do not keep up
    "gate",
    "replay",
    "no_worker",  # nobody lives who could run the build
    "task_queue",  # nobody of the build polls one that the current build's workers poll
    "hosts",  # the build is not yet on each that it has to be on
    "processes",  # the build has not yet as many as it is to have
    "undeclared",  # what the build's workers say of themselves is not known yet
    "unreadable",  # something that the plan needs could not be read or counted
    "observation_old",
    "new_runs_wait",
    "moving",
    "complete",
    "paused",
    "manual",
    "rolled_back",
    "other_code",  # the build id has come back with other code
    "other_manager",  # somebody else routes the deployment
]

BLOCKS: tuple[Kind, ...] = ("rolled_back", "gate", "replay", "other_code", "other_manager")
"""What a reason may be about where the phase is ``blocked``."""


@dataclass(frozen=True)
class Plan:
    """What to do now, and the one sentence that says why, or why nothing."""

    phase: Phase
    reason: str
    actions: tuple[Action, ...] = field(default=())
    topic: Hashable = field(default=None, compare=False)
    """What stays equal while numbers in the reason run on, as in a countdown; None: the reason."""
    kind: Kind = field(default="routing", compare=False)
    """What the reason is about, in one of few words."""
    holds: bool = field(default=False, compare=False)
    """Whether analysis holds the step where it is, which `max_hold` bounds."""

    @property
    def news(self) -> Hashable:
        """Equal for two plans of which the second is not worth telling after the first."""
        return self.phase, self.reason if self.topic is None else self.topic
