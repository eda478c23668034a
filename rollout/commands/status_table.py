"""The status for a person: an observation, the plan made from it, each version's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.hosts import hosts_shown
from rollout.core.observation import Observation
from rollout.core.shares import real_samples, real_share
from rollout.core.verdict import (
    Verdict,
    queries_hang,
    safe_to_stop,
    target_share,
    version_set_of,
    warnings,
)

__all__ = ["as_table", "count", "verdict_lines"]


def as_table(
    config: RolloutConfig,
    seen: Observation,
    decided: Plan,
    now: datetime,
    told: Sequence[str] = (),
) -> RenderableType:
    """The status for a person, fit for 80 columns."""
    target = config.deployment.target
    head = Text.assemble(
        "deployment ", (seen.deployment, "bold"),
        f"  namespace {seen.namespace}  target ", (target, "bold"),
    )  # fmt: skip
    phase = Text.assemble((decided.phase, "bold"), ": ", decided.reason)
    table = Table(box=None, pad_edge=False, header_style="dim")
    # Most deployments are pinned throughout, and 80 columns are few.
    mixed = any(version.behavior not in (None, "pinned") for version in seen.versions)
    for name in ("BUILD", "STATUS", "STRATEGY", *(["BEHAVIOR"] if mixed else []), "SET"):
        table.add_column(name)
    hosts = seen.hosts != ()
    for name in ("NEW RUNS", "OPEN", "WORKERS", *(["HOSTS"] if hosts else [])):
        table.add_column(name, justify="right")
    # A controller beside hosts that run all has no process to show.
    here = not hosts or any(version.process for version in seen.versions)
    if here:
        table.add_column("PROCESS")
    verdicts: list[Text] = []
    for version in seen.versions:
        table.add_row(
            version.build_id,
            version.shown_status,
            version.strategy or "-",
            *([version.behavior or "-"] if mixed else []),
            version_set_of(seen, version.build_id),
            f"{target_share(seen, version.build_id):.0%}",
            count(version.open_runs),
            count(version.workers),
            *([hosts_shown(seen, version.build_id)] if hosts else []),
            *([version.process or "-"] if here else []),
        )
        verdicts += _really(seen, version.build_id)
        if own := version.behavior_exceptions:
            verdicts.append(Text(f"{version.build_id} has workflows of their own behavior: {own}"))
        if version.blocked:
            verdicts.append(Text(f"{version.build_id} is blocked: {version.blocked}", "yellow"))
        verdict = safe_to_stop(seen, version.build_id, target, now)
        verdicts += verdict_lines(verdict)
        if verdict.safe_to_stop and (lost := queries_hang(version)):
            verdicts.append(Text(f"  ! {lost}"))
    warned = [Text(f"! {text}", "yellow") for text in (*told, *warnings(seen), *seen.problems)]
    return Group(head, phase, *warned, Text(), table, Text(), *verdicts)


def _really(seen: Observation, build_id: str) -> list[Text]:
    """Which share of new runs a version really gets, while they are divided."""
    real = real_share(seen, build_id)
    if seen.ramping is None or real is None:
        return []
    meant, samples = target_share(seen, build_id), real_samples(seen)
    return [
        Text(f"{build_id} got {real:.0%} of {samples} new runs since the last change ({meant:.0%} "
             "are meant)")
    ]  # fmt: skip


def verdict_lines(verdict: Verdict) -> list[Text]:
    """The verdict's line, and below it the points that speak against; all of them where safe."""
    if verdict.safe_to_stop:
        line = Text.assemble((verdict.build_id, "bold"), " ", ("safe to stop", "green"))
    else:
        line = Text.assemble((verdict.build_id, "bold"), " ", ("not safe to stop", "red"))
    points = [point for point in verdict.evidence if verdict.safe_to_stop or not point.ok]
    return [line, *(Text(f"  {'+' if point.ok else '-'} {point.detail}") for point in points)]


def count(number: int | None) -> str:
    """``number``, or ``?`` where it is not known."""
    return "?" if number is None else str(number)
