"""Grafana's published schema of dashboards, as far as it names what may be in one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rollout.base.settings import ROOT
from tests.support.dashboards import panels

__all__ = ["EXCEPTIONS", "SCHEMAS", "unknown"]

_Schema = Mapping[str, Mapping[str, str]]

SCHEMAS: Mapping[str, _Schema] = {
    version: schema
    for version, schema in json.loads(
        (ROOT / "tests" / "fixtures" / "grafana" / "schema.json").read_text()
    ).items()
    if version != "about"
}
"""By version of the package @grafana/schema: the interfaces' properties, each with the interface of
its value where that has one."""

EXCEPTIONS: Mapping[str, str] = {
    **{
        f"AnnotationQuery.{name}": "Grafana's own Prometheus plugin reads it"
        for name in ("expr", "step", "titleFormat", "useValueForTime")
    },
    **{
        f"VariableModel.{name}": "grafana-foundation-sdk writes it, and nothing reads it"
        for name in ("auto", "auto_count", "auto_min")
    },
}
"""What the schema does not name, and why it is there."""

_NOT_NAMED = ("ValueMap", "MatcherConfig")
"""Of these the schema has several shapes, or the list's items hold them."""


def unknown(version: str, board: Mapping[str, Any]) -> set[str]:
    """The properties in ``board`` that this version's schema does not have."""
    schema = SCHEMAS[version]
    found = {*_unknown(schema, "Dashboard", {**board, "panels": []})}
    for variable in board["templating"]["list"]:
        found.update(_unknown(schema, "VariableModel", variable))
    for row in board["panels"]:
        if row["type"] == "row":
            found.update(_unknown(schema, "RowPanel", {**row, "panels": []}))
    for panel in panels(board):
        kind, config = panel["type"].replace("-", ""), panel["fieldConfig"]["defaults"]
        outer = {**panel, "fieldConfig": {**panel["fieldConfig"], "defaults": {}}}
        found.update(_unknown(schema, "Panel", outer))
        found.update(_unknown(schema, "FieldConfig", config))
        found.update(_unknown(schema, f"{kind}.Options", panel["options"]))
        if "custom" in config:
            found.update(_unknown(schema, f"{kind}.FieldConfig", config["custom"]))
    return found


def _unknown(schema: _Schema, name: str, node: object) -> Iterator[str]:
    if isinstance(node, list):
        for each in node:
            yield from _unknown(schema, name, each)
    if not isinstance(node, dict) or name in _NOT_NAMED:
        return
    for key, value in node.items():
        if key not in schema[name]:
            yield f"{name}.{key}"
        elif inner := schema[name][key]:
            yield from _unknown(schema, inner, value)
