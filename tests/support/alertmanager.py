"""A real Alertmanager on the shipped configuration, and who is told by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rollout.base.settings import ROOT, TOOLS_DIR
from tests.support.prometheus import until_ready
from tests.support.temporal_server import free_port

__all__ = ["CONFIG", "Receiver", "alertmanager", "program", "receiver"]

CONFIG = ROOT / "metrics" / "alertmanager.yml"

_SHIPPED_RECEIVER = "127.0.0.1:9095"


class Receiver(ThreadingHTTPServer):
    """Takes what webhooks are sent."""

    daemon_threads = True

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def told(self, path: str) -> dict[str, dict[str, Any]]:
        """The alerts that have been sent to ``path``, by their names."""
        return {
            alert["labels"]["alertname"]: alert
            for place, message in list(self.messages)
            for alert in message["alerts"]
            if place == path
        }


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.messages.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def receiver() -> Iterator[Receiver]:
    """One that listens on a free port."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def program(*names: str) -> str:
    """Where the first of ``names`` is that is installed; where none is, the test is skipped."""
    folders = [*map(str, sorted(TOOLS_DIR.glob("*/bin"))), os.environ.get("PATH", os.defpath)]
    found = (shutil.which(name, path=os.pathsep.join(folders)) for name in names)
    if path := next(filter(None, found), None):
        return path
    pytest.skip(f"{names[0]} is not installed; Debian has it as prometheus-alertmanager")


@contextmanager
def alertmanager(folder: Path, told: Receiver) -> Iterator[str]:
    """Its address, on a copy of the shipped configuration that delivers to ``told`` at once."""
    text = CONFIG.read_text().replace(_SHIPPED_RECEIVER, f"127.0.0.1:{told.server_port}")
    config = folder / "alertmanager.yml"
    config.write_text(text.replace("group_wait: 10s", "group_wait: 0s"))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("alertmanager", "prometheus-alertmanager"),
                f"--config.file={config}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until_ready(process, f"http://{address}", folder / "alertmanager.log")
        yield address
    finally:
        process.terminate()
        process.wait(20)
