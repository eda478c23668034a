"""The rules of Grafana's dashboard-linter, as far as they make sense here, on a dashboard's JSON.

Each rule has the linter's own name. Left out are those of Loki and of native histograms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.dashboards import panels

__all__ = ["EXCEPTIONS", "Finding", "lint"]

_DATASOURCE = "${datasource}"
_RATED = re.compile(r"\b(rate|increase|irate|deriv)\(.*?\[(.+?)\]")
_COUNTER = re.compile(r"\w+_total\{")


@dataclass(frozen=True)
class Finding:
    """One thing that a rule has found."""

    rule: str
    where: str
    """The dashboard, or the dashboard and the panel's title or the variable's name."""


EXCEPTIONS: Mapping[Finding, str] = {
    Finding("target-counter-agg-rule", "switchover: Runs not completed"): (
        "how many since the load was started is the question"
    ),
    Finding("target-counter-agg-rule", "switchover: Crossed versions"): (
        "how many since the load was started is the question"
    ),
    Finding("target-rate-interval-rule", "switchover: Drained in"): (
        "a pace is of some minutes, whatever the screen's width"
    ),
    Finding("target-rate-interval-rule", "stack: Process starts"): "its title says: in 5 min",
    Finding("target-rate-interval-rule", "stack: Unexpected exits"): "its text says: in 5 min",
    Finding("target-rate-interval-rule", "stack: Rules that failed"): "its text says: in 5 min",
    Finding("target-job-rule", "stack: Targets down"): "it is about all jobs",
    Finding("target-job-rule", "stack: Targets"): "it is about all jobs",
    Finding("target-job-rule", "stack: Time of a scrape"): "it is about all jobs",
    Finding("target-job-rule", "stack: Age of what is known"): "two jobs tell of it, side by side",
    Finding("target-job-rule", "stack: Firing alerts"): "an alert has the job of what it is about",
    Finding("target-job-rule", "stack: Alerts over time"): (
        "an alert has the job of what it is about"
    ),
    **{
        Finding("template-job-rule", name): "each series names its job: nobody has to choose one"
        for name in ("switchover", "workers", "stack")
    },
    **{
        Finding("template-instance-rule", name): (
            "what matters is a build, whichever of its processes; processes go by their names"
        )
        for name in ("switchover", "workers", "stack")
    },
    **{
        Finding("uneditable-dashboard", name): (
            "an imported copy is its reader's to change; what is provisioned cannot be saved"
        )
        for name in ("switchover", "workers", "stack")
    },
}
"""What is so on purpose, and why."""


def lint(name: str, board: Mapping[str, Any]) -> Iterator[Finding]:
    """All that the rules have against the dashboard ``name``."""
    yield from _variables(name, board)
    if board["editable"]:
        yield Finding("uneditable-dashboard", name)
    for panel in panels(board):
        where = f"{name}: {panel['title']}"
        yield from (Finding(rule, where) for rule in _panel(panel))
        for target in panel["targets"]:
            yield from (Finding(rule, where) for rule in _target(target))


def _variables(name: str, board: Mapping[str, Any]) -> Iterator[Finding]:
    variables = {each["name"]: each for each in board["templating"]["list"]}
    source = variables.get("datasource")
    if not source or (source["type"], source["query"], source["label"]) != (
        "datasource",
        "prometheus",
        "Data source",
    ):
        yield Finding("template-datasource-rule", name)
    for wanted in ("job", "instance"):
        if wanted not in variables:
            yield Finding(f"template-{wanted}-rule", name)
    for variable in variables.values():
        if variable["type"] != "query":
            continue
        where = f"{name}: ${variable['name']}"
        if variable["refresh"] != 2:
            yield Finding("template-on-time-change-reload-rule", where)
        if variable["datasource"]["uid"] != _DATASOURCE:
            yield Finding("template-datasource-rule", where)
        if not re.fullmatch(r"label_values\(\w*\{.+\}, \w+\)", variable["query"]):
            yield Finding("template-label-promql-rule", where)


def _panel(panel: Mapping[str, Any]) -> Iterator[str]:
    if panel["datasource"]["uid"] != _DATASOURCE:
        yield "panel-datasource-rule"
    if not panel["title"] or not panel["description"].endswith("."):
        yield "panel-title-description-rule"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "panel-units-rule"
    if not panel["targets"]:
        yield "panel-no-targets-rule"


def _target(target: Mapping[str, Any]) -> Iterator[str]:
    expression = target["expr"]
    if target["datasource"]["uid"] != _DATASOURCE:
        yield "panel-datasource-rule"
    plain = _without_grouping(expression)
    if not all('job="' in labels for _, labels in _selectors(plain)):
        yield "target-job-rule"
    if any(window != "$__rate_interval" for _, window in _RATED.findall(expression)):
        yield "target-rate-interval-rule"
    for found in _COUNTER.finditer(expression):
        if not re.search(r"\b(rate|increase|irate)\($", expression[: found.start()]):
            yield "target-counter-agg-rule"
            return


def _without_grouping(expression: str) -> str:
    """The query without what only looks like a metric: grouping clauses."""
    return re.sub(r"\b(by|on|without|group_left) \([^)]*\)", "", expression)


def _selectors(expression: str) -> Iterator[tuple[str, str]]:
    """Each metric with its labels, in braces or empty."""
    named = r"(?:temporal|supervisord|client|rollout|prometheus|scrape)_\w+|\bup\b|\bALERTS\b"
    for found in re.finditer(rf"(?<![:\w\"$])({named})(\{{[^}}]*\}})?", expression):
        yield found[1], found[2] or ""
