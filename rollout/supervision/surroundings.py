"""Which Temporal, and which ports, the running stack uses; and where this shell says otherwise.

A shell that has lost TEMPORAL_NAMESPACE would ask one server about the processes of another,
and believe that what they run is unknown. So every command asks the world of the stack that
runs here, unless it is told to look elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from rollout.base.settings import PORTS, VAR

__all__ = ["World", "adopt", "is_secret", "of_running_stack", "of_supervisord"]

_NAMES = frozenset({*PORTS, "PROMETHEUS_URL", "METRICS_HOST"})
_PREFIX = "TEMPORAL_"
_OF_WORKERS = ("TEMPORAL_DEPLOYMENT_NAME", "TEMPORAL_WORKER_BUILD_ID")
_SECRET = ("API_KEY", "DATA", "AUTH", "CODEC", "METADATA", "GRPC_META")


@dataclass(frozen=True)
class World:
    """The variables that decide which server is asked and where things listen."""

    variables: Mapping[str, str]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> World:
        """The world that ``environ`` describes; what is empty is not set."""
        return cls({name: value for name, value in environ.items() if _decides(name) and value})

    def differences(self, other: World) -> tuple[str, ...]:
        """Where ``other`` says something else than this world, a sentence each; no secret shown.

        What ``other`` leaves unsaid is no difference: it then means this world. Nor is what it
        says and this world means without saying so, such as the usual port.
        """
        return tuple(
            f"{name} is {_shown(name, value)} in this shell, and "
            f"{_shown(name, self.variables.get(name))} in the running stack"
            for name, value in sorted(other.variables.items())
            if self._meant(name) != value
        )

    def _meant(self, name: str) -> str | None:
        """What ``name`` comes to in this world, said or not; None where nothing does."""
        if (said := self.variables.get(name)) is not None:
            return said
        if any(self.variables.get(each) for each in ("TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")):
            return str(PORTS[name]) if name in PORTS else None
        return {
            **{each: str(number) for each, number in PORTS.items()},
            "TEMPORAL_ADDRESS": f"127.0.0.1:{self._port('TEMPORAL_PORT')}",
            "TEMPORAL_NAMESPACE": "default",
            "PROMETHEUS_URL": f"http://127.0.0.1:{self._port('PROMETHEUS_PORT')}",
            "METRICS_HOST": "127.0.0.1",
        }.get(name)

    def _port(self, name: str) -> str:
        return self.variables.get(name, str(PORTS[name]))


def of_running_stack(var: Path = VAR) -> World | None:
    """The world of the supervisord that runs here; None where none does, or it is not ours to see.

    By its pid file: that it has to be quick, and that the process is a supervisord, is enough.
    """
    try:
        pid = int((var / "run" / "supervisord.pid").read_text())
    except (OSError, ValueError):
        return None
    return of_supervisord(pid)


def of_supervisord(pid: int) -> World | None:
    """The world of the supervisord with this process id; None where it is none, or not ours."""
    import psutil  # noqa: PLC0415 - a home that was set up needs none of it

    with contextlib.suppress(OSError, OverflowError, psutil.Error):
        process = psutil.Process(pid)
        if any(Path(word).name == "supervisord" for word in process.cmdline()[:3]):
            return World.of(process.environ())
    return None


def adopt(world: World, environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """Make ``environ`` describe ``world``; where it said something else before, a sentence each."""
    before = World.of(environ)
    for name in before.variables:
        del environ[name]
    environ.update(world.variables)
    return world.differences(before)


def _decides(name: str) -> bool:
    return name in _NAMES or (name.startswith(_PREFIX) and name not in _OF_WORKERS)


def is_secret(name: str) -> bool:
    """Whether the variable ``name`` holds what nobody is to read."""
    return any(part in name for part in _SECRET)


def _shown(name: str, value: str | None) -> str:
    if value is None:
        return "not set"
    return "another" if is_secret(name) else repr(value)
