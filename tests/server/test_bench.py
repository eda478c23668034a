"""The measurements: they run, end by themselves, and keep their promises about this project."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import psutil
import pytest

from bench.ways import longest_gap, ratios
from rollout.base.settings import ROOT
from tests.support.waiting import eventually
from tests.support.worker_process import python

pytestmark = pytest.mark.temporal


def test_switchover() -> None:
    """An upgrade side by side loses, strands, crosses and mixes up nothing."""
    done = subprocess.run(
        python(
            "bench.switchover", "--json", "--ways", "side-by-side",
            "--duration", "25s", "--order-seconds", "1-2", "--drain", "60s",
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) == {"settings", "ways", "ratios"}
    way = result["ways"]["side-by-side"]
    assert way["started"] == way["completed"] == 250
    unwanted = ("failed", "unfinished", "stuck", "crossed", "mixed")
    assert {name: way[name] for name in unwanted} == dict.fromkeys(unwanted, 0)
    assert set(way["by_build"]) == {"v1", "v2"}
    assert way["greeting_latency_seconds"]["p50"] <= way["greeting_latency_seconds"]["max"]
    assert way["longest_gap_seconds"] > 0
    assert ratios(way, way) == {"p50": 1, "p99": 1, "max": 1, "longest_gap_seconds": 1}


def test_longest_gap() -> None:
    """The longest gap is found whatever the order of the times; one time alone has none."""
    times = [datetime(2026, 1, 1, second=second, tzinfo=timezone.utc) for second in (9, 1, 4)]
    assert longest_gap(times) == 5
    assert longest_gap(times[:1]) is None


def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C ends a measurement with exit code 130, and leaves no process and no file behind."""
    bench = subprocess.Popen(
        python("bench.switchover"),
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process = psutil.Process(bench.pid)
        # The server, v1, the load, and who forks these two.
        eventually(lambda: len(process.children(recursive=True)) >= 4, seconds=60)
        started = process.children(recursive=True)
        bench.send_signal(signal.SIGINT)
        assert bench.wait(timeout=40) == 130
        assert not psutil.wait_procs(started, timeout=10)[1]
        assert list(tmp_path.iterdir()) == []
    finally:
        bench.kill()
        bench.wait()
