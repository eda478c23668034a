"""Write the dashboards' JSON from their source, or compare the two."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.source.stack import stack
from grafana.source.switchover import switchover
from grafana.source.workers import workers
from rollout.base.exit import Failure, finish
from rollout.base.settings import ROOT

__all__ = ["main", "rendered"]

FOLDER = ROOT / "grafana" / "dashboards"


def rendered() -> dict[str, str]:
    """Each dashboard file's name, and what it should hold."""
    return {f"{board.uid}.json": _json(board) for board in (switchover(), workers(), stack())}


def _json(board: Dashboard) -> str:
    text = json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
    return text + "\n"


def main() -> int:
    """Run the command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m grafana.source",
        description="Write grafana/dashboards from its source.",
        epilog="examples: python -m grafana.source; python -m grafana.source --check",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a file differs"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the files are")
    options = parser.parse_args()
    for name, text in rendered().items():
        path = options.folder / name
        if path.is_file() and path.read_text() == text:
            continue
        if options.check:
            raise Failure(f"{path} is not what its source says; run python -m grafana.source")
        path.write_text(text)
        print(path)
    return 0


if __name__ == "__main__":
    finish("grafana.source", main)
