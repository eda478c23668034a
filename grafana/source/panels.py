"""The few kinds of panels that the dashboards are made of, each with this project's looks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    DashboardLink,
    FieldColor,
    ThresholdsConfig,
)
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
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.source.colours import build_overrides

__all__ = [
    "DATASOURCE",
    "Panel",
    "Query",
    "amount",
    "code",
    "graph",
    "number",
    "query",
    "share",
    "timeline",
    "word",
]

# The SDK's builders are generated and share no class of their own for these.
Panel = Any
Query = Any

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

_HEIGHT = 8
_HALF = 12  # of the 24 columns
_DASHED = [DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})]
_RUNS = (
    "${ui}/namespaces/${namespace:percentencode}/workflows?query=TemporalWorkerDeploymentVersion%3D%22"
    "${deployment:percentencode}%3A${__field.labels.build_id}%22"
)


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
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    dashed: str = "",
    span: int = _HALF,
) -> Panel:
    """Lines over time; each build in its colour. Series that match ``dashed`` get dashed lines."""
    panel = _described(timeseries.Panel(), title, description, queries)
    panel = (
        panel.height(_HEIGHT)
        .span(span)
        .unit(unit)
        .min(0)
        .line_width(2)
        .show_points(VisibilityMode.AUTO)
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


def timeline(
    title: str, description: str, mapping: ValueMap, *queries: Query, span: int = _HALF
) -> Panel:
    """One bar a series: in which state it was when."""
    return (
        _described(statetimeline.Panel(), title, description, queries)
        .height(_HEIGHT)
        .span(span)
        .unit("none")
        .mappings([mapping])
        .merge_values(True)
        .show_value(VisibilityMode.AUTO)
        .row_height(0.8)
        .fill_opacity(80)
        .line_width(0)
        .legend(build_common.VizLegendOptions().show_legend(False))
    )


def number(title: str, description: str, expression: str, span: int = 4) -> Panel:
    """One figure that should be 0: green while it is, red when it is not."""
    steps = [Threshold(value=None, color="green"), Threshold(value=1, color="red")]
    return _stat(title, description, query(expression, title), span=span).thresholds(
        ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
    )


def amount(  # noqa: PLR0913 - each is a word of the panel
    title: str,
    description: str,
    expression: str,
    legend: str = "{{build_id}}",
    *,
    unit: str = "short",
    none: str = "",
    span: int = 3,
) -> Panel:
    """A figure of each series, with its name; ``none`` is shown where there is none."""
    panel = (
        _stat(title, description, query(expression, legend), span=span)
        .unit(unit)
        .text_mode(BigValueTextMode.VALUE_AND_NAME)
        .color_scheme(FieldColor().mode(FieldColorModeId.FIXED).fixed_color("text"))
        .no_value(none)
    )
    for pattern, properties in build_overrides():
        panel = panel.override_by_regexp(pattern, properties)
    return panel


def code(  # noqa: PLR0913 - each is a word of the panel
    title: str,
    description: str,
    mapping: ValueMap,
    expression: str,
    legend: str = "",
    *,
    none: str = "",
    span: int = 3,
) -> Panel:
    """What each series is at, in words and colours; with ``legend`` its name beside."""
    mode = BigValueTextMode.VALUE_AND_NAME if legend else BigValueTextMode.VALUE
    return (
        _stat(title, description, query(expression, legend or title), span=span)
        .text_mode(mode)
        .mappings([mapping])
        .no_value(none)
    )


def word(title: str, description: str, expression: str, label: str, span: int = 4) -> Panel:
    """The value that a label has now."""
    return (
        _stat(title, description, query(expression, f"{{{{{label}}}}}"), span=span)
        .text_mode(BigValueTextMode.NAME)
        .color_scheme(FieldColor().mode(FieldColorModeId.FIXED).fixed_color("text"))
    )


def _stat(title: str, description: str, source: Query, span: int) -> Panel:
    return (
        _described(stat.Panel(), title, description, [source.instant()])
        .height(5)
        .span(span)
        .unit("none")
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE)
        .orientation(VizOrientation.HORIZONTAL)
        .reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _described(panel: Panel, title: str, description: str, queries: Iterable[Query]) -> Panel:
    panel = panel.title(title).description(description).datasource(DATASOURCE)
    of_builds = True
    for source in queries:
        panel = panel.with_target(source)
        of_builds = of_builds and "{{build_id}}" in source.build().legend_format
    return panel.data_links([_runs()]) if of_builds else panel


def _runs() -> DashboardLink:
    """The runs of the build that was clicked on, where Temporal shows them."""
    return (
        DashboardLink("Runs of this build in Temporal's UI")
        .type(DashboardLinkType.LINK)
        .url(_RUNS)
        .target_blank(True)
    )
