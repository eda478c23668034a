"""Every metric with its labels, from the collectors themselves, and every alert."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from client.results import Ran
from client.score import Score
from docs.source.markdown import code, sentence, table
from rollout.base.settings import ROOT
from rollout.controller.metrics import ControllerMetrics, Families
from rollout.controller.notified import Notified
from rollout.controller.reasons import Round
from rollout.core.actions import Plan
from rollout.core.config import Deployment, RolloutConfig
from rollout.core.observation import Observation, Ramp, Version
from rollout.exporter.deployment import DeploymentMetrics
from rollout.exporter.folders import FolderMetrics
from rollout.exporter.processes import ProcessMetrics
from rollout.prometheus.comparison import Comparison, questions
from rollout.supervision.rpc import Process

__all__ = ["alerts", "metrics"]

_RULES = ROOT / "metrics" / "rules"
_READERS = ("metrics/rules/*.yml", "grafana/dashboards/*.json")
_SUFFIX = re.compile("(_total|_seconds|_milliseconds)$")
_SDK = re.compile(
    r"(?<![:\w])(temporal_(?!worker_deployment)[a-z_]+?)(?:_bucket|_count|_sum)?(?![:\w])"
)
_THEN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def metrics() -> str:
    """A table for each process that serves some."""
    worker = (
        "What Temporal's SDK counts, each with its target's `build_id` and `deployment_name` "
        "beside the SDK's own labels (`namespace`, `task_queue`, `workflow_type`, "
        "`activity_type`, ...). The rules, the dashboard and the analysis read these, in any SDK's "
        "words: a counter with or without `_total`, a latency in milliseconds or seconds, with or "
        "without `_milliseconds` or `_seconds`:\n\n"
    )
    return "\n\n".join(
        (
            f"### Workers (9101 and up)\n\n{worker}{', '.join(map(code, _used_of_the_sdk()))}.",
            f"### Exporter (9192)\n\n{_table(_exporter())}",
            f"### Controller (9193)\n\n{_table(_controller())}",
            f"### Load (9191)\n\n{_table(_load())}",
            f"### Recording rules\n\n{_recordings()}",
        )
    )


def alerts() -> str:
    """The alerts of metrics/rules, each with what is to be done, and its runbook."""
    rows = []
    for name, text in _parts("alerts_*.yml", "alert"):
        alert = _alert(text)
        told = _for_people(alert["summary"]), _for_people(alert["action"])
        rows.append((f"[{name}](runbooks.md#{name.lower()})", alert["severity"], *told))
    return table(("alert", "severity", "summary", "what to do"), rows)


def _exporter() -> Iterator[Metric]:
    deployment, processes = DeploymentMetrics("greetings"), ProcessMetrics()
    deployment.saw(_seen(), "v1")
    processes.saw([Process("worker-v1", "worker-v1", "EXITED", None, _THEN, 0, "")])
    yield from processes.collect()
    yield from deployment.collect()
    yield from FolderMetrics(Path("none")).collect()


def _seen() -> Observation:
    version = Version("v1", "drained", open_runs=0, workers=1, drained_since=_THEN)
    return Observation(
        "greetings", "default", _THEN, current="v1", ramping=Ramp("v2", 10),
        current_changed_at=_THEN, ramping_changed_at=_THEN, versions=(version,),
    )  # fmt: skip


def _controller() -> Iterable[Metric]:
    registry = CollectorRegistry()
    served = ControllerMetrics(Families(registry, "default"), "greetings")
    config = RolloutConfig(deployment=Deployment(target="v1"))
    served.configured(config)
    served.program_files(tuple)
    served.reconciled("ok", Round(config, _seen(), Plan("complete", ""), 0.0, _THEN))
    Notified(registry, "default").of("greetings")
    return registry.collect()


def _load() -> Iterator[Metric]:
    score = Score()
    score.attempted(0)
    score.took("Greeting")
    score.complete("Greeting", Ran("v1", ("v1",)), 0)
    for family in score._registry.collect():  # noqa: SLF001
        if family.name.startswith("client_"):
            yield family


def _table(families: Iterable[Metric]) -> str:
    rows = [(code(_series(each)), _labels(each), sentence(each.documentation)) for each in families]
    return table(("series", "labels", "meaning"), rows)


def _series(family: Metric) -> str:
    """The name to query; a histogram's has ``_bucket``, ``_sum`` and ``_count``."""
    suffix = {"counter": "_total", "info": "_info", "histogram": "_bucket"}.get(family.type, "")
    return f"{family.name}{suffix}"


def _labels(family: Metric) -> str:
    """Also of a family that has no series just now."""
    named = getattr(family, "_labelnames", ())
    found = [name for each in family.samples for name in each.labels]
    return ", ".join(dict.fromkeys(map(code, (*named, *found))))


def _used_of_the_sdk() -> list[str]:
    """By the names that are the same for every SDK."""
    texts = [path.read_text() for pattern in _READERS for path in sorted(ROOT.glob(pattern))]
    texts += questions(Comparison("greetings", "v2", "v1", 60, 60)).values()
    return sorted({_SUFFIX.sub("", name) for text in texts for name in _SDK.findall(text)})


def _recordings() -> str:
    """What is recorded. A rule without ``by`` divides others of its level: their labels stay."""
    levels: dict[str, str] = {}
    rows = []
    for name, text in _parts("recordings*.yml", "record"):
        level = name.partition(":")[0]
        if by := re.search(r" by \(([^)]+)\)", text):
            levels.setdefault(level, ", ".join(map(code, by[1].split(", "))))
        rows.append((code(name), levels[level]))
    return table(("series", "labels"), rows)


def _alert(text: str) -> dict[str, str]:
    """The texts of an alert; of YAML only the shapes that the file uses."""
    found = re.findall(r"^ +(\w+): (?:>-\n)?(.*(?:\n {12,}[^ #].*)*)", text, re.MULTILINE)
    return {key: " ".join(value.split()).strip('"') for key, value in found}


def _parts(files: str, kind: str) -> Iterator[tuple[str, str]]:
    """The name of each rule in some files, and the text that follows."""
    for path in sorted(_RULES.glob(files)):
        _, *parts = re.split(rf"^ +- {kind}: ", path.read_text(), flags=re.MULTILINE)
        for part in parts:
            name, _, text = part.partition("\n")
            yield name, text


def _for_people(text: str) -> str:
    """A text with its template as words: BUILD_ID for {{ $labels.build_id }}."""
    return re.sub(
        r"\{\{ \$(?:labels\.)?(\w+)[^}]*\}\}",
        lambda match: "N" if match[1] == "value" else match[1].upper(),
        sentence(text),
    )
