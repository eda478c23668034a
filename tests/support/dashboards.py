"""The dashboards as Grafana has them: each panel, variable and annotation, with what it asks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rollout.base.settings import ROOT

__all__ = ["BOARDS", "FOLDER", "Asked", "asked", "expressions", "panels"]

FOLDER = ROOT / "grafana" / "dashboards"
BOARDS: Mapping[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}


@dataclass(frozen=True)
class Asked:
    """One question of a dashboard to Prometheus."""

    board: str
    where: str
    """The panel's title and the query's letter, or the annotation's or variable's name."""
    text: str
    """With its variables."""
    labels: tuple[str, ...]
    """Those that its legend, or its title, uses."""

    @property
    def name(self) -> str:
        """What to call it in a test's report."""
        return f"{self.board}: {self.where}"

    def filled(
        self,
        *,
        namespace: str = "default",
        deployment: str = "greetings",
        build: str = ".+",
        interval: str = "10s",
        rate_interval: str = "20s",
    ) -> str:
        """The expression as Grafana sends it, with these values of its variables."""
        values = {
            "namespace": namespace,
            "deployment": deployment,
            "build": build,
            "workflow_type": ".+",
            "__interval": interval,
            "__rate_interval": rate_interval,
        }
        return re.sub(r"\$(\w+)", lambda found: values.get(found[1], found[0]), self.text)


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Its panels, those of shut rows too, without the rows."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def asked() -> Iterator[Asked]:
    """Each panel's queries, and each annotation, of all dashboards."""
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                where = f"{panel['title']} {target['refId']}"
                yield Asked(name, where, target["expr"], _labels(target["legendFormat"]))
        for each in board["annotations"]["list"]:
            yield Asked(name, f"@{each['name']}", each["expr"], _labels(each["titleFormat"]))


def expressions() -> Iterator[Asked]:
    """The series that each variable gets its values from, and which label holds them."""
    for name, board in BOARDS.items():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                series, label = re.fullmatch(
                    r"label_values\((.+), (\w+)\)", variable["query"]
                ).groups()  # type: ignore[union-attr]
                yield Asked(name, f"${variable['name']}", series, (label,))


def _labels(template: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\{\{(\w+)\}\}", template))
