"""Which build each worker program runs, and where each program serves its metrics.

Both are read from the commands in supervisord's configuration. A command may
hold ``${NAME:-default}``, which `rollout.supervision.launch` expands in the program's own
environment; supervisord gave this process the same one.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rollout.base.settings import DEFAULT_DEPLOYMENT
from rollout.supervision.launch import expand
from rollout.supervision.rpc import Program

__all__ = ["MetricsEndpoint", "WorkerProgram", "metrics_endpoints", "worker_programs"]


@dataclass(frozen=True)
class WorkerProgram:
    """One loaded program that runs a worker."""

    name: str
    """As `supervisorctl` calls it."""
    deployment: str
    build_id: str
    metrics_port: int | None
    versioning: str = "deployment"
    """As ``--versioning`` says: only those of a deployment are versions of it."""


@dataclass(frozen=True)
class MetricsEndpoint:
    """Where a loaded program that is no worker serves metrics."""

    name: str
    job: str
    """What kind of program it is, whatever its name: exporter, rollout, load or prometheus."""
    port: int


def worker_programs(
    programs: Iterable[Program], environ: Mapping[str, str] = os.environ
) -> tuple[WorkerProgram, ...]:
    """The workers among the loaded ``programs``, running or not, ordered by name."""
    found = []
    for program, words in _commands(programs, environ):
        if (options := _after(words, "-m", "workers")) is None:
            continue
        # A worker without the flag takes BUILD_ID from an environment that only it has.
        if build_id := _option(options, "--build-id"):
            found.append(
                WorkerProgram(
                    name=program.namespec,
                    deployment=_option(options, "--deployment") or DEFAULT_DEPLOYMENT,
                    build_id=build_id,
                    metrics_port=_port(_option(options, "--metrics-port")),
                    versioning=_option(options, "--versioning") or "deployment",
                )
            )
    return tuple(sorted(found, key=lambda worker: worker.name))


def metrics_endpoints(
    programs: Iterable[Program], environ: Mapping[str, str] = os.environ
) -> tuple[MetricsEndpoint, ...]:
    """The exporter, rollout, load and Prometheus among the loaded ``programs``, by name."""
    found = []
    for program, words in _commands(programs, environ):
        for job, start, option in (
            ("exporter", ("-m", "metrics"), "--port"),
            ("exporter", ("-m", "rollout", "exporter"), "--port"),
            ("rollout", ("-m", "rollout", "run"), "--metrics-port"),
            ("load", ("-m", "client", "load"), "--metrics-port"),
            ("prometheus", ("prometheus",), "--web.listen-address"),
        ):
            options = _after(words, *start)
            port = _port(_option(options, option)) if options is not None else None
            if port is not None:
                found.append(MetricsEndpoint(program.namespec, job, port))
    return tuple(sorted(found, key=lambda endpoint: endpoint.name))


def _commands(
    programs: Iterable[Program], environ: Mapping[str, str]
) -> Iterable[tuple[Program, list[str]]]:
    """Each loaded program with its command's words; those that cannot be read are left out."""
    for program in programs:
        if not program.loaded:
            continue
        try:
            yield program, [expand(word, environ) for word in shlex.split(program.command)]
        except (ValueError, KeyError):  # an open quote; a variable that is not set
            continue


def _after(words: Sequence[str], *start: str) -> Sequence[str] | None:
    """The words after the first occurrence of ``start``, or None where there is none."""
    for index in range(len(words) - len(start) + 1):
        if tuple(words[index : index + len(start)]) == start:
            return words[index + len(start) :]
    return None


def _option(words: Sequence[str], name: str) -> str | None:
    """The value of ``name VALUE`` or ``name=VALUE``; the last one wins, as for argparse."""
    value = None
    for index, word in enumerate(words):
        if word == name and index + 1 < len(words):
            value = words[index + 1]
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    return value


def _port(address: str | None) -> int | None:
    """The port in ``9101``, ``:9101`` or ``127.0.0.1:9101``."""
    text = (address or "").rpartition(":")[2]
    return int(text) if text.isdecimal() else None
