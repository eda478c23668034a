"""What `rollout status --versioning version-sets` shows."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rollout.commands.status_table import count, verdict_lines
from rollout.core.version_sets import Build, VersionSets, safe_to_stop

__all__ = ["as_json", "render"]

_PLACES = {
    "default": "new runs and its set's",
    "set-default": "its set's runs",
    "superseded": "nothing",
}


def as_json(seen: VersionSets) -> dict[str, Any]:
    """The status as scripts read it; sets and their builds oldest first."""
    return {
        "namespace": seen.namespace,
        "task_queue": seen.task_queue,
        "default": seen.default,
        "not_begun": seen.not_begun,
        "problems": list(seen.problems),
        "sets": [
            {
                "default": version_set is seen.sets[-1],
                "builds": [_build(seen, build) for build in version_set],
            }
            for version_set in seen.sets
        ],
    }


def _build(seen: VersionSets, build: Build) -> dict[str, Any]:
    verdict = safe_to_stop(seen, build.build_id)
    return {
        "build_id": build.build_id,
        "place": build.place,
        "open_runs": build.open_runs,
        "workers": build.workers,
        "safe_to_stop": verdict.safe_to_stop,
        "evidence": [
            {"check": point.check, "ok": point.ok, "detail": point.detail}
            for point in verdict.evidence
        ],
    }


def render(seen: VersionSets) -> RenderableType:
    """The status for a person, fit for 80 columns."""
    head = Text.assemble(
        "version sets of task queue ", (seen.task_queue, "bold"), f"  namespace {seen.namespace}"
    )
    if not seen.sets:
        return Group(
            head, Text("no build is registered: start a worker with --versioning version-sets")
        )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("SET", "BUILD", "TAKES"):
        table.add_column(name)
    for name in ("OPEN", "WORKERS"):
        table.add_column(name, justify="right")
    verdicts: list[Text] = []
    for version_set in seen.sets:
        for build in version_set:
            table.add_row(
                version_set[0].build_id,
                build.build_id,
                _PLACES[build.place],
                count(build.open_runs),
                count(build.workers),
            )
            verdicts += verdict_lines(safe_to_stop(seen, build.build_id))
    waiting = Text(f"runs that have not begun: {count(seen.not_begun)}")
    problems = [Text(f"! {problem}", "yellow") for problem in seen.problems]
    return Group(head, Text(), table, waiting, Text(), *verdicts, *problems)
