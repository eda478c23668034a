"""``python -m bench.footprint``: what the running stack costs, beside one of its workers."""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from rollout.base import exit as stack_exit
from rollout.base.command_line import Parser, duration
from rollout.base.connect import connect
from rollout.base.exit import Failure
from rollout.base.settings import VAR, embedded_temporal
from rollout.supervision.rpc import Supervisor

_OWN = ("supervisord", "exporter", "rollout")
"""What this project adds to workers that would run anyway."""

_LOAD = "load"
_SETTLING = 5.0
"""Seconds after the load has stopped before idle is measured."""

_HELP = """\
Measure the running stack: CPU and memory of each of its processes, the sum of
supervisord, exporter and rollout against the busiest worker, and by how much the
embedded server's data grows with each completed workflow.
"""

_EXAMPLES = """\
--idle stops the program `load`, and starts it again at the end, Ctrl-C included.

examples:
  python -m bench.footprint                        under whatever load there is
  python -m bench.footprint --duration 2m --json
  python -m bench.footprint --idle                 and once more without the load
"""


@dataclass(frozen=True)
class Use:
    """What one process used."""

    cpu_percent: float
    """Of one core."""
    rss: int
    """Bytes of resident memory at the end."""


async def _main() -> int:
    options = _parse(sys.argv[1:])
    supervisor = Supervisor()
    found = {"as it is": await _measure(supervisor, options.duration)}
    if options.idle:
        running = (await supervisor.process(_LOAD)).state == "RUNNING"
        try:
            await supervisor.stop(_LOAD, wait=True)
            await asyncio.sleep(_SETTLING)
            found["idle"] = await _measure(supervisor, options.duration)
        finally:
            if running:
                await supervisor.start(_LOAD)
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        console = Console(highlight=False)
        for name, figures in found.items():
            _print(console, name, figures)
    return 0


async def _measure(supervisor: Supervisor, seconds: float) -> dict[str, Any]:
    """All figures over the next ``seconds``."""
    processes = await _processes(supervisor)
    began, began_at = time.monotonic(), datetime.now(timezone.utc)
    bytes_before = _bytes_of_data()
    cpu_before = {name: _cpu_seconds(process) for name, process in processes.items()}
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    uses = {}
    for name, process in processes.items():
        try:
            cpu = 100 * (_cpu_seconds(process) - cpu_before[name]) / took
            uses[name] = Use(cpu, process.memory_info().rss)
        except psutil.NoSuchProcess:
            raise Failure(f"{name} has ended while it was measured; try again") from None
    bytes_after = _bytes_of_data()
    completed = await _completed_since(began_at)
    grown = None
    if bytes_before is not None and bytes_after is not None:
        grown = bytes_after - bytes_before
    return _figures(uses, took, completed, grown)


def _figures(
    uses: Mapping[str, Use], took: float, completed: int, grown: int | None
) -> dict[str, Any]:
    """The JSON of one measurement."""
    workers = {name: use for name, use in uses.items() if name.startswith("worker")}
    if not workers:
        raise Failure("no worker is running to compare with; start one with supervisorctl")
    peer = max(workers, key=lambda name: workers[name].cpu_percent)
    own = [uses[name] for name in _OWN if name in uses]
    cpu, rss = sum(use.cpu_percent for use in own), sum(use.rss for use in own)
    return {
        "seconds": round(took, 1),
        "processes": {
            name: {"cpu_percent": round(use.cpu_percent, 2), "rss_bytes": use.rss}
            for name, use in uses.items()
        },
        "own": {"cpu_percent": round(cpu, 2), "rss_bytes": rss},
        "peer": peer,
        "ratios": {
            "cpu": round(cpu / uses[peer].cpu_percent, 2) if uses[peer].cpu_percent else None,
            "rss": round(rss / uses[peer].rss, 2),
        },
        "completed": completed,
        "data_growth_bytes": grown,
        "bytes_per_workflow": (
            round(grown / completed) if grown is not None and completed else None
        ),
    }


async def _processes(supervisor: Supervisor) -> dict[str, psutil.Process]:
    """The running processes by name, supervisord itself included."""
    pids = {"supervisord": await supervisor.pid()}
    for process in await supervisor.processes():
        if process.pid and process.state == "RUNNING":
            pids[process.namespec] = process.pid
    return {name: psutil.Process(pid) for name, pid in pids.items()}


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _bytes_of_data() -> int | None:
    """What the embedded server's database holds; None where there is none.

    Pages in use rather than the files' sizes: those move in steps of a whole
    checkpoint of the write-ahead log.
    """
    file = VAR / "temporal" / "temporal.db"
    if not embedded_temporal() or not file.exists():
        return None
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        pages, free, size = (
            int(database.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


async def _completed_since(when: datetime) -> int:
    """Workflows that have completed since ``when``, by the server's count."""
    client = await connect()
    query = f"ExecutionStatus = 'Completed' AND CloseTime >= '{when.isoformat()}'"
    return (await client.count_workflows(query)).count


def _print(console: Console, title: str, figures: Mapping[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(f"{title}, {figures['seconds']:g} s")
    table.add_column("CPU, of one core", justify="right")
    table.add_column("RSS", justify="right")
    peer, ratios = figures["peer"], figures["ratios"]
    rows = [*figures["processes"].items(), (" + ".join(_OWN), figures["own"])]
    for name, use in rows:
        table.add_row(name, f"{use['cpu_percent']:.1f} %", f"{use['rss_bytes'] / 1e6:.0f} MB")
    cpu = "-" if ratios["cpu"] is None else f"{ratios['cpu']:.2f}"
    table.add_row(f"  as a ratio to {peer}", cpu, f"{ratios['rss']:.2f}")
    console.print(table)
    if figures["bytes_per_workflow"] is not None:
        console.print(
            f"\n{figures['completed']} workflows completed; the data grew by "
            f"{figures['bytes_per_workflow'] / 1000:.1f} kB for each"
        )
    console.print()


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m bench.footprint", description=_HELP, epilog=_EXAMPLES)
    parser.add_argument(
        "--duration",
        type=duration,
        default=30.0,
        metavar="DURATION",
        help="how long to measure (default: 30s)",
    )
    parser.add_argument("--idle", action="store_true", help="measure without the load as well")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    stack_exit.run("bench.footprint", _main)
