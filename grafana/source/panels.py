"""The few kinds of panels that the dashboards are made of, each with this project's looks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.source.colours import build_overrides

__all__ = ["DATASOURCE", "Panel", "Query", "graph", "number", "query", "share", "timeline", "word"]

# The SDK's builders are generated and share no class of their own for these.
Panel = Any
Query = Any

DATASOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")

_HEIGHT = 8
_HALF = 12  # of the 24 columns
_DASHED = [DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})]


def query(expression: str, legend: str = "{{build_id}}", ref_id: str = "A") -> Query:
    """A range query; without an explicit refId Grafana would drop all queries but one."""
    return (
        prometheus.Dataquery()
        .datasource(DATASOURCE)
        .ref_id(ref_id)
        .expr(expression)
        .legend_format(legend)
        .format(PromQueryFormat.TIME_SERIES)
        .range()
    )


def graph(
    title: str, description: str, *queries: Query, unit: str = "short", dashed: str = ""
) -> Panel:
    """Lines over time; each build in its colour. Series that match ``dashed`` get dashed lines."""
    panel = _described(timeseries.Panel(), title, description, queries)
    panel = (
        panel.height(_HEIGHT)
        .span(_HALF)
        .unit(unit)
        .min(0)
        .line_width(2)
        .show_points(VisibilityMode.NEVER)
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .legend(
            build_common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            build_common.VizTooltipOptions()
            .mode(TooltipDisplayMode.MULTI)
            .sort(SortOrder.DESCENDING)
        )
    )
    for pattern, properties in build_overrides():
        panel = panel.override_by_regexp(pattern, properties)
    return panel.override_by_regexp(dashed, _DASHED) if dashed else panel


def share(title: str, description: str, expression: str) -> Panel:
    """A whole, 0 to 100 %, and each build's part of it, stacked."""
    return (
        graph(title, description, query(expression), unit="percentunit")
        .max(1)
        .line_interpolation(LineInterpolation.STEP_AFTER)
        .fill_opacity(60)
        .stacking(build_common.StackingConfig().mode(StackingMode.NORMAL))
    )


def timeline(title: str, description: str, source: Query, mapping: ValueMap) -> Panel:
    """One bar a series: in which state it was when."""
    return (
        _described(statetimeline.Panel(), title, description, [source])
        .height(_HEIGHT)
        .span(_HALF)
        .unit("none")
        .mappings([mapping])
        .merge_values(True)
        .show_value(VisibilityMode.AUTO)
        .row_height(0.8)
        .fill_opacity(80)
        .line_width(0)
        .legend(build_common.VizLegendOptions().show_legend(False))
    )


def number(title: str, description: str, expression: str) -> Panel:
    """One figure that should be 0: green while it is, red when it is not."""
    steps = [Threshold(value=None, color="green"), Threshold(value=1, color="red")]
    return _stat(title, description, query(expression, title)).thresholds(
        ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
    )


def word(title: str, description: str, expression: str, label: str) -> Panel:
    """The value that a label has now."""
    return (
        _stat(title, description, query(expression, f"{{{{{label}}}}}"))
        .text_mode(BigValueTextMode.NAME)
        .color_scheme(FieldColor().mode(FieldColorModeId.FIXED).fixed_color("text"))
    )


def _stat(title: str, description: str, source: Query) -> Panel:
    return (
        _described(stat.Panel(), title, description, [source.instant()])
        .height(4)
        .span(4)
        .unit("none")
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE)
        .reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _described(panel: Panel, title: str, description: str, queries: Iterable[Query]) -> Panel:
    panel = panel.title(title).description(description).datasource(DATASOURCE)
    for source in queries:
        panel = panel.with_target(source)
    return panel
