"""The schema of rollout.toml and its defaults, each in this one place.

`rollout.core.config_file` reads and edits the file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec

from rollout.base.settings import DEFAULT_DEPLOYMENT, DEFAULT_TASK_QUEUE

__all__ = [
    "Analysis",
    "Check",
    "Delay",
    "Deployment",
    "Gate",
    "Limits",
    "Notify",
    "Occasion",
    "Progressive",
    "Promotion",
    "RolloutConfig",
    "Scale",
    "Seconds",
    "Secret",
    "Step",
    "Sunset",
    "Verification",
    "WebAddress",
]


class Seconds(float):
    """A duration in seconds, written as ``"30s"`` or ``"5m"``."""


class Delay(float):
    """Seconds to wait before something is done, ``"5m"``; infinite for ``"manual"``: never."""


class Promotion(str):
    """A build, and the percentage of new runs it may go on to at once, written ``"v2@50"``."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        """Read ``text``; `ValueError` where it is none."""
        build_id, _, percentage = text.rpartition("@")
        try:
            fits = 0 < float(percentage) <= 100
        except ValueError:
            fits = False
        if not build_id or not fits:
            raise ValueError(f'{text!r} is not a build and a percentage, as "v2@50"')

    @property
    def build_id(self) -> str:
        """Which build."""
        return self.rpartition("@")[0]

    @property
    def percentage(self) -> float:
        """Of new runs, to 100."""
        return float(self.rpartition("@")[2])


class Secret(str):
    """Where a text is found that must not stand in the file: ``"env:NAME"`` or ``"file:PATH"``."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        """Read ``text``; `ValueError` where it is the secret itself, perhaps."""
        kind, _, place = text.partition(":")
        if kind not in ("env", "file") or not place:
            raise ValueError(
                'it must be "env:NAME" or "file:PATH", the variable or the file that holds it'
            )


class WebAddress(str):
    """An ``http(s)://`` URL without a password in it, or a `Secret` that is one."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        """Read ``text``; `ValueError` where it is neither."""
        if not text.startswith(("http://", "https://")):
            Secret(text)
        elif "@" in urlsplit(text).netloc or not urlsplit(text).hostname:
            raise ValueError(
                'it must be a URL without user and password, or "env:NAME" or "file:PATH"'
            )


Occasion = Literal["routing", "rollback", "block", "hold", "complete", "safe-to-stop"]

Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file: a key it does not know is a mistake, not a wish ignored."""


class Deployment(_Table, frozen=True, kw_only=True):
    """``[deployment]``: which deployment, and which version is wanted."""

    name: Name = DEFAULT_DEPLOYMENT
    """The worker deployment, as in `--deployment`; it cannot change while the controller runs."""
    task_queue: Name = DEFAULT_TASK_QUEUE
    """Where gates run, and the workers that `rollout add` starts."""
    target: Name
    """The build that new runs should go to."""
    baseline: Name | None = None
    """Made current where nothing is yet; without it the target is."""
    pace: Literal["progressive", "all-at-once", "manual"] = "progressive"
    """By the steps of `[progressive]`, without them, or by your own hands."""
    paused: bool = False
    """Whether traffic is left as it is."""
    rollback: Name | None = None
    """The build to go back to, at once, without steps and gates; nothing unless it is the target,
    so that it does not outlive a change of that."""
    promote: Promotion | None = None
    """How far the ramping target goes on at once, although its pause lasts or analysis holds it;
    as ``"v2@50"``, 100: it becomes current. Ignored once it is there, and of another target.
    `rollout promote` writes it."""
    hosts: Literal["all"] | Annotated[int, msgspec.Meta(ge=1)] = "all"
    """On which hosts the target runs before it gets traffic, or more of it: on each that serves
    the current version, or on so many. Where no `rollout host` runs, this machine is the only
    one."""
    unblock: tuple[Name, ...] = ()
    """Builds that may get traffic although they were rolled back; once for the same code."""
    ignore_missing_task_queues: bool = False
    """Whether the target may get traffic although it has no worker on a task queue that the
    current version serves; as the `temporal` CLI's flag of that name."""

    @property
    def rolls_back(self) -> bool:
        """Whether the target is to become current at once."""
        return self.rollback == self.target

    def promoted_from(self, percentage: float) -> float | None:
        """Where the target goes at once that ramps at ``percentage``; None where it may wait."""
        if self.promote is None or self.promote.build_id != self.target:
            return None
        return self.promote.percentage if self.promote.percentage > percentage else None


class Step(_Table, frozen=True, kw_only=True):
    """One stop on the way: ``percentage`` of new runs, held for ``pause``."""

    percentage: Annotated[float, msgspec.Meta(gt=0, lt=100)]
    """Of new runs, by a hash of the workflow id."""
    pause: Seconds
    """How long it is held before the next step, at least."""


class Progressive(_Table, frozen=True, kw_only=True):
    """``[progressive]``: the steps before the target becomes current."""

    settle: Seconds = Seconds(20)
    """Least time between one version becoming current and the next ramp."""
    steps: tuple[Step, ...] = (
        Step(percentage=10, pause=Seconds(30)),
        Step(percentage=50, pause=Seconds(30)),
    )
    """The shares on the way, each larger than the one before; `[]`: none."""


class Gate(_Table, frozen=True, kw_only=True):
    """``[gate]``: a workflow pinned to the target that must complete before real traffic."""

    workflow: Name
    """The type of the smoke run."""
    input: Any = msgspec.UNSET
    """Its one argument; without it the workflow takes none."""
    task_queues: tuple[Name, ...] = ()
    """One run on each; default: the deployment's task queue."""
    timeout: Seconds = Seconds(30)
    """How long one try may take."""
    retries: Annotated[int, msgspec.Meta(ge=0, le=20)] = 2
    """Further tries after the first; then the rollout is blocked until `rollout retry`."""


class Check(_Table, frozen=True, kw_only=True):
    """``[[analysis.checks]]``: a query of your own, and what its value may be."""

    name: Name
    """What it is called where its value is told."""
    query: Name
    """PromQL that gives exactly one value (aggregate). ``$target``, ``$current``, ``$deployment``
    and ``$window`` are filled in; compare labels with them by ``=``."""
    min: float | None = None
    """The least value that passes; one of the two is needed."""
    max: float | None = None
    """The greatest value that passes."""

    def __post_init__(self) -> None:
        """Refuse a check that always passes, or never."""
        if self.min is None and self.max is None:
            raise ValueError(f"check {self.name!r} needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"check {self.name!r}: min {self.min:g} is above max {self.max:g}")


class Analysis(_Table, frozen=True, kw_only=True):
    """``[analysis]``: target against current. Without the table there is none."""

    source: Literal["prometheus", "server"] = "prometheus"
    """What is compared: what the workers themselves export to Prometheus, or, where they export
    nothing, the runs that the server says have failed or timed out. The server knows of no
    latencies and no activities, and of tasks that fail only where the code does not match the
    history."""
    window: Seconds = Seconds(60)
    """How far back latencies are compared; failures are counted since the last change of
    traffic."""
    min_samples: Annotated[int, msgspec.Meta(ge=1)] = 20
    """Closed workflows and activities of the target, together, that it takes to go on; and of
    each kind of work that it takes to convict it. Fewer prove little: where nothing of the
    current build's fails and 30 % of the target's, it is rolled back 99 times of 100 once it has
    executed 100 in a step of 10 % (33 a second in all, in 30 s), 210 in one of 50 %."""
    failure_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.05
    """How much more of the target's activities or workflows may fail than of the current's, as a
    share of 1. Beyond it the step is held; rolled back it is once that is proven: of rollouts
    whose builds fail alike 1 in 100 at most, however long and often they are looked at."""
    latency_ratio: Annotated[float, msgspec.Meta(ge=1)] = 2.0
    """How many times slower the target's p95 may be..."""
    latency_slack: Seconds = Seconds(1)
    """...when it is also slower by more than this."""
    max_hold: Seconds = Seconds(600)
    """How long a step may be held beyond its pause before ``then``."""
    then: Literal["hold", "rollback"] = "hold"
    """What is done when `max_hold` is over."""
    checks: tuple[Check, ...] = ()
    """Queries of your own, as `[[analysis.checks]]`; out of its bounds, one rolls back."""


class Verification(_Table, frozen=True, kw_only=True):
    """``[verify]``: the replay of running and recent runs on the target's code."""

    compatible: Literal["required", "off"] = "required"
    """Whether a compatible build gets traffic only once its replay has passed."""
    sample: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """So many runs are replayed, half of them open ones."""
    arguments: Literal["warn", "refuse"] = "warn"
    """What becomes of a build that gives an activity or a child other arguments than a run did:
    it passes and that is told, or it gets no traffic until `rollout retry BUILD --accept-drift`."""
    without_replay: Literal["block", "warn"] = "block"
    """What becomes of a build that should be replayed and names no command for that
    (`rollout add --replay`): it gets no traffic, or it passes untried and that is told."""


class Sunset(_Table, frozen=True, kw_only=True):
    """``[sunset]``: what becomes of versions that are no longer needed."""

    stop: Delay = Delay("inf")
    """How long after being drained the workers of a safe version are stopped."""
    delete: Delay = Delay("inf")
    """How long after being drained its program file and the server's record are removed."""
    keep: Annotated[int, msgspec.Meta(ge=0)] = 1
    """So many of the last current versions stay as they are, warm for a rollback."""


class Scale(_Table, frozen=True, kw_only=True):
    """``[scale]``: how many processes a build has, of those that `rollout add` has written."""

    draining: Literal["keep", "shrink"] = "keep"
    """Whether a build that is draining or drained keeps its processes, or fewer of them as its
    runs end: one for each `runs_per_process` of its open runs and a quarter more, at least one,
    and none is taken while tasks wait for it or something of this is not known. It never gets
    more."""
    runs_per_process: Annotated[int, msgspec.Meta(ge=1)] = 100
    """For so many open runs a draining build keeps one process, on all hosts together."""
    target: Literal["keep", "match"] = "keep"
    """Whether the target has the processes it was added with, or on each machine at least as many
    as the current build, before it gets traffic, or more of it."""


class Notify(_Table, frozen=True, kw_only=True):
    """``[notify]``: who is told of what happens. Nobody is waited for."""

    events: tuple[Occasion, ...] = get_args(Occasion)
    """Of what: each change of routing; a build that is rolled back; a rollout that a person must
    help on; a step held for longer than `max_hold`; a target that takes all new runs; a version
    with live workers that has become safe to stop."""
    command: tuple[Name, ...] = ()
    """A program and its arguments; it gets each event as JSON on stdin, and ends with 0."""
    webhook: WebAddress | None = None
    """Where each event is sent as JSON, by POST: a URL, or where to find a secret one."""
    headers: dict[Name, Secret] = {}
    """Headers for the webhook, such as `Authorization`."""
    apprise: tuple[Secret, ...] = ()
    """Where to find URLs of services that Apprise knows (`pip install apprise`): mail, Slack,
    Telegram and a hundred others."""
    timeout: Seconds = Seconds(10)
    """How long one try may take."""
    tries: Annotated[int, msgspec.Meta(ge=1, le=20)] = 5
    """How often each is tried, with longer pauses each time, before that is given up and logged."""


class Limits(_Table, frozen=True, kw_only=True):
    """``[limits]``: what the server allows."""

    versions: Annotated[int, msgspec.Meta(ge=1)] = 100
    """Versions a deployment (dynamic config `matching.maxVersionsInDeployment`)."""


class RolloutConfig(_Table, frozen=True, kw_only=True):
    """The whole file."""

    deployment: Deployment
    progressive: Progressive = Progressive()
    gate: Gate | None = None
    analysis: Analysis | None = None
    verify: Verification = Verification()
    sunset: Sunset = Sunset()
    scale: Scale = Scale()
    limits: Limits = Limits()
    notify: Notify | None = None
