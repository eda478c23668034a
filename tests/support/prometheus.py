"""A real Prometheus on the shipped configuration, and an exposition for it to scrape."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollout.base.settings import ROOT, TOOLS_DIR
from tests.support.temporal_server import free_port
from tests.support.waiting import eventually

__all__ = ["Prometheus", "expositions", "fired", "reopened", "tool", "until_ready"]

_METRICS = ROOT / "metrics"


def tool(name: str) -> str:
    """Where the program ``name`` of Prometheus is, looked for as the launcher does."""
    search = [*map(str, sorted(TOOLS_DIR.glob("*/bin"))), os.environ.get("PATH", os.defpath)]
    found = shutil.which(name, path=os.pathsep.join(search))
    if found is None:
        pytest.skip(f"{name} is not installed; `make setup` installs it")
    return found


@contextmanager
def expositions(pages: Mapping[str, str]) -> Iterator[int]:
    """Serve each page at its path on the port that is yielded.

    A line's value that begins with ``+`` grows by so much a second.
    """
    begun = time.monotonic()

    def grown(line: str) -> str:
        series, _, value = line.rpartition(" ")
        if not value.startswith("+"):
            return line
        return f"{series} {float(value) * (time.monotonic() - begun + 1)}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path.lstrip("/"))
            self.send_response(200 if page is not None else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            lines = (page or "").strip().splitlines()
            self.wfile.write("".join(f"{grown(line)}\n" for line in lines).encode())

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Prometheus:
    """Prometheus in ``folder``, on copies of the shipped configuration and rules, or on another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def write_targets(self, name: str, groups: list[dict[str, Any]]) -> None:
        """Write a file_sd file, as the exporter does."""
        path = self._folder / "var" / "targets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(groups))
        new.replace(path)

    def start(self, scrape: str | None = None) -> None:
        """Start it, and wait until it answers. ``scrape``: the ``scrape_configs`` of another."""
        metrics = self._folder / "metrics"
        (metrics / "rules").mkdir(parents=True)
        shutil.copy(_METRICS / "prometheus.yml", metrics)
        for rules in (_METRICS / "rules").glob("*.yml"):
            shutil.copy(rules, metrics / "rules")
        if scrape is not None:
            (metrics / "prometheus.yml").write_text(f"global: {{scrape_interval: 2s}}\n{scrape}")
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={metrics / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    "--rules.alert.resend-delay=2s",  # an Alertmanager may come later
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until_ready(self._process, self.url, self._folder / "prometheus.log")

    def stop(self) -> None:
        """End it and wait for its end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def get(self, path: str, **parameters: str) -> Any:
        """The ``data`` of an answer of its HTTP API; a failed test where it reports an error."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        samples: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return samples


def until_ready(
    process: subprocess.Popen[bytes], url: str, log: Path | None = None, seconds: float = 20
) -> None:
    """Wait until it says that it is ready, as Prometheus and Alertmanager do alike."""

    def ready() -> bool:
        assert process.poll() is None, log.read_text() if log else "it has ended"
        try:
            return httpx.get(f"{url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    eventually(ready, seconds=seconds)


def fired(url: str, since: float) -> dict[tuple[str, str], list[float]]:
    """When each alert has fired since ``since``, by its name and build (or process, or nothing).

    Times are seconds since 1970, two seconds apart.
    """
    answer = httpx.get(
        f"{url}/api/v1/query_range",
        params={
            "query": 'ALERTS{alertstate="firing"}',
            "start": since,
            "end": time.time(),
            "step": 2,
        },
        timeout=10,
    )
    answer.raise_for_status()
    found: dict[tuple[str, str], list[float]] = {}
    for series in answer.json()["data"]["result"]:
        labels = series["metric"]
        of = labels.get("build_id") or labels.get("name") or ""
        times = [float(at) for at, _ in series["values"]]
        found.setdefault((labels["alertname"], of), []).extend(times)
    return found


@contextmanager
def reopened(data: Path, folder: Path) -> Iterator[str]:
    """The address of a Prometheus that serves what another has left in ``data``."""
    config = folder / "nothing.yml"
    config.write_text("global: {}\n")
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            tool("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address={url.removeprefix('http://')}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_ready(process, url, seconds=30)
        yield url
    finally:
        process.terminate()
        process.wait(20)
