"""The column HOSTS of `status` and `watch`: there where hosts are, and within the width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from rollout.commands.status_table import as_table
from rollout.commands.watch.picture import render
from rollout.commands.watch.view import Context, Trends, view_of
from rollout.core.host_notes import Host
from rollout.core.observation import Observation
from rollout.core.plan import plan
from rollout.prometheus.traffic import Traffic
from tests.support.synthetic_deployment import ME, T0, config, seen, version


def observed(*hosts: Host) -> Observation:
    """v1 is current and runs on the hosts alone."""
    v1 = version("v1", "current", process=None, first_activated_at=T0)
    return seen(v1, hosts=hosts, current="v1", current_changed_at=T0)


def lines(shown: RenderableType, width: int) -> list[str]:
    """What a terminal of ``width`` columns has of it."""
    out = io.StringIO()
    Console(file=out, width=width).print(shown)
    return out.getvalue().splitlines()


HOSTS = (
    Host("a", "a", {"v1": "RUNNING"}, T0),
    Host("b", "b", {"v1": "STOPPED"}, T0),
    Host("c", "c", {"v1": "RUNNING"}, T0, silent=True),
)


def test_status_has_a_column_where_there_are_hosts() -> None:
    """Instead of the processes here, where none is; without hosts all is as it was."""
    wanted, several = config(), observed(*HOSTS)
    shown = lines(as_table(wanted, several, plan(wanted, several, T0, ME), T0), 80)
    head = next(line for line in shown if line.startswith("BUILD")).split()
    assert "HOSTS" in head
    assert "PROCESS" not in head
    assert next(line for line in shown if line.startswith("v1 ")).split()[-1] == "1/3?"

    alone = observed()
    shown = lines(as_table(wanted, alone, plan(wanted, alone, T0, ME), T0), 80)
    assert "HOSTS" not in "".join(shown)
    assert "PROCESS" in "".join(shown)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_watch_has_it_at_every_width(width: int) -> None:
    """Where it is narrow the builds' names have lines of their own."""
    wanted, several = config(), observed(*HOSTS)
    context = Context(Traffic(), Trends())
    view = view_of(wanted, several, plan(wanted, several, T0, ME), T0, context)
    shown = lines(render(view, width), width)
    head = next(line for line in shown if "NEW RUNS" in line)
    assert "HOSTS" in head
    assert max(map(len, shown)) <= width
