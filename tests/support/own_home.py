"""A home of one's own: a supervisord that was there before, and what `rollout init` makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rollout.base.settings import PORTS
from tests.support.forking import run_forked
from tests.support.supervisord import PrivateSupervisord, states
from tests.support.temporal_server import DevServer
from tests.support.told import told
from tests.support.waiting import eventually

__all__ = ["OwnHome"]

_WORKER = '''\
"""A worker as anybody writes it: it reads the two variables that say which version it is."""
import asyncio, os
from datetime import timedelta
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.envconfig import ClientConfig
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

BUILD_ID = os.environ["TEMPORAL_WORKER_BUILD_ID"]

@workflow.defn(name="Which")
class Which:
    @workflow.run
    async def run(self) -> str:
        return BUILD_ID

async def main():
    name = os.environ["TEMPORAL_DEPLOYMENT_NAME"]
    beat = timedelta(seconds=1)
    port = os.environ.get("ROLLOUT_METRICS_PORT")
    metrics = PrometheusConfig(bind_address=f"127.0.0.1:{port}") if port else None
    runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics), worker_heartbeat_interval=beat)
    version = WorkerDeploymentVersion(name, BUILD_ID)
    worker = Worker(
        await Client.connect(**ClientConfig.load_client_connect_config(), runtime=runtime),
        task_queue=name,
        workflows=[Which],
        workflow_runner=UnsandboxedWorkflowRunner(),
        deployment_config=WorkerDeploymentConfig(
            version=version,
            use_worker_versioning=True,
            default_versioning_behavior=VersioningBehavior.PINNED,
        ),
    )
    print("worker of", BUILD_ID, "as", os.getuid(), "at", os.environ.get("HOME"), flush=True)
    await worker.run()

asyncio.run(main())
'''
_FOREIGN = ("TEMPORAL_", "PROMETHEUS_", "SUPERVISOR_", "ROLLOUT_", "XDG_")


class OwnHome:
    """The folder ``home`` beside a supervisord of the test's own, worked on as a person does."""

    def __init__(
        self, server: DevServer, supervisord: PrivateSupervisord, python: str = sys.executable
    ) -> None:
        """``python``: what runs `rollout`, and is written into its programs."""
        self.server = server
        self.python = python
        self.supervisord = supervisord
        self.folder = supervisord.folder / "home"
        self.include = supervisord.include
        self.environ = plain(HOME=str(supervisord.folder))

    def init(
        self, *words: str, code: int = 0, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """``rollout init WORDS``, as from a shell that names the Temporal server."""
        shell = {**self.environ, **self.server.environ, **(environ or {})}
        return self._run(self.supervisord.folder, shell, "init", *words, code=code)

    def rollout(self, *words: str, code: int = 0) -> str:
        """What ``rollout WORDS`` says in the home, from a shell that names nothing."""
        done = self._run(self.folder, self.environ, *words, code=code)
        return done.stdout + done.stderr

    def status(self, *words: str) -> Any:
        """The document of ``rollout status --json``."""
        return json.loads(self._run(self.folder, self.environ, "status", "--json", *words).stdout)

    def is_current(self, build_id: str) -> bool:
        """To wait for; says what the controller says meanwhile."""
        status = self.status()
        assert status["current"] == build_id, f"{status['phase']}: {status['reason']}"
        return True

    def is_safe(self, build_id: str) -> bool:
        """Whether `status` says that it may be stopped."""
        versions = self.status()["versions"]
        return any(v["build_id"] == build_id and v["safe_to_stop"] for v in versions)

    def told(self, deployment: str) -> dict[str, Any]:
        """The same of the controller's last look, to wait for what it will see."""
        return told(deployment, self.folder / "var")

    def update(self, *programs: str) -> None:
        """``supervisorctl update``, as `init` says; then they run."""
        assert self.supervisord.ctl("update", *programs).returncode == 0

        wanted = dict.fromkeys(programs, "RUNNING")
        eventually(lambda: wanted.items() <= states(self.supervisord.socket).items())

    def release(self, build_id: str) -> Path:
        """A release folder with the worker in it."""
        folder = self.supervisord.folder / "releases" / build_id
        folder.mkdir(parents=True)
        (folder / "worker.py").write_text(_WORKER, encoding="utf-8")
        return folder

    def worker(self, deployment: str, build_id: str, program: str, suffix: str = ".ini") -> None:
        """Start a worker whose program file was written by hand."""
        script = self.supervisord.folder / "worker.py"
        script.write_text(_WORKER, encoding="utf-8")
        text = (
            f"[program:{program}]\ncommand = {sys.executable} {script}\n"
            f'environment = TEMPORAL_DEPLOYMENT_NAME="{deployment}",'
            f'TEMPORAL_WORKER_BUILD_ID="{build_id}",TEMPORAL_ADDRESS="{self.server.address}"\n'
            f"startsecs = 1\nredirect_stderr = true\n"
            f"stdout_logfile = {self.folder}/var/log/{program}.log\n"
        )
        (self.include / f"{program}{suffix}").write_text(text, encoding="utf-8")
        self.update(program)

    def _run(
        self, folder: Path, environ: Mapping[str, str], *words: str, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        if self.python == sys.executable:
            done = run_forked(["rollout", *words], cwd=folder, env=environ, timeout=90)
        else:
            done = subprocess.run(
                [self.python, "-m", "rollout", *words], cwd=folder, env=dict(environ),
                capture_output=True, text=True, timeout=90, check=False,
            )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done


def plain(**more: str) -> dict[str, str]:
    """The environment of this process, less what names a server, a home or a port."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(_FOREIGN) and name not in PORTS
    }
    return {**kept, **more}
