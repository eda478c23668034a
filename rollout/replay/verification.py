"""The outcome of a replay: which runs the target's code can go on with, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["Replayed", "Verification", "as_json", "refusing_drift", "render", "summary"]


@dataclass(frozen=True)
class Replayed:
    """What the replay of one run showed."""

    workflow_id: str
    run_id: str
    workflow_type: str
    ok: bool
    event_id: int | None = None
    """The first event that does not fit the code; None where that is not known."""
    error: str | None = None
    """Why it does not fit, a sentence; None where it does."""
    drift: str | None = None
    """Where the code gives other arguments than the run did, a sentence; None: nowhere."""


@dataclass(frozen=True)
class Verification:
    """Runs of ``source`` replayed on the code of ``target``."""

    source: str
    target: str
    runs: tuple[Replayed, ...]
    left_out: tuple[str, ...] = ()
    """Runs that were not tried and why, a sentence each."""
    untried: str | None = None
    """Why none could be tried at all, a sentence: the target has no replay command."""

    @property
    def passed(self) -> bool:
        """Whether none broke, where there was one to replay; not where all were left out."""
        return self.untried is None and not self.broken and bool(self.runs or not self.left_out)

    @property
    def broken(self) -> tuple[Replayed, ...]:
        """The runs that the target's code cannot go on with."""
        return tuple(run for run in self.runs if not run.ok)

    @property
    def drifted(self) -> tuple[Replayed, ...]:
        """The runs that the code can go on with, and for which it makes other arguments."""
        return tuple(run for run in self.runs if run.ok and run.drift)

    @property
    def movable(self) -> tuple[tuple[str, str], ...]:
        """Workflow id and run id of each run that the target's code can go on with."""
        return tuple((run.workflow_id, run.run_id) for run in self.runs if run.ok)


def refusing_drift(verification: Verification) -> Verification:
    """The same, where other arguments are as bad as another order of steps."""
    runs = (
        replace(run, ok=False, error=run.drift) if run.ok and run.drift else run
        for run in verification.runs
    )
    return replace(verification, runs=tuple(runs))


def summary(verification: Verification) -> str:
    """The outcome in one line."""
    source, target, runs = verification.source, verification.target, verification.runs
    if verification.untried:
        return verification.untried
    left_out = len(verification.left_out)
    beside = f"; {_runs(left_out)} left out" if left_out else ""
    if not runs and left_out:
        return f"no run of {source} could be replayed on {target}: {verification.left_out[0]}"
    if not runs:
        return f"passed: {source} has no run to replay on {target}{beside}"
    if verification.passed:
        drifted = verification.drifted
        told = f"; {_drift(drifted[0])} ({len(drifted)} of {_runs(len(runs))})" if drifted else ""
        return f"passed: {_runs(len(runs))} of {source} replay on {target}{told}{beside}"
    broken = verification.broken
    more = f" ({len(broken)} of {_runs(len(runs))} break)" if len(runs) > 1 else ""
    return f"{_sentence(broken[0], target)}{more}{beside}"


def as_json(verification: Verification) -> dict[str, Any]:
    """The outcome as scripts read it."""
    return {
        "source": verification.source,
        "target": verification.target,
        "passed": verification.passed,
        "runs": [
            {
                "workflow_id": run.workflow_id,
                "run_id": run.run_id,
                "workflow_type": run.workflow_type,
                "ok": run.ok,
                "event_id": run.event_id,
                "error": run.error,
                "drift": run.drift,
            }
            for run in verification.runs
        ],
        "left_out": list(verification.left_out),
        "untried": verification.untried,
    }


def render(verification: Verification) -> RenderableType:
    """The outcome for a person: the line of `summary`, a count by type, each run that breaks."""
    head = Text(summary(verification), "green" if verification.passed else "red")
    lines: list[RenderableType] = [head]
    if verification.runs:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("WORKFLOW")
        table.add_column("REPLAYED", justify="right")
        table.add_column("BREAK", justify="right")
        for name in sorted({run.workflow_type for run in verification.runs}):
            runs = [run for run in verification.runs if run.workflow_type == name]
            table.add_row(name, str(len(runs)), str(sum(not run.ok for run in runs)))
        lines += [Text(), table]
    if verification.broken:
        lines.append(Text())
    lines += [Text(f"- {_sentence(run, verification.target)}") for run in verification.broken]
    lines += [Text(f"~ {_drift(run)}", "yellow") for run in verification.drifted]
    lines += [Text(f"! {reason}", "yellow") for reason in verification.left_out]
    return Group(*lines)


def _sentence(run: Replayed, target: str) -> str:
    place = f" at event {run.event_id}" if run.event_id else ""
    return f"{run.workflow_id} ({run.workflow_type}) breaks on {target}{place}: {run.error}"


def _drift(run: Replayed) -> str:
    place = f" at event {run.event_id}" if run.event_id else ""
    return f"{run.workflow_id} ({run.workflow_type}) gets other arguments{place}: {run.drift}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
