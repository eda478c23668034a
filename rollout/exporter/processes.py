"""supervisord's processes as metrics: their states by asking, starts and exits by being told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress

import psutil
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rollout.exporter.listener import Event
from rollout.supervision.rpc import Process
from rollout.supervision.states import STATES

__all__ = ["ProcessMetrics"]

_EXPECTED = ("true", "false")


class ProcessMetrics(Collector):
    """What was seen of supervisord last, and what it has told since this exporter started.

    Written by the event loop, read by the threads that serve scrapes: each
    scrape takes the whole of one snapshot.
    """

    def __init__(self) -> None:
        self._processes: Sequence[Process] | None = None
        self._own: tuple[str, str] | None = None
        self._starts: Counter[tuple[str, str]] = Counter()
        self._exits: Counter[tuple[tuple[str, str], str]] = Counter()

    def saw(self, processes: Sequence[Process] | None) -> None:
        """Take ``processes`` as what runs now; None: supervisord did not answer."""
        self._processes = processes

    def is_itself(self, group: str, name: str, starts: int) -> None:
        """Say that the process ``name`` is the exporter itself, which was started so many times.

        Nobody listens while it is started, so that supervisord's word of it comes late or never.
        """
        self._own = (group, name)
        self._starts[self._own] = starts

    def count(self, event: Event) -> None:
        """Count the start or the exit that ``event`` tells of, if it does."""
        key = (event.payload.get("groupname", ""), event.payload.get("processname", ""))
        if event.name == "PROCESS_STATE_STARTING":
            self._starts[key] += key != self._own
        elif (expected := _exit_expected(event)) is not None:
            self._exits[key, expected] += 1

    def collect(self) -> Iterable[Metric]:
        """Every series of one scrape; without an answer from supervisord only that there is none.

        A process that is no longer loaded has no series, and one that is has all
        of them from the beginning: a rate needs the zero before the first one.
        """
        processes = self._processes
        yield GaugeMetricFamily(
            "supervisord_up",
            "Whether supervisord answers (1) or not (0).",
            value=0 if processes is None else 1,
        )
        if processes is None:
            return
        yield from _now(processes)
        starts = CounterMetricFamily(
            "supervisord_process_starts",
            "Times supervisord has started the process, failed tries included, "
            "since the exporter started; the exporter itself, since supervisord did.",
            labels=("name", "group"),
        )
        exits = CounterMetricFamily(
            "supervisord_process_exits",
            "Times the process has ended since the exporter started; "
            "expected: it was told to, or ended with one of its exitcodes.",
            labels=("name", "group", "expected"),
        )
        for process in processes:
            key = (process.group, process.name)
            labels = (process.name, process.group)
            starts.add_metric(labels, self._starts[key])
            for expected in _EXPECTED:
                exits.add_metric((*labels, expected), self._exits[key, expected])
        yield starts
        yield exits


def _now(processes: Sequence[Process]) -> Iterable[Metric]:
    state = GaugeMetricFamily(
        "supervisord_process_state",
        "Whether the process is in this state (1) or not (0).",
        labels=("name", "group", "state"),
    )
    started = GaugeMetricFamily(
        "supervisord_process_start_time_seconds",
        "When the process was last started, in seconds since 1970; absent if it never was.",
        labels=("name", "group"),
    )
    stopped = GaugeMetricFamily(
        "supervisord_process_stop_time_seconds",
        "When the process last ended, in seconds since 1970; absent if it never did.",
        labels=("name", "group"),
    )
    memory = GaugeMetricFamily(
        "supervisord_process_resident_memory_bytes",
        "Memory that the process itself holds, its children's left out; absent while it does not "
        "run.",
        labels=("name", "group"),
    )
    cpu = CounterMetricFamily(
        "supervisord_process_cpu_seconds",
        "Time on a processor of the process itself since it was started; absent while it does not "
        "run.",
        labels=("name", "group"),
    )
    exit_status = GaugeMetricFamily(
        "supervisord_process_exit_status",
        "Exit status of a process that has ended (-1: by a signal); absent while it runs.",
        labels=("name", "group"),
    )
    for process in processes:
        labels = (process.name, process.group)
        for name in STATES:
            state.add_metric((*labels, name.lower()), int(process.state == name))
        if process.started_at is not None:
            started.add_metric(labels, process.started_at.timestamp())
        if process.stopped_at is not None:
            stopped.add_metric(labels, process.stopped_at.timestamp())
        if process.exit_status is not None:
            exit_status.add_metric(labels, process.exit_status)
        if process.pid is not None:
            with suppress(psutil.Error):  # it has ended meanwhile, or is not ours to see
                running = psutil.Process(process.pid)
                times = running.cpu_times()
                memory.add_metric(labels, running.memory_info().rss)
                cpu.add_metric(labels, times.user + times.system)
    return state, started, stopped, exit_status, memory, cpu


def _exit_expected(event: Event) -> str | None:
    """The label of an exit, or None where ``event`` tells of none.

    STOPPED follows STOPPING where a process was told to end, and BACKOFF alone
    where a try was given up. BACKOFF follows STARTING: it ended before its
    ``startsecs``, or could not be started at all.
    """
    before = event.payload.get("from_state")
    if event.name == "PROCESS_STATE_EXITED":
        return "true" if event.payload.get("expected") == "1" else "false"
    if event.name == "PROCESS_STATE_STOPPED" and before == "STOPPING":
        return "true"
    if event.name == "PROCESS_STATE_BACKOFF" and before == "STARTING":
        return "false"
    return None
