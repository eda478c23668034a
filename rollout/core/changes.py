"""Pure: what has happened between two looks at a deployment, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rollout.core.observation import Observation, Version
from rollout.core.verdict import safe_to_stop

__all__ = ["what_changed"]


def what_changed(before: Observation, after: Observation, target: str) -> tuple[str, ...]:
    """What has happened between two observations, a sentence each."""
    return (*_of_routing(before, after), *_of_versions(before, after, target))


def _of_routing(before: Observation, after: Observation) -> Iterator[str]:
    if after.manager != before.manager:
        yield f"{after.manager} manages the deployment" if after.manager else "nobody manages it"
    if after.ramping != before.ramping:
        if after.ramping:
            yield f"{after.ramping.percentage:g} % of new runs go to {after.ramping.build_id}"
        elif before.ramping and before.ramping.build_id != after.current:
            yield f"the ramp of {before.ramping.build_id} has ended"
    if after.current != before.current:
        yield f"new runs go to {after.current}" if after.current else "nothing is current"
    for run in after.gates:
        if run not in before.gates:
            why = f": {run.detail}" if run.detail else ""
            yield f"the gate on {run.task_queue}, try {run.attempt}, {_verb(run.outcome)}{why}"


def _verb(outcome: str) -> str:
    return {"running": "has begun", "passed": "has passed", "failed": "has failed"}[outcome]


def _of_versions(before: Observation, after: Observation, target: str) -> Iterator[str]:
    known: Mapping[str, Version] = {version.build_id: version for version in before.versions}
    for version in after.versions:
        old = known.get(version.build_id) or Version(version.build_id, "unregistered")
        yield from _of_version(old, version)
        # Each as it was then: an observation that was not repeated is no change of the version.
        was = safe_to_stop(before, version.build_id, target, before.at).safe_to_stop
        now = safe_to_stop(after, version.build_id, target, after.at).safe_to_stop
        if version.build_id in known and was != now:
            yield f"{version.build_id} is {'safe' if now else 'no longer safe'} to stop"
    there = {version.build_id for version in after.versions}
    yield from (f"{build_id} is gone" for build_id in known if build_id not in there)


def _of_version(old: Version, new: Version) -> Iterator[str]:
    name = new.build_id
    if new.shown_status != old.shown_status:
        yield f"{name} is {new.shown_status} (was {old.shown_status})"
    if new.process and new.process != old.process:
        yield f"the process of {name} is {new.process}"
    had = 0 if old.status == "unregistered" else old.workers
    if None not in (had, new.workers) and new.workers != had:
        count = new.workers or "no"
        yield f"{name} has {count} live {'worker' if new.workers == 1 else 'workers'}"
    if old.open_runs and new.open_runs == 0:
        yield f"no run is open on {name} any more"
    if new.blocked and new.blocked != old.blocked:
        yield f"{name} gets no traffic: {new.blocked}"
    for source, outcome in new.verified.items():
        if outcome != old.verified.get(source):
            yield f"the replay of {source}'s runs on {name}: {outcome}"
