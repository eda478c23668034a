"""The panels of what fails of each build, which two dashboards have under their own titles."""

from __future__ import annotations

from collections.abc import Iterator

from grafana.source.panels import Panel, graph, query
from grafana.source.queries import failed_ratio

__all__ = ["failures"]

_KINDS = (
    ("activity_execution_failed", "activity_execution", "activities"),
    ("workflow_task_execution_failed", "workflow_task_execution", "workflow tasks"),
    ("workflow_failed", "workflow_endtoend", "workflows that ended"),
)


def failures(*titles: str, span: int) -> Iterator[Panel]:
    """A panel each for activities, workflow tasks and workflows, in this order."""
    for title, (failed, work, told) in zip(titles, _KINDS, strict=True):
        yield graph(
            title,
            f"The part of the {told} of each build that failed.",
            query(failed_ratio(failed, work)),
            unit="percentunit",
            span=span,
        )
