"""The one map of colours: builds, states, phases, and yes or no.

What calls for a person is red and nothing else is; what is done is green. A version that has
drained is blue, for it is done, and its workers still run.
"""

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

_GREY = "#6e7077"

# Without a colour of its own, a build gets one by its name from Grafana's palette.
BUILDS: Mapping[str, str] = NAMED

STATES: Mapping[str, str] = {
    # versions
    "unregistered": _GREY,
    "created": "#8e9098",
    "inactive": "#8e9098",
    "ramping": "yellow",
    "current": "green",
    "draining": "orange",
    "drained": "blue",
    # processes
    "stopped": _GREY,
    "starting": "light-green",
    "running": "green",
    "backoff": "orange",
    "stopping": "yellow",
    "exited": "red",
    "fatal": "dark-red",
    # versions and processes
    "unknown": "purple",
    # phases of a rollout
    "waiting": "orange",
    "paused": "purple",
    "manual": "light-purple",
    "blocked": "red",
    "progressing": "blue",
    "moving": "light-blue",
    "complete": "green",
    # the judge's word
    "advance": "green",
    "hold": "orange",
    "rollback": "red",
    # gates and replays
    "passed": "green",
    "failed": "red",
    "untried": "orange",
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


def code_mapping(
    names: tuple[str, ...], words: Mapping[str, tuple[str, str]] | None = None
) -> ValueMap:
    """Shows numbers from 1 as the ``names`` in that order, in their colours.

    ``words`` has the text and the colour of those that are to be shown otherwise.
    """
    told = {name: (name.replace("_", " "), STATES.get(name, "text")) for name in names}
    told.update(words or {})
    return ValueMap(
        {
            str(code): ValueMappingResult(text=told[name][0], color=told[name][1], index=code)
            for code, name in enumerate(names, start=1)
        }
    )


def yes_no_mapping(no: tuple[str, str], yes: tuple[str, str]) -> ValueMap:
    """Shows 0 and 1 as two words, each with its colour."""
    return ValueMap(
        {
            "0": ValueMappingResult(text=no[0], color=no[1], index=0),
            "1": ValueMappingResult(text=yes[0], color=yes[1], index=1),
        }
    )
