"""The shipped alerts, and what promtool is to see them do: a case each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rollout.base.settings import ROOT

__all__ = ["RULES", "Alert", "Case", "alerts", "recordings", "seconds", "unit_tests"]

RULES = ROOT / "metrics" / "rules"

_TEMPLATE = re.compile(r"\{\{ \$labels\.(\w+) \}\}")


@dataclass(frozen=True)
class Alert:
    """One rule that alerts."""

    name: str
    rule: Mapping[str, Any]
    """As its file has it."""

    @property
    def expression(self) -> str:
        """In PromQL, without its comments."""
        expression: str = self.rule["expr"]
        return expression

    @property
    def annotations(self) -> Mapping[str, str]:
        """What is told with it."""
        annotations: Mapping[str, str] = self.rule["annotations"]
        return annotations

    @property
    def labels(self) -> Mapping[str, str]:
        """What it is routed by, beside the labels of its series."""
        labels: Mapping[str, str] = self.rule["labels"]
        return labels

    @property
    def runbook(self) -> str:
        """Where to read on, from the root of the repository."""
        return f"docs/runbooks.md#{self.name.lower()}"


@dataclass(frozen=True)
class Case:
    """What is put into the series, and when the alert then fires."""

    alert: str
    name: str
    """What happens, in words."""
    series: Mapping[str, str]
    """The values of each, as promtool's tests write them."""
    interval: str = "5s"
    """How long there is between two values."""
    quiet: Sequence[str] = ()
    """When it does not fire, before or after."""
    fires: str | None = None
    """When it fires; None: never."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those of the alert that fires, beside those of its rule."""
    summary: str = ""

    @property
    def recovers(self) -> bool:
        """Whether it is seen to fire, and before and after that to be quiet."""
        if self.fires is None:
            return False
        fired = seconds(self.fires)
        times = [seconds(each) for each in self.quiet]
        return any(each < fired for each in times) and any(each > fired for each in times)

    def expected(self, alert: Alert, runbooks: str) -> Iterator[dict[str, Any]]:
        """What promtool is to expect, a time each."""
        for time in self.quiet:
            yield {"eval_time": time, "alertname": self.alert, "exp_alerts": []}
        if self.fires is not None:
            action = _TEMPLATE.sub(lambda found: self.labels[found[1]], alert.annotations["action"])
            fired = {
                "exp_labels": {**alert.labels, **self.labels},
                "exp_annotations": {
                    "summary": self.summary,
                    "action": action,
                    "runbook_url": f"{runbooks}{alert.runbook}",
                },
            }
            yield {"eval_time": self.fires, "alertname": self.alert, "exp_alerts": [fired]}


def alerts() -> dict[str, Alert]:
    """Every one that is shipped, by its name."""
    return {rule["alert"]: Alert(rule["alert"], rule) for rule in _rules() if "alert" in rule}


def recordings() -> dict[str, str]:
    """The expression of everything that is recorded, by its name."""
    return {rule["record"]: rule["expr"] for rule in _rules() if "record" in rule}


def seconds(duration: str) -> int:
    """Of a duration as promtool's tests write it: ``1h2m30s``."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", duration))


def unit_tests(folder: Path, cases: Iterable[Case], runbooks: str = "") -> list[Path]:
    """Files for `promtool test rules`, a case each, with that case's rule alone: so it is quick.

    ``runbooks`` is the external label of that name, if it is set.
    """
    known, recorded = alerts(), recordings()
    written = []
    for number, case in enumerate(cases):
        alert = known[case.alert]
        read = [
            {"record": name, "expr": expression}
            for name, expression in recorded.items()
            if name in alert.expression and not any(name in series for series in case.series)
        ]
        rules = {"groups": [{"name": case.alert, "rules": [*read, alert.rule]}]}
        test = {
            "name": f"{case.alert}: {case.name}",
            "interval": case.interval,
            "external_labels": {"runbooks": runbooks} if runbooks else {},
            "input_series": [
                {"series": series, "values": values} for series, values in case.series.items()
            ],
            "alert_rule_test": list(case.expected(alert, runbooks)),
        }
        rule_file, test_file = folder / f"{number}.rules.yml", folder / f"{number}.test.yml"
        rule_file.write_text(json.dumps(rules))  # JSON is YAML too
        test_file.write_text(
            json.dumps(
                {
                    "rule_files": [rule_file.name],
                    "evaluation_interval": case.interval,
                    "tests": [test],
                }
            )
        )
        written.append(test_file)
    return written


def _rules() -> Iterator[Mapping[str, Any]]:
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]
