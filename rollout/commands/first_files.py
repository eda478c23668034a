"""The texts of the files that `rollout init` writes: right for a first day, and commented."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rollout.base.home import HOME_FILE
from rollout.base.names import UNVERSIONED

__all__ = ["CONTROLLER", "EXPORTER", "First", "is_plain"]

CONTROLLER, EXPORTER = "rollout", "rollout-exporter"
"""What supervisord calls the two."""

_HOME = """\
; Which supervisord, and where things are. Written by `rollout init`; every `rollout` command and
; every program that it starts reads it.

[rollout]
supervisor = {url}
supervisord_conf = {conf}
programs = {include}
state = {state}

; Which Temporal server, and where Prometheus is, for the controller, the exporter, the commands and
; the workers. No secrets here: TEMPORAL_CONFIG_FILE may name a file that only their user can read.
[environment]
{environment}
"""

_INTENT = """\
# What is wanted of the deployment {name}. The controller reads this file again whenever it changes;
# `rollout to|rollback|promote|pause|resume` edit it for you and keep these comments.

[deployment]
name = {name_text}
task_queue = {task_queue}
# {about}
target = {target}
paused = {paused}

[progressive]
settle = "20s"           # least time from one version becoming current to the next ramp
steps = [
  {{ percentage = 10, pause = "5m" }},
  {{ percentage = 50, pause = "5m" }},
]

[verify]
compatible = "off"       # "required": a compatible build gets traffic once runs replay on it

[sunset]
stop = "manual"          # or "1h": workers of a drained, safe version are stopped so long after
delete = "manual"        # or "24h": program file and the server's record go so long after
keep = 1                 # so many of the last current versions stay as they are, for a rollback

# To turn on: fewer processes of a draining build as its runs end, and as many of a new build as the
# current one has before it gets traffic.
# [scale]
# draining = "shrink"
# target = "match"

# To turn on: a smoke run on a new build before real traffic. Your builds need this workflow.
# [gate]
# workflow = "SmokeTest"   # one that takes no argument; else add `input = ...`
# timeout = "30s"

# To turn on: the target against the current build at each step. It needs Prometheus, with the
# scrape jobs of prometheus-scrape.yml, and workers that serve metrics.
# [analysis]
# min_samples = 20
"""

_CONTROLLER = """\
; The controller of the deployments in {folder}. Written by `rollout init`.
[program:{name}]
command = {python} -m rollout launch --port {port}
          {python} -m rollout run --metrics-port {port}
environment = ROLLOUT_HOME="{folder}",LOG_FORMAT="json"
directory = {folder}
startsecs = 2
startretries = 10
autorestart = true
stopwaitsecs = 10
redirect_stderr = true
stdout_logfile = {logs}/{name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 2
"""

_EXPORTER = """\
; Processes and versions as metrics, and what Prometheus is to scrape. Written by `rollout init`.
[eventlistener:{name}]
command = {python} -m rollout launch --port {port}
          {python} -m rollout exporter --port {port}
environment = ROLLOUT_HOME="{folder}",LOG_FORMAT="json"
directory = {folder}
events = PROCESS_STATE,PROCESS_GROUP
buffer_size = 1024
startsecs = 2
startretries = 10
autorestart = true
stopwaitsecs = 5
stderr_logfile = {logs}/{name}.log
stderr_logfile_maxbytes = 10MB
stderr_logfile_backups = 2
stdout_logfile = NONE
"""

_SCRAPE = """\
# For the scrape_configs of your Prometheus. The exporter keeps the two files up to date.
scrape_configs:
  - job_name: worker
    # Which build it is the target says, so no honor_labels. What a worker says itself, in its SDK's
    # spelling perhaps, would be there once more as exported_*.
    metric_relabel_configs:
      - action: labeldrop
        regex: exported_(build_id|deployment_name)
    file_sd_configs:
      - files: [{targets}/workers.json]
        refresh_interval: 5s
  - job_name: rollout
    file_sd_configs:
      - files: [{targets}/stack.json]
        refresh_interval: 5s
"""


@dataclass(frozen=True)
class First:
    """What the files of a new home are to say."""

    folder: Path
    state: Path
    url: str
    conf: Path
    include: Path
    deployment: str
    task_queue: str
    current: str | None
    """What is current on the server; None: nothing is, or nobody knows."""
    is_known: bool
    """Whether the server was asked."""
    ports: Mapping[str, int]
    environment: Mapping[str, str] = field(default_factory=dict)

    def files(self) -> Mapping[Path, str]:
        """The text of each, those of the home first."""
        programs = self.include.parent
        return {
            self.folder / HOME_FILE: self._home(),
            self.intent: self._intent(),
            self.folder / "prometheus-scrape.yml": _SCRAPE.format(targets=self.state / "targets"),
            programs / f"{CONTROLLER}{self.include.suffix}": self._program(CONTROLLER, _CONTROLLER),
            programs / f"{EXPORTER}{self.include.suffix}": self._program(EXPORTER, _EXPORTER),
        }

    @property
    def intent(self) -> Path:
        """The file of the deployment."""
        return self.folder / f"{self.deployment}.toml"

    def _home(self) -> str:
        environment = "\n".join(f"{name} = {text}" for name, text in self.environment.items())
        return _HOME.format(
            url=self.url,
            conf=self.conf,
            include=self.include,
            state=self.state,
            environment=environment or "; TEMPORAL_ADDRESS = 127.0.0.1:7233",
        )

    def _intent(self) -> str:
        if self.current:
            about = "the build that new runs should go to: it is current on the server now"
        elif self.is_known:
            about = "workers without a version, as now; `rollout to BUILD` begins with versions"
        else:
            about = "the server was not asked: say with `rollout to BUILD` what is wanted, then"
        return _INTENT.format(
            name=self.deployment,
            name_text=_text(self.deployment),
            task_queue=_text(self.task_queue),
            about=about if self.is_known else f"{about} `rollout resume`",
            target=_text(self.current or UNVERSIONED),
            paused=str(not self.is_known).lower(),
        )

    def _program(self, name: str, text: str) -> str:
        return text.format(
            name=name,
            # Not resolved: a virtual environment's Python may be a link to the system's.
            python=sys.executable,
            folder=self.folder,
            logs=self.state / "log",
            port=self.ports[name],
        )


def is_plain(path: Path | str) -> bool:
    """Whether it can stand in a program file as it is."""
    return not any(sign in str(path) for sign in " \t\n\"'%;#,$\\")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
