"""The dashboards' JSON, judged as Grafana and its readers will."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from rollout.base.settings import ROOT
from rollout.core.actions import Phase
from rollout.core.verdict import safe_to_stop
from tests.support.dashboard_lint import EXCEPTIONS, lint
from tests.support.dashboards import BOARDS, FOLDER, panels
from tests.support.grafana_schema import EXCEPTIONS as EXTRAS
from tests.support.grafana_schema import SCHEMAS, unknown
from tests.support.synthetic_deployment import T0, seen, version

PANELS = [(name, panel) for name, board in BOARDS.items() for panel in panels(board)]

NO_NAMESPACE = {"temporal_worker_deployment_up", "rollout_observation_age_seconds"}
"""What there is before anything was seen in one."""

needs_sdk = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="grafana-foundation-sdk needs Python 3.11"
)


@needs_sdk
class TestSource:
    """The committed JSON and the Python that it comes from."""

    def test_json_is_what_the_source_says(self) -> None:
        """Regenerating changes nothing."""
        done = _source("--check")

        assert done.returncode == 0, done.stderr
        assert set(BOARDS) == {"stack", "switchover", "workers"}

    def test_a_difference_is_told_and_mended(self, tmp_path: Path) -> None:
        """--check fails on a file that was edited by hand, and without it the file is restored."""
        shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
        edited = tmp_path / "switchover.json"
        edited.write_text("{}\n")

        refused = _source("--check", "--folder", str(tmp_path))
        mended = _source("--folder", str(tmp_path))

        assert refused.returncode == 1
        assert refused.stderr == (
            f"grafana.source: {edited} is not what its source says; run python -m grafana.source\n"
        )
        assert mended.returncode == 0
        assert edited.read_text() == (FOLDER / "switchover.json").read_text()


class TestProvisioning:
    """What Grafana finds when it starts."""

    @pytest.mark.parametrize("name", BOARDS)
    def test_the_datasource_is_chosen(self, name: str) -> None:
        """Provisioned it is the default one, imported whichever the reader names."""
        used = {uid for _, uid in _values(BOARDS[name], "uid") if uid != name}

        assert used == {"${datasource}"}
        assert (
            "isDefault: true"
            in (ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text()
        )

    @pytest.mark.parametrize("name", BOARDS)
    def test_nothing_is_asked_for_that_an_import_would_not_know(self, name: str) -> None:
        """A dashboard has an own uid, no id of a database, and no input that only an import has."""
        board = BOARDS[name]

        assert board["uid"] == name
        assert not board.get("id")
        assert "__inputs" not in board
        assert board["schemaVersion"] >= 36

    @pytest.mark.parametrize("version", SCHEMAS)
    @pytest.mark.parametrize("name", BOARDS)
    def test_grafana_s_schema_knows_all_of_it(self, name: str, version: str) -> None:
        """What the schema that Grafana publishes does not name, it would ignore."""
        assert unknown(version, BOARDS[name]) == {*EXTRAS}

    def test_no_address_or_path_is_fixed(self) -> None:
        """Address and folder come from the environment, as supervisord sets it."""
        folder = ROOT / "grafana" / "provisioning"

        assert "url: ${PROMETHEUS_URL}\n" in (folder / "datasources/prometheus.yaml").read_text()
        assert "path: ${GRAFANA_DASHBOARDS}\n" in (folder / "dashboards/stack.yaml").read_text()

    def test_only_core_panels_are_used(self) -> None:
        """No plugin has to be installed."""
        assert {panel["type"] for _, panel in PANELS} == {"timeseries", "state-timeline", "stat"}


class TestPanels:
    """What a reader sees."""

    @pytest.mark.parametrize("name", BOARDS)
    def test_ids_and_titles_are_unique(self, name: str) -> None:
        """Grafana drops a panel whose id is taken; a title tells its panel from every other one."""
        every = [*BOARDS[name]["panels"], *_shut(BOARDS[name])]
        for what in ("id", "title"):
            values = [panel[what] for panel in every]
            assert len(set(values)) == len(values)

    @pytest.mark.parametrize("name", BOARDS)
    def test_panels_do_not_overlap_and_fit_the_grid(self, name: str) -> None:
        """Each panel has a place of its own within the 24 columns, and no row ends with a gap."""
        board = BOARDS[name]
        for group in (board["panels"], _shut(board)):
            for one, other in itertools.combinations(group, 2):
                assert not _overlap(one["gridPos"], other["gridPos"]), (
                    one["title"],
                    other["title"],
                )
            widths: dict[int, int] = {}
            for panel in group:
                place = panel["gridPos"]
                widths[place["y"]] = widths.get(place["y"], 0) + place["w"]
            assert set(widths.values()) <= {24}

    @pytest.mark.parametrize(("name", "panel"), PANELS, ids=lambda each: str(each)[:20])
    def test_queries_have_letters_and_names(self, name: str, panel: dict[str, Any]) -> None:
        """Without a letter of its own Grafana drops a query, without a legend nobody reads it."""
        references = [target["refId"] for target in panel["targets"]]

        assert len(set(references)) == len(references), (name, panel["title"])
        assert all(target["legendFormat"] for target in panel["targets"])

    @pytest.mark.parametrize("name", BOARDS)
    def test_the_rules_of_grafanas_linter(self, name: str) -> None:
        """They hold but for what is so on purpose, and each of these exceptions is needed."""
        found = set(lint(name, BOARDS[name]))
        excepted = {each for each in EXCEPTIONS if each.where.split(":")[0] == name}

        assert found == excepted

    @pytest.mark.parametrize(("name", "panel"), PANELS, ids=lambda each: str(each)[:20])
    def test_everything_is_of_the_chosen_deployment(self, name: str, panel: dict[str, Any]) -> None:
        """Whatever says of which deployment it is, is asked for the chosen one alone."""
        for target in panel["targets"]:
            for metric, labels in re.findall(
                r"(?<![:\w])((?:temporal|rollout)_\w+)(\{[^}]*\})?", _ungrouped(target["expr"])
            ):
                if metric.startswith("rollout_folder_") or metric == "rollout_throttled_total":
                    continue  # of a machine, and of a process
                assert 'deployment_name="$deployment"' in labels, (name, metric)
                if metric not in NO_NAMESPACE:
                    assert 'namespace="$namespace"' in labels, (name, metric)

    def test_the_first_row_answers(self) -> None:
        """In ten seconds: who gets new runs, how far the drain is, is it worse, may I stop it."""
        board = BOARDS["switchover"]
        first = [panel for panel in board["panels"] if panel["gridPos"]["y"] == 1]

        assert [panel["title"] for panel in first] == [
            "Target",
            "Phase",
            "Because of, for",
            "Meant to get new runs",
            "Really gets them",
            "Runs left",
            "Drained in",
            "Worse than before?",
            "May I stop it?",
        ]

    def test_each_point_of_the_evidence_has_its_words(self) -> None:
        """What speaks against a stop is shown in words, whichever point of the verdict it is."""
        verdict = safe_to_stop(seen(version("v1", "draining")), "v1", "v2", T0)
        (target,) = _panel("switchover", "May I stop it?")["targets"]

        for point in verdict.evidence:
            assert f'check="{point.check}"' in target["expr"]

    def test_the_demo_s_load_is_a_row_that_is_shut(self) -> None:
        """Nobody's own workflows have it: outside of that row no panel asks for it."""
        (row,) = [each for each in BOARDS["switchover"]["panels"] if each.get("collapsed")]
        of_load = {panel["title"] for panel in row["panels"]}

        for name, panel in PANELS:
            asks = any("client_" in target["expr"] for target in panel["targets"])
            assert asks == (panel["title"] in of_load), (name, panel["title"])

    @pytest.mark.parametrize("name", BOARDS)
    def test_links(self, name: str) -> None:
        """To the other dashboards with all that was chosen, the controller's page, and Temporal."""
        links = {link["title"]: link for link in BOARDS[name]["links"]}

        assert links["Dashboards"]["tags"] == ["rollout"]
        assert "rollout" in BOARDS[name]["tags"]
        assert links["Dashboards"]["includeVars"]
        assert links["Dashboards"]["keepTime"]
        assert links["Controller's page"]["url"] == "http://${controller}/"
        assert "${deployment:percentencode}" in links["Runs in Temporal"]["url"]

    def test_a_build_leads_to_its_runs(self) -> None:
        """From a build's series to its runs in Temporal's UI."""
        (link,) = _panel("switchover", "Open runs")["fieldConfig"]["defaults"]["links"]

        assert link["url"].endswith(
            "/workflows?query=TemporalWorkerDeploymentVersion%3D%22"
            "${deployment:percentencode}%3A${__field.labels.build_id}%22"
        )


class TestColours:
    """A build has one colour, whatever else is drawn."""

    def test_a_build_has_the_same_colour_in_every_graph(self) -> None:
        """Each graph of builds holds the same colour overrides."""
        graphs = [panel for _, panel in PANELS if panel["type"] == "timeseries"]
        maps = {json.dumps(_colours(panel), sort_keys=True) for panel in graphs}

        assert len(graphs) > 5
        assert len(maps) == 1

    @pytest.mark.parametrize(
        ("series", "build"),
        [
            ("v1", "v1"),
            ("v1 p95", "v1"),
            ("v1.1", "v1.1"),
            ("v1.1 ActivityWorker", "v1.1"),
            ("v2", "v2"),
            ("v10", None),
            ("v1x1", None),
        ],
    )
    def test_a_series_gets_the_colour_of_its_build_alone(
        self, series: str, build: str | None
    ) -> None:
        """v1's colour is not given to v1.1 or v10."""
        patterns = _colours(_panel("switchover", "Open runs"))
        matching = [colour for pattern, colour in patterns.items() if re.search(pattern, series)]
        own = [
            colour for pattern, colour in patterns.items() if build and re.search(pattern, build)
        ]

        assert matching == own
        assert len(set(patterns.values())) == len(patterns)

    def test_what_needs_a_person_looks_like_nothing_else(self) -> None:
        """Blocked is red, and no other phase is; complete is green, and no other phase is."""
        (mapping,) = _panel("switchover", "Phase")["fieldConfig"]["defaults"]["mappings"]
        colours = {each["text"]: each["color"] for each in mapping["options"].values()}

        assert set(colours) == set(get_args(Phase))
        assert [phase for phase in colours if colours[phase] == "red"] == ["blocked"]
        assert [phase for phase in colours if colours[phase] == "green"] == ["complete"]


def _source(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "grafana.source", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _panel(name: str, title: str) -> dict[str, Any]:
    return next(panel for panel in panels(BOARDS[name]) if panel["title"] == title)


def _shut(board: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels of rows that are shut."""
    return [each for row in board["panels"] for each in row.get("panels", ())]


def _colours(panel: dict[str, Any]) -> dict[str, str]:
    """The panel's colour overrides: pattern → colour."""
    return {
        override["matcher"]["options"].strip("/"): each["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "color"
    }


def _ungrouped(expression: str) -> str:
    """The query without what only looks like a metric: grouping clauses."""
    return re.sub(r"\b(by|on|without) \([^)]*\)", "", expression)


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def _values(node: Any, key: str) -> list[tuple[str, Any]]:
    """Every value of ``key`` anywhere in ``node``."""
    if isinstance(node, list):
        return [found for each in node for found in _values(each, key)]
    if not isinstance(node, dict):
        return []
    own = [(key, node[key])] if key in node else []
    return own + [found for each in node.values() for found in _values(each, key)]
