"""Where reports are kept: so many of each deployment, the oldest goes first."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import msgspec

from rollout.base import files, settings
from rollout.controller.places import run_file
from rollout.controller.report.page import page
from rollout.core.report import Report

__all__ = ["KEPT", "keep", "report_folder"]

KEPT = 20
"""So many rollouts of one deployment..."""
DEPLOYMENTS = 50
"""...and so many deployments."""


def report_folder(deployment: str) -> Path:
    """``var/reports/rollout-DEPLOYMENT``, whatever the deployment is called."""
    return settings.VAR / "reports" / run_file(deployment, "html").stem


def keep(report: Report) -> Path:
    """Write the report as a page and as JSON, and let the oldest go; the page's path.

    One of the same rollout is written over. Raises `OSError`.
    """
    folder = report_folder(report.deployment)
    folder.mkdir(parents=True, exist_ok=True)
    outcome = report.outcome.replace(" ", "-")
    file = folder / f"{report.began:%Y%m%dT%H%M%SZ}-{outcome}.html"
    files.replace(file, page(report).encode())
    files.replace(file.with_suffix(".json"), msgspec.json.encode(report))
    with contextlib.suppress(OSError):
        for old in sorted(folder.glob("*.html"))[:-KEPT]:
            old.unlink()
            old.with_suffix(".json").unlink(missing_ok=True)
        others = sorted(folder.parent.iterdir(), key=lambda each: each.stat().st_mtime)
        for deserted in others[:-DEPLOYMENTS]:
            shutil.rmtree(deserted)
    return file
