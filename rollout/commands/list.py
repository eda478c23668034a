"""`rollout list`: every deployment of the home, a line each."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from rollout.base.exit import Failure
from rollout.commands.looking import Look, look
from rollout.controller.last_good import follow
from rollout.core.config import RolloutConfig
from rollout.core.config_folder import named
from rollout.core.status_document import Source, status_document

__all__ = ["list"]

_HEAD = ("DEPLOYMENT", "CURRENT", "TARGET", "PHASE", "")


@dataclass(frozen=True)
class _Row:
    """One deployment: what was seen of it, or why nothing was."""

    name: str
    file: Path
    config: RolloutConfig | None = None
    found: Look | None = None
    problem: str = ""

    def document(self) -> dict[str, object]:
        """That of ``rollout status --json``; of one that could not be seen its name and why."""
        if self.config is None or self.found is None:
            return {"deployment": self.name, "file": str(self.file), "problem": self.problem}
        found = self.found
        source = Source(found.source, found.server.address, found.told)
        now = datetime.now(timezone.utc)
        told = status_document(self.config, found.seen, found.decided, now, source)
        return {**told, "file": str(self.file), "problem": None}

    def cells(self) -> tuple[str, ...]:
        """What stands in its line."""
        target = self.config.deployment.target if self.config else "?"
        if self.found is None:
            return self.name, "?", target, "unknown", self.problem
        seen, decided = self.found.seen, self.found.decided
        current = seen.current or "-"
        if seen.ramping:
            current += f", {seen.ramping.build_id} {seen.ramping.percentage:g} %"
        return self.name, current, target, decided.phase, decided.reason


def list(parser: argparse.ArgumentParser) -> None:  # noqa: A001 - named as the command
    """Add the arguments of ``rollout list``."""
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(run=_list)


async def _list(arguments: argparse.Namespace) -> int:
    """Show them all; 1 where one could not be seen."""
    files = named(arguments.config)
    rows = await asyncio.gather(*(_row(name, file) for file, name in files.items()))
    rows = sorted(rows, key=lambda row: row.name)
    if arguments.json:
        print(json.dumps({"deployments": [row.document() for row in rows]}))
    elif rows:
        print("\n".join(_lines([_HEAD, *(row.cells() for row in rows)])))
        for row in rows:
            for told in row.found.told if row.found else ():
                print(f"! {row.name}: {told}")
    else:
        print(f"no deployment has a file in {arguments.config}: `rollout init` writes one")
    return 1 if any(row.problem for row in rows) else 0


async def _row(name: str, file: Path) -> _Row:
    try:
        followed = follow(file)
        config = followed.config
        found = await look(followed)
    except Failure as failure:
        return _Row(name, file, problem=str(failure))
    return _Row(config.deployment.name, file, config, found)


def _lines(rows: Sequence[tuple[str, ...]]) -> Sequence[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (zip(row, widths, strict=True) for row in rows)
    return ["  ".join(f"{cell:<{width}}" for cell, width in row).rstrip() for row in padded]
