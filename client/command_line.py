"""What may follow ``python -m client``."""

from __future__ import annotations

import argparse
import os

from rollout.base.command_line import Parser, count, duration, port, positive, seconds_range, share

__all__ = ["command_line"]

_GREETING_EXAMPLES = """\
examples:
  python -m client                          Hello from worker Build ID: v1!
  python -m client --timeout 5s
  TEMPORAL_ADDRESS=10.0.0.5:7233 python -m client --task-queue greetings
  python -m client load --rate 5 --orders 0.2 --duration 10m
  python -m client subscribe --cycles 60    v1 1-23, v2 24-60
"""

_LOAD_HELP = """\
Start workflows on a fixed beat, whatever the server does, and check every result.
A start that the server did not take is tried again under the same workflow id.

Latency counts from the time a start was due. The summary's percentiles are those
of the greetings: an order takes as long as it is asked to. A run that more than
one build ran is logged and counted as crossed, which is no failure.
"""

_SUBSCRIBE_HELP = """\
Start one Subscription workflow, wait until it has run out, and print which build ran
which of its cycles. It moves itself to a new build between two cycles.
"""

_SUBSCRIBE_EXAMPLES = """\
Ctrl-C ends the waiting, not the subscription.

examples:
  python -m client subscribe                        v1 1-10
  python -m client subscribe --cycles 60 --every 2s v1 1-23, v2 24-60
"""

_LOAD_EXAMPLES = """\
SIGTERM or Ctrl-C ends the load: runs that are not nearly done stay open on the
server and are counted so. A second Ctrl-C ends it at once.

exit code: 0; 1 where a run failed or a start was never taken.

examples:
  python -m client load                     five a second, a fifth of them orders
  python -m client load --rate 20 --orders 0 --duration 1m --json
  python -m client load --orders 1 --order-seconds 5-10 --duration 30s --drain 1m
"""


def command_line() -> Parser:
    """The parser of ``python -m client`` and its commands."""
    parser = Parser(
        prog="python -m client",
        description="Start one Greeting workflow, wait for it, and print its result.",
        epilog=_GREETING_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    queue = os.environ.get("TASK_QUEUE") or "greetings"
    queue_help = "where the workers poll (default: $TASK_QUEUE, or greetings)"
    parser.add_argument("--task-queue", default=queue, metavar="NAME", help=queue_help)
    parser.add_argument(
        "--timeout",
        type=duration,
        default=30.0,
        metavar="DURATION",
        help="how long to wait for the greeting (default: 30s)",
    )
    commands = parser.add_subparsers(dest="command", title="or instead", metavar="COMMAND")
    load = commands.add_parser(
        "load",
        help="a steady open-loop load (its own --help)",
        description=_LOAD_HELP,
        epilog=_LOAD_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # SUPPRESS: a --task-queue before `load` stays in force.
    load.add_argument("--task-queue", default=argparse.SUPPRESS, metavar="NAME", help=queue_help)
    load.add_argument(
        "--rate", type=positive, default=5.0, metavar="N", help="starts a second (default: 5)"
    )
    load.add_argument(
        "--orders",
        type=share,
        default=0.2,
        metavar="SHARE",
        help="the share of orders among them, 0 to 1 (default: 0.2)",
    )
    load.add_argument(
        "--order-seconds",
        type=seconds_range,
        default=(20.0, 60.0),
        metavar="LOW-HIGH",
        help="how long an order takes, in seconds (default: 20-60)",
    )
    load.add_argument(
        "--duration",
        type=duration,
        metavar="DURATION",
        help="stop starting after this long, such as 30s or 1h30m (default: never)",
    )
    load.add_argument(
        "--drain",
        type=duration,
        default=120.0,
        metavar="DURATION",
        help="how long to wait for open runs after --duration (default: 2m)",
    )
    load.add_argument(
        "--seed", type=int, metavar="N", help="start the same mix of workflows each time"
    )
    load.add_argument(
        "--metrics-port",
        type=port,
        metavar="PORT",
        help="serve Prometheus metrics on this loopback port (default: none)",
    )
    load.add_argument("--json", action="store_true", help="print the summary as one line of JSON")
    _add_subscribe(commands, queue_help)
    return parser


def _add_subscribe(commands: argparse._SubParsersAction[Parser], queue_help: str) -> None:
    parser = commands.add_parser(
        "subscribe",
        help="a long-lived workflow that moves to new builds (its own --help)",
        description=_SUBSCRIBE_HELP,
        epilog=_SUBSCRIBE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--task-queue", default=argparse.SUPPRESS, metavar="NAME", help=queue_help)
    parser.add_argument(
        "--cycles", type=count, default=10, metavar="N", help="cycles in all (default: 10)"
    )
    parser.add_argument(
        "--every",
        type=duration,
        default=1.0,
        metavar="DURATION",
        help="from one cycle to the next (default: 1s)",
    )
