"""The example configurations for the logs: their keys are those that are logged."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import tomlkit
import yaml

from docs.source.log_keys import KEYS
from rollout.base.settings import ROOT

FOLDER = ROOT / "examples" / "logs"
OURS = {*KEYS, "program", "service"}
"""``program`` is the name of the log; ``service`` stands for service.name."""


def test_alloy_takes_keys_that_are_logged() -> None:
    """Each key of its blocks is one of the stack's, and each of them is looked for in the JSON."""
    text = (FOLDER / "config.alloy").read_text(encoding="utf-8")
    stages = r"stage\.(json|labels|structured_metadata) {(.+?)\n\t}"
    found = {
        name: set(re.findall(r"^\t\t\t(\w+)\s*=", body, re.MULTILINE))
        for name, body in re.findall(stages, text, re.DOTALL)
    }
    assert found["labels"] | found["structured_metadata"] <= found["json"] | {"program"}
    assert found["json"] <= OURS
    assert len(found["json"]) > 5
    assert text.count("{") == text.count("}")


def test_vector_takes_keys_that_are_logged() -> None:
    """It is TOML, its parts lead to each other, and its labels are the stack's keys."""
    made = tomlkit.parse((FOLDER / "vector.toml").read_text(encoding="utf-8")).unwrap()
    sink = made["sinks"]["loki"]
    assert sink["inputs"] == list(made["transforms"])
    assert made["transforms"]["keys"]["inputs"] == list(made["sources"])
    named = {**sink["labels"], **sink["structured_metadata"]}
    assert set(named) <= OURS
    assert all(template == f"{{{{ {key} }}}}" for key, template in named.items())


def test_the_collector_scrapes_what_prometheus_does() -> None:
    """The same jobs, from the same files of targets."""
    made = yaml.safe_load((FOLDER / "collector.yaml").read_text(encoding="utf-8"))
    prometheus = yaml.safe_load((ROOT / "metrics/prometheus.yml").read_text(encoding="utf-8"))
    jobs = made["receivers"]["prometheus"]["config"]["scrape_configs"]
    for job, ours in zip(jobs, prometheus["scrape_configs"], strict=True):
        assert job["job_name"] == ours["job_name"]
        assert job.get("metric_relabel_configs") == ours.get("metric_relabel_configs")
        (file,), (our_file,) = (each["file_sd_configs"][0]["files"] for each in (job, ours))
        assert Path(file).name == Path(our_file).name
    parts = {kind: set(made[kind]) for kind in ("receivers", "processors", "exporters")}
    for pipeline in made["service"]["pipelines"].values():
        assert all(set(names) <= parts[kind] for kind, names in pipeline.items())
    assert made["receivers"]["otlp"]["protocols"]["http"]["endpoint"].startswith("127.0.0.1:")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """As its own check says; only the path of the command is this machine's."""
    unit = (FOLDER / "rollout-journal.service").read_text(encoding="utf-8")
    command = tmp_path / "rollout"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    file = tmp_path / "rollout-journal.service"
    file.write_text(unit.replace("%h/.local/bin/rollout", str(command)))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False
    )
    told = [line for line in done.stderr.splitlines() if "rollout-journal" in line]
    assert (done.returncode, told) == (0, [])
