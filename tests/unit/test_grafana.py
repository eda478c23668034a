"""The dashboard's JSON, judged as Grafana and its readers will."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rollout.base.settings import ROOT

FOLDER = ROOT / "grafana" / "dashboards"
BOARD: dict[str, Any] = json.loads((FOLDER / "switchover.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]

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

    def test_a_difference_is_told_and_mended(self, tmp_path: Path) -> None:
        """--check fails on a file that was edited by hand, and without it the file is restored."""
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

    def test_every_query_asks_the_provisioned_datasource(self) -> None:
        """A dashboard that names another uid than the datasource has would show nothing."""
        text = (ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text()
        provisioned = re.findall(r"^ +uid: (\w+)", text, re.MULTILINE)
        used = {uid for _, uid in _values(BOARD, "uid") if uid != BOARD["uid"]}

        assert [*used] == provisioned

    def test_no_address_or_path_is_fixed(self) -> None:
        """Address and folder come from the environment, as supervisord sets it."""
        folder = ROOT / "grafana" / "provisioning"

        assert "url: ${PROMETHEUS_URL}\n" in (folder / "datasources/prometheus.yaml").read_text()
        assert "path: ${GRAFANA_DASHBOARDS}\n" in (folder / "dashboards/stack.yaml").read_text()

    def test_only_core_panels_are_used(self) -> None:
        """No plugin has to be installed."""
        assert {panel["type"] for panel in PANELS} <= {
            "timeseries",
            "statetimeline",
            "state-timeline",
            "stat",
        }


class TestPanels:
    """What a reader sees."""

    def test_ids_are_unique(self) -> None:
        """Grafana drops a panel whose id is taken."""
        ids = [panel["id"] for panel in BOARD["panels"]]

        assert len(set(ids)) == len(ids)

    def test_titles_are_unique(self) -> None:
        """A title tells its panel from every other one."""
        titles = [panel["title"] for panel in BOARD["panels"]]

        assert len(set(titles)) == len(titles)

    def test_panels_do_not_overlap_and_fit_the_grid(self) -> None:
        """Each panel has a place of its own within the 24 columns."""
        for one, other in itertools.combinations(BOARD["panels"], 2):
            assert not _overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
        for panel in BOARD["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24, panel["title"]

    @pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
    def test_panel_explains_itself(self, panel: dict[str, Any]) -> None:
        """A panel has a title, a description in sentences, a unit, and named queries."""
        references = [target["refId"] for target in panel["targets"]]

        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert references
        assert len(set(references)) == len(references)
        assert all(target["legendFormat"] for target in panel["targets"])

    @pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
    def test_every_selector_names_its_job(self, panel: dict[str, Any]) -> None:
        """The embedded server's own workers export the same names; recordings are filtered."""
        for target in panel["targets"]:
            for metric, labels in re.findall(
                r"(?<![:\w])((?:temporal|supervisord|client|rollout)_\w+)(\{[^}]*\})?",
                _selectors(target),
            ):
                assert 'job="' in labels, metric


class TestColours:
    """A build has one colour, whatever else is drawn."""

    def test_a_build_has_the_same_colour_in_every_graph(self) -> None:
        """Each graph of builds holds the same colour overrides."""
        graphs = [panel for panel in PANELS if panel["type"] == "timeseries"]
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
        patterns = _colours(_panel("Open runs"))
        matching = [colour for pattern, colour in patterns.items() if re.search(pattern, series)]
        own = [
            colour for pattern, colour in patterns.items() if build and re.search(pattern, build)
        ]

        assert matching == own
        assert len(set(patterns.values())) == len(patterns)


def _source(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "grafana.source", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _panel(title: str) -> dict[str, Any]:
    return next(panel for panel in PANELS if panel["title"] == title)


def _colours(panel: dict[str, Any]) -> dict[str, str]:
    """The panel's colour overrides: pattern → colour."""
    return {
        override["matcher"]["options"].strip("/"): each["value"]["fixedColor"]
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "color"
    }


def _selectors(target: dict[str, Any]) -> str:
    """The query without what only looks like a metric: grouping clauses."""
    return re.sub(r"\b(by|on|without) \([^)]*\)", "", target["expr"])


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
