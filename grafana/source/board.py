"""What all dashboards share: variables, links, annotations, and how rows are put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from grafana.source.panels import DATASOURCE, Panel
from grafana.source.queries import BUILD, SCOPE
from rollout.prometheus.promql import pattern, selector

__all__ = ["Section", "board", "build_variable", "type_variable"]

_TAG = "rollout"
_ALL = ".+"
_TEMPORAL_UI = "http://127.0.0.1:8233"


@dataclass(frozen=True)
class Section:
    """A row and its panels."""

    title: str
    panels: Iterable[Panel]
    hidden: bool = False
    """Whether the row is shut until it is clicked on; nothing is asked for it until then."""


def board(
    uid: str,
    title: str,
    description: str,
    sections: Iterable[Section],
    variables: Iterable[build.QueryVariable] = (),
) -> Dashboard:
    """A whole dashboard. Each has the variables datasource, namespace and deployment."""
    made = (
        build.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["temporal", _TAG])
        .time("now-15m", "now")
        .refresh("5s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )
    for variable in (_datasource(), _namespace(), _deployment(), *variables, *_addresses()):
        made = made.with_variable(variable)
    for link in _links():
        made = made.link(link)
    for annotation in _annotations():
        made = made.annotation(annotation)
    ids = iter(range(1, 1000))  # an id that stays the same keeps links to a panel alive
    for section in sections:
        row = build.Row(section.title).id(next(ids))
        panels = [panel.id(next(ids)) for panel in section.panels]
        if section.hidden:
            for panel in panels:
                row = row.with_panel(panel)
        made = made.with_row(row)
        for panel in () if section.hidden else panels:
            made = made.with_panel(panel)
    return made.build()


def _datasource() -> build.DatasourceVariable:
    """Which Prometheus; on import it is asked for, and where it is provisioned the default's."""
    return build.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _namespace() -> build.QueryVariable:
    versions = selector("temporal_worker_deployment_version_status", job="exporter")
    return (
        _variable("namespace", f"label_values({versions}, namespace)")
        .label("Namespace")
        .current(VariableOption(selected=True, text="default", value="default"))
    )


def _deployment() -> build.QueryVariable:
    versions = selector(
        "temporal_worker_deployment_version_status", job="exporter", namespace="$namespace"
    )
    return (
        _variable("deployment", f"label_values({versions}, deployment_name)")
        .label("Deployment")
        .current(VariableOption(selected=True, text="greetings", value="greetings"))
    )


def build_variable() -> build.QueryVariable:
    """Which builds, all by default."""
    versions = selector("temporal_worker_deployment_version_status", job="exporter", **SCOPE)
    return _all(
        _variable("build", f"label_values({versions}, build_id)").label("Build").multi(True)
    )


def type_variable() -> build.QueryVariable:
    """Which workflow type, all by default."""
    # A counter ends in _total or not, as the SDK has it.
    named = pattern("temporal_workflow_completed(_total)?")
    completed = selector("", __name__=named, job="worker", **SCOPE, build_id=BUILD)
    return _all(
        _variable("workflow_type", f"label_values({completed}, workflow_type)")
        .label("Workflow type")
        .description("A type that takes next to no time shows best who gets new runs.")
    )


def _addresses() -> Iterator[build.QueryVariable | build.TextBoxVariable]:
    """Where the pages are that the links lead to."""
    pages = selector("up", job="rollout")
    yield (
        _variable("controller", f"label_values({pages}, instance)")
        .label("Controller")
        .hide(VariableHide.HIDE_VARIABLE)
    )
    yield (
        build.TextBoxVariable("ui")
        .label("Temporal's UI")
        .default_value(_TEMPORAL_UI)
        .current(VariableOption(selected=True, text=_TEMPORAL_UI, value=_TEMPORAL_UI))
    )


def _variable(name: str, query: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _all(variable: build.QueryVariable) -> build.QueryVariable:
    """With *All* chosen, and one short expression for it however many there are."""
    chosen = VariableOption(selected=True, text="All", value="$__all")
    return variable.include_all(True).all_value(_ALL).current(chosen)


def _links() -> Iterator[build.DashboardLink]:
    yield (
        build.DashboardLink("Dashboards")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([_TAG])
        .include_vars(True)
        .keep_time(True)
    )
    yield (
        build.DashboardLink("Controller's page")
        .type(DashboardLinkType.LINK)
        .icon("external link")
        .tooltip("The rollout as its controller tells it, with its reports")
        .url("http://${controller}/")
        .target_blank(True)
    )
    yield (
        build.DashboardLink("Runs in Temporal")
        .type(DashboardLinkType.LINK)
        .icon("external link")
        .tooltip("All runs of the deployment's versions, in Temporal's UI")
        .url(
            "${ui}/namespaces/${namespace:percentencode}/workflows?query="
            "TemporalWorkerDeployment%3D%22${deployment:percentencode}%22"
        )
        .target_blank(True)
    )


def _annotations() -> Iterator[build.AnnotationQuery]:
    """Each is a gauge that holds the time of an event, so that it is marked to the second.

    Grafana asks for about a hundred moments, of 30 days every 12 hours, and makes one of what
    follows in the same series within that time; after the last moment it asks for nothing. So each
    moment tells of all series that there were until the next one, and what may follow soon is a
    series of its own: a routing change by its build and its percentage.
    """
    yield _annotation(
        "Routing changes",
        "green",
        # Clearing a ramp is a change too, to no build at all.
        "label_replace(max by (kind, build_id, percentage) ("
        + _until_the_next(
            selector(
                "temporal_worker_deployment_routing_change_time_seconds", job="exporter", **SCOPE
            )
        )
        + ') * 1000, "build_id", "nobody", "build_id", "")',
        "{{kind}}: {{build_id}} {{percentage}} %",
    )
    yield _annotation(
        "Blocked",
        "red",
        "max by (kind) ("
        + _until_the_next(
            selector("rollout_reason_since_seconds", job="rollout", **SCOPE, phase="blocked")
        )
        + ") * 1000",
        "blocked: {{kind}}",
    )
    yield _annotation("Worker starts", "blue", _of_workers("start"), "{{program}} started")
    yield _annotation("Worker stops", "orange", _of_workers("stop"), "{{program}} stopped")


def _annotation(name: str, colour: str, expression: str, title: str) -> build.AnnotationQuery:
    return (
        build.AnnotationQuery()
        .name(name)
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color(colour)
        .expr(expression)
        .step("2s")  # the least one: Grafana takes 60 s otherwise
        .title_format(title)
        .use_value_for_time(True)
    )


def _until_the_next(series: str) -> str:
    return f"max_over_time({series}[$__rate_interval] offset -$__interval)"


def _of_workers(event: str) -> str:
    """When each worker of the deployment last started or stopped, by supervisord, in ms."""
    times = _until_the_next(selector(f"supervisord_process_{event}_time_seconds", job="exporter"))
    # supervisorctl calls a process by its name, or GROUP:NAME, and so do the targets.
    alone = f'label_replace({times}, "program", "$1", "name", "(.+)")'
    grouped = f'label_join({times}, "program", ":", "group", "name")'
    ours = (
        "max by (program) (last_over_time("
        + selector("up", job="worker", deployment_name="$deployment")
        + "[$__rate_interval] offset -$__interval))"
    )
    return f"max by (instance, program) (({alone} or {grouped}) and on (program) {ours}) * 1000"
