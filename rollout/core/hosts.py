"""Pure: what the worker hosts mean for a rollout.

A host that is silent is unknown: it makes nothing safe to stop, and no target ready. Nor does one
that is missing: `rollout forget-host` is how a person says that it is gone for good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from rollout.core.actions import TellHosts
from rollout.core.config import RolloutConfig
from rollout.core.host_notes import Host, noted_on, wanted_text
from rollout.core.observation import STARTABLE, Observation, Status, Version

__all__ = [
    "hosts_of",
    "hosts_shown",
    "lacks_hosts",
    "may_act",
    "note_version",
    "others_with",
    "silence",
    "told_to_hosts",
]

_NOT_MEANT = ("STOPPED", "EXITED")
"""A program in one of these was stopped by somebody: nobody expects it to serve."""


def note_version(seen: Observation) -> str | None:
    """The version on which hosts and the controller leave their notes."""
    ramping = seen.ramping.build_id if seen.ramping else None
    known = {v.build_id: v.created_at for v in seen.versions if v.status != "unregistered"}
    return noted_on(seen.current, ramping, known)


def hosts_of(seen: Observation, build_id: str) -> Mapping[str, str]:
    """The state of the build's programs on each host that has some, this one included."""
    found = {h.name: h.builds[build_id] for h in seen.hosts or () if build_id in h.builds}
    if own := seen.version(build_id).process:
        found[seen.here] = own
    return found


def others_with(seen: Observation, build_id: str) -> tuple[str, ...]:
    """The other hosts that have a program of the build, or may have: a silent one may."""
    return tuple(
        host.name
        for host in seen.hosts or ()
        if host.name != seen.here and (build_id in host.builds or host.silent)
    )


def silence(host: Host) -> str:
    """What is to be said of a silent host."""
    since = f" since {host.heard_at:%H:%M:%S} UTC" if host.heard_at else ""
    return f"host {host.name} has been silent{since}: what runs there is not known"


def lacks_hosts(hosts: int | Literal["all"], seen: Observation, target: Version) -> str | None:
    """Why ``target`` is not on the hosts yet where it has to be; None: it is.

    With "all" those are the hosts that serve the current version, and each must be heard of.
    """
    if seen.hosts is None:
        return "which hosts there are is not known"
    return _lacks_all(seen, target) if hosts == "all" else _lacks_some(hosts, seen, target)


def _lacks_some(hosts: int, seen: Observation, target: Version) -> str | None:
    names = {*(host.name for host in seen.hosts or ()), *([seen.here] if seen.here else [])}
    ready = [name for name in sorted(names) if _missing(seen, name, target) is None]
    if len(ready) >= hosts:
        return None
    on = f": {', '.join(ready)}" if ready else ""
    return f"{target.build_id} runs on {len(ready)} of {hosts} hosts{on}"


def _lacks_all(seen: Observation, target: Version) -> str | None:
    if not seen.hosts:
        return None
    for host in seen.hosts:
        if host.silent:
            gone = f"`rollout forget-host {host.name}` if it is gone for good"
            return f"{silence(host)} ({gone})"
    serving = hosts_of(seen, seen.current) if seen.current else {}
    for name, state in sorted(serving.items()):
        if state not in _NOT_MEANT and (missing := _missing(seen, name, target)):
            return f"{missing}, which serves {seen.current}"
    return None


def may_act(
    config: RolloutConfig, builds: Mapping[str, str], statuses: Mapping[str, Status]
) -> bool:
    """Whether a host with these states of its ``builds`` may have something to do for them.

    It costs a whole look to know. ``statuses`` are the server's.
    """
    stops, deletes = math.isfinite(config.sunset.stop), math.isfinite(config.sunset.delete)
    target, matches = config.deployment.target, config.scale.target == "match"
    if matches and target in builds and statuses.get(target) != "current":
        return True
    for build_id, state in builds.items():
        wanted = build_id == target
        if state in STARTABLE and (stops or deletes or (wanted and config.deployment.rolls_back)):
            return True
        if stops and not wanted and statuses.get(build_id) in ("drained", "inactive"):
            return True
        draining = statuses.get(build_id) in ("draining", "drained")
        if config.scale.draining == "shrink" and draining and not wanted:
            return True
    return False


def told_to_hosts(config: RolloutConfig, seen: Observation) -> tuple[TellHosts, ...]:
    """What is wanted, where there are hosts that have not been told yet."""
    noted = note_version(seen)
    if not seen.hosts or noted is None:
        return ()
    text = wanted_text(config)
    return (TellHosts(noted, text),) if seen.wanted != text else ()


def hosts_shown(seen: Observation, build_id: str) -> str:
    """On how many hosts it runs, of those that have a program of it; ``?``: some are silent."""
    if seen.hosts is None:
        return "?"
    found = hosts_of(seen, build_id)
    silent = {host.name for host in seen.hosts if host.silent}
    running = sum(state == "RUNNING" for name, state in found.items() if name not in silent)
    return f"{running}/{len(found)}{'?' if silent & set(found) else ''}" if found else "-"


def _missing(seen: Observation, name: str, target: Version) -> str | None:
    """What is missing of ``target`` on the host ``name``; None: it runs, and polls."""
    state = hosts_of(seen, target.build_id).get(name)
    host = next((each for each in seen.hosts or () if each.name == name), None)
    if host is not None and host.silent:
        return silence(host)
    if state is None:
        return f"there is no program of {target.build_id} on {name}"
    if state != "RUNNING":
        return f"{target.build_id} is {state} on {name}"
    told_apart = host is not None and _alone_of_its_name(seen, host)
    if host is not None and told_apart and not target.worker_hosts.get(host.hostname):
        return f"{target.build_id} runs on {name}, but no worker of it there polls yet"
    return None


def _alone_of_its_name(seen: Observation, host: Host) -> bool:
    """Whether its workers' heartbeats tell it from the other hosts."""
    return sum(each.hostname == host.hostname for each in seen.hosts or ()) == 1
