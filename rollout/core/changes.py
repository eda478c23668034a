"""Pure: what has happened between two looks at a deployment, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rollout.core.observation import Observation, Version
from rollout.core.verdict import safe_to_stop

__all__ = ["Change", "changes_between", "what_changed"]


@dataclass(frozen=True)
class Change:
    """One thing that was seen to have happened, whoever did it."""

    name: str
    """One of `rollout.core.event_names.EVENTS`."""
    text: str
    build_id: str | None = None
    who: str = ""
    """Who did it, where the server names somebody else than the deployment's manager."""


def what_changed(before: Observation, after: Observation, target: str) -> tuple[str, ...]:
    """What has happened between two observations, a sentence each."""
    return tuple(change.text for change in changes_between(before, after, target))


def changes_between(before: Observation, after: Observation, target: str) -> tuple[Change, ...]:
    """What has happened between two observations, with the stable name of each."""
    return (*_of_routing(before, after), *_of_versions(before, after, target))


def _of_routing(before: Observation, after: Observation) -> Iterator[Change]:
    if after.manager != before.manager:
        who = f"{after.manager} manages the deployment" if after.manager else "nobody manages it"
        yield Change("manager.seen", who)
    ramp, who = after.ramping, "" if after.modifier == after.manager else after.modifier
    by = f", by {who}" if who else ""
    if ramp != before.ramping:
        if ramp:
            share = f"{ramp.percentage:g} % of new runs go to {ramp.build_id}"
            yield Change("routing.seen", f"{share}{by}", ramp.build_id, who)
        elif before.ramping and before.ramping.build_id != after.current:
            ended = before.ramping.build_id
            yield Change("routing.seen", f"the ramp of {ended} has ended{by}", ended, who)
    if after.current != before.current:
        text = f"new runs go to {after.current}" if after.current else "nothing is current"
        yield Change("routing.seen", f"{text}{by}", after.current, who)
    for run in after.gates:
        if run not in before.gates:
            why = f": {run.detail}" if run.detail else ""
            told = f"the gate on {run.task_queue}, try {run.attempt}, {_verb(run.outcome)}{why}"
            yield Change("gate.seen", told)


def _verb(outcome: str) -> str:
    return {"running": "has begun", "passed": "has passed", "failed": "has failed"}[outcome]


def _of_versions(before: Observation, after: Observation, target: str) -> Iterator[Change]:
    known: Mapping[str, Version] = {version.build_id: version for version in before.versions}
    for version in after.versions:
        build_id = version.build_id
        old = known.get(build_id) or Version(build_id, "unregistered")
        for name, text in _of_version(old, version):
            yield Change(name, text, build_id)
        # Each as it was then: an observation that was not repeated is no change of the version.
        was = safe_to_stop(before, build_id, target, before.at).safe_to_stop
        now = safe_to_stop(after, build_id, target, after.at).safe_to_stop
        if build_id in known and was != now:
            name, word = ("verdict.safe", "safe") if now else ("verdict.unsafe", "no longer safe")
            yield Change(name, f"{build_id} is {word} to stop", build_id)
    there = {version.build_id for version in after.versions}
    for build_id in known:
        if build_id not in there:
            yield Change("version.gone", f"{build_id} is gone", build_id)


def _of_version(old: Version, new: Version) -> Iterator[tuple[str, str]]:
    name = new.build_id
    if new.shown_status != old.shown_status:
        yield "version.seen", f"{name} is {new.shown_status} (was {old.shown_status})"
    if new.process and new.process != old.process:
        yield "process.seen", f"the process of {name} is {new.process}"
    had = 0 if old.status == "unregistered" else old.workers
    if None not in (had, new.workers) and new.workers != had:
        count = new.workers or "no"
        live = "worker" if new.workers == 1 else "workers"
        yield "workers.seen", f"{name} has {count} live {live}"
    if old.open_runs and new.open_runs == 0:
        yield "runs.drained", f"no run is open on {name} any more"
    if new.blocked and new.blocked != old.blocked:
        yield "version.blocked-seen", f"{name} gets no traffic: {new.blocked}"
    for source, outcome in new.verified.items():
        if outcome != old.verified.get(source):
            yield "replay.seen", f"the replay of {source}'s runs on {name}: {outcome}"
