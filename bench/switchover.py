"""``python -m bench.switchover``: what an upgrade under load costs, three ways in one run."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from bench.arena import Settings, arena
from bench.ways import RATIOS, WAYS, ratios
from rollout.base import exit as stack_exit
from rollout.base import logs
from rollout.base.command_line import Parser, duration, positive, seconds_range, share
from rollout.base.exit import Misuse

log = structlog.get_logger("bench.switchover")

_OWN = "side-by-side"

_HELP = """\
Upgrade the demo's workers under the same open-loop load, one way after another,
each on a Temporal server of its own that is gone afterwards.

  side-by-side  this project: v2 takes over beside v1, which stops once that is safe
  restart       the peer: one unversioned worker is drained and started again with
                v2's code, to which the history of v1's orders means something else
  patched       the same restart with v1.1's code, whose change is behind a patch

The upgrade begins after a third of --duration. Of the runs,
  unfinished  had not come to an end when --drain was over
  stuck       are those of them whose workflow task fails again and again
  crossed     were run by more than one build
  mixed       are orders that completed, but were put through steps that no build
              has, such as being charged twice
The gap is the longest time without a completed greeting. A ratio below 1 speaks
for this project. The ways run one after another: compare latencies only where
the load averages (over the last minute of each) are alike and near the cores.
"""

_EXAMPLES = """\
A way takes --duration, and until --drain is over where runs are stuck. Ctrl-C
ends it, and cleans up.

examples:
  python -m bench.switchover                      about 4 minutes
  python -m bench.switchover --rate 20 --duration 30s --json
  python -m bench.switchover --ways side-by-side,restart --duration 20s
"""


def main() -> int:
    """Measure, and print."""
    options = _parse(sys.argv[1:])
    logs.configure("bench")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: clean up, then end
    settings = Settings(
        rate=options.rate,
        duration=options.duration,
        orders=options.orders,
        order_seconds=options.order_seconds,
        drain=options.drain or options.order_seconds[1] + 15,
    )
    found = {}
    for way in options.ways:
        log.info("way begins", way=way)
        with arena(settings) as place:
            found[way] = WAYS[way](place)
            found[way]["load_average"] = round(os.getloadavg()[0], 2)
    against = {peer: ratios(found[_OWN], found[peer]) for peer in found if peer != _OWN}
    if options.json:
        result = {"settings": _as_json(settings), "ways": found, "ratios": against}
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        _print(settings, found, against)
    return 0


def _as_json(settings: Settings) -> dict[str, Any]:
    return {
        "rate": settings.rate,
        "duration_seconds": settings.duration,
        "orders": settings.orders,
        "order_seconds": list(settings.order_seconds),
        "drain_seconds": settings.drain,
        "scheduled_gap_seconds": settings.scheduled_gap,
    }


def _print(
    settings: Settings, found: dict[str, dict[str, Any]], against: dict[str, dict[str, Any]]
) -> None:
    """The table for a person: a column a way, and one for each ratio."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for name in (*found, *(f"/ {peer}" for peer in against)):
        table.add_column(name, justify="right")
    for count in ("started", "completed", "failed", "unfinished", "stuck", "crossed", "mixed"):
        table.add_row(f"runs {count}", *(str(way[count]) for way in found.values()))
    flat = [{**way, **way["greeting_latency_seconds"]} for way in found.values()]
    for key in RATIOS:
        label = "longest gap" if key == "longest_gap_seconds" else f"greeting {key}"
        values = [_seconds(way[key]) for way in flat]
        table.add_row(label, *values, *(_ratio(ratio[key]) for ratio in against.values()))
    table.add_row("upgrade took", *(f"{way['upgrade_seconds']} s" for way in found.values()))
    table.add_row(
        f"load ({os.cpu_count()} cores)", *(f"{way['load_average']:.1f}" for way in found.values())
    )
    console = Console(highlight=False)
    low, high = settings.order_seconds
    console.print(
        f"{settings.rate:g} workflows a second, {settings.orders:.0%} of them orders "
        f"of {low:g}-{high:g} s, for {settings.duration:g} s each\n"
    )
    console.print(table)
    if settings.scheduled_gap is not None:
        console.print(f"\nthe load itself leaves gaps of up to {settings.scheduled_gap:.1f} s")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m bench.switchover", description=_HELP, epilog=_EXAMPLES)
    parser.add_argument(
        "--rate", type=positive, default=10.0, metavar="N", help="starts a second (default: 10)"
    )
    parser.add_argument(
        "--duration",
        type=duration,
        default=60.0,
        metavar="DURATION",
        help="how long workflows are started, for each way (default: 60s)",
    )
    parser.add_argument(
        "--orders",
        type=share,
        default=0.2,
        metavar="SHARE",
        help="the share of orders among them (default: 0.2)",
    )
    parser.add_argument(
        "--order-seconds",
        type=seconds_range,
        default=(4.0, 8.0),
        metavar="LOW-HIGH",
        help="how long an order takes (default: 4-8)",
    )
    parser.add_argument(
        "--drain",
        type=duration,
        metavar="DURATION",
        help="how long to wait for open runs at the end (default: the longest order and 15s)",
    )
    parser.add_argument(
        "--ways",
        type=lambda text: text.split(","),
        default=list(WAYS),
        metavar="WAY,...",
        help=f"which ways (default: {','.join(WAYS)})",
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args(arguments)
    unknown = [way for way in options.ways if way not in WAYS]
    if unknown or options.ways[0] != _OWN:
        raise Misuse(f"--ways begins with {_OWN}, and has but {', '.join(WAYS)}")
    return options


if __name__ == "__main__":
    stack_exit.finish("bench.switchover", main)
