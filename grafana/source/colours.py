"""The one map of colours: builds, states and yes or no."""

from __future__ import annotations

import re
from collections.abc import Mapping

from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    ValueMap,
    ValueMappingResult,
)

from rollout.core.colours import NAMED

__all__ = ["BUILDS", "STATES", "build_overrides", "code_mapping", "yes_no_mapping"]

# Without a colour of its own, a build gets one by its name from Grafana's palette.
BUILDS: Mapping[str, str] = NAMED

STATES: Mapping[str, str] = {
    # versions
    "unregistered": "#6e7077",
    "created": "#8e9098",
    "inactive": "#8e9098",
    "ramping": "yellow",
    "current": "green",
    "draining": "orange",
    "drained": "blue",
    # processes
    "stopped": "#6e7077",
    "starting": "light-green",
    "running": "green",
    "backoff": "orange",
    "stopping": "yellow",
    "exited": "red",
    "fatal": "dark-red",
    # both
    "unknown": "purple",
}


def build_overrides() -> list[tuple[str, list[DynamicConfigValue]]]:
    """For every known build: the pattern of its series' names, and its colour.

    Grafana colours series by their order otherwise, so that v2 would take v1's
    colour once v1 is gone.
    """
    return [
        (
            f"/^{re.escape(build)}( |$)/",
            [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})],
        )
        for build, colour in BUILDS.items()
    ]


def code_mapping(names: tuple[str, ...]) -> ValueMap:
    """Shows the numbers of `graphs.states` as the states' names, in their colours."""
    return ValueMap(
        {
            str(code): ValueMappingResult(text=name, color=STATES[name], index=code)
            for code, name in enumerate(names, start=1)
        }
    )


def yes_no_mapping(no: str, yes: str) -> ValueMap:
    """Shows 0 and 1 as two words: grey for ``no``, green for ``yes``."""
    return ValueMap(
        {
            "0": ValueMappingResult(text=no, color="#6e7077", index=0),
            "1": ValueMappingResult(text=yes, color="green", index=1),
        }
    )
