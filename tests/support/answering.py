"""What readers meet of a controller, for a server that nobody answers on."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from rollout.base.server import Server
from rollout.base.settings import ROOT
from rollout.controller.api import serve
from rollout.controller.intent import Intent
from rollout.controller.publishing import Publisher
from rollout.core.observation import Observation, Ramp, Version
from rollout.core.plan import plan

__all__ = ["CONFIG", "Controller", "observation"]

CONFIG = '[deployment]\nname = "shop-orders"\nbaseline = "v1"\ntarget = "v2"\n'


def observation(at: datetime) -> Observation:
    """A ramp at 10 % that really gives 5 %, with a run that has no version yet."""
    v1 = Version("v1", "current", open_runs=3, open_pinned=2, workers=1, started=95, backlog=4)
    v2 = Version("v2", "ramping", workers=1, started=5, queues=frozenset({"q"}), waiting_age=1.5)
    return Observation(
        "shop-orders", "default", at, current="v1", ramping=Ramp("v2", 10), versions=(v1, v2),
        conflict_token=b"\x00\xff", unassigned=7, elsewhere={"v0": 1}, routing_settled=False,
    )  # fmt: skip


class Controller:
    """All of a controller that its readers meet, for a server that counts who knocks."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "rollout.toml"
        self.file.write_text(CONFIG)
        self.silent = socket.create_server(("127.0.0.1", 0))
        self.silent.setblocking(False)
        self.server = Server(f"127.0.0.1:{self.silent.getsockname()[1]}", "default")
        self.publisher = Publisher(self.server, self.file)
        self.intent = Intent(self.file, keeps=True)
        self.publisher.intent(self.intent)
        self.port = serve("127.0.0.1", 0, CollectorRegistry(), self.publisher.served())
        self.leave = self.publisher.announce("shop-orders", f"http://127.0.0.1:{self.port}")

    def saw(self, seconds_ago: float = 0.0) -> Observation:
        """One round."""
        now = datetime.now(timezone.utc)
        seen = observation(now - timedelta(seconds=seconds_ago))
        self.publisher.round(seen, plan(self.intent.config, seen, now, "me"))
        return seen

    def get(self, path: str) -> Any:
        """What the port answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())

    def command(self, *words: str, python: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """``rollout WORDS`` as a process, with these flags of Python's."""
        return subprocess.run(
            [sys.executable, *python, "-m", "rollout", "--config", str(self.file), *words],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "ROLLOUT_HOME": str(self.file.parent),
                "TEMPORAL_ADDRESS": self.server.address,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
