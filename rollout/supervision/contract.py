"""The variables that say which version a program runs, whatever its command and its language.

They stand in a program's ``environment=``, written by `rollout add` or by hand. The first two
are those that Temporal's Kubernetes worker controller gives to its workers, so that a worker
which reads them runs there and here alike. docs/own-workers.md has the table for people.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "BUILD_ID",
    "DEPLOYMENT",
    "FINGERPRINT",
    "METRICS_PORT",
    "NAMES",
    "REPLAY",
    "STRATEGY",
    "TASK_QUEUE",
    "found_in",
    "names_a_version",
]

DEPLOYMENT = "TEMPORAL_DEPLOYMENT_NAME"
BUILD_ID = "TEMPORAL_WORKER_BUILD_ID"
STRATEGY = "ROLLOUT_STRATEGY"
TASK_QUEUE = "ROLLOUT_TASK_QUEUE"
METRICS_PORT = "ROLLOUT_METRICS_PORT"
FINGERPRINT = "ROLLOUT_FINGERPRINT"
REPLAY = "ROLLOUT_REPLAY"

NAMES = (DEPLOYMENT, BUILD_ID, STRATEGY, TASK_QUEUE, METRICS_PORT, FINGERPRINT, REPLAY)


def found_in(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the contract that ``variables`` set; one that is empty is not set."""
    return {name: variables[name] for name in NAMES if variables.get(name)}


def names_a_version(variables: Mapping[str, str]) -> bool:
    """Whether ``variables`` make the program that has them a worker."""
    return bool(variables.get(DEPLOYMENT) and variables.get(BUILD_ID))
