"""The fields of ``rollout status --json``: a contract, so each is listed here with its meaning."""

from __future__ import annotations

from typing import get_args

from docs.source.markdown import code, table
from rollout.core.actions import Phase

__all__ = ["STATUS", "STATUS_VERSION", "status_json"]

STATUS = {
    "deployment": "the worker deployment",
    "namespace": "its namespace",
    "target": "the build that `rollout.toml` wants",
    "current": "the build that is current; null: none",
    "ramping": "`build_id` and `percentage` (0 to 100) of the build that gets a part of new runs; "
    "null: none",
    "paused": "whether `rollout.toml` says so",
    "manager": "the identity that alone may change the routing; null: anybody",
    "phase": f"where the rollout is: {', '.join(map(code, get_args(Phase)))}",
    "reason": "why, in a sentence",
    "observed_at": "when the oldest part of it was asked for, in RFC 3339; a version says it where "
    "a part of its own is older",
    "age_seconds": "how old that part is now",
    "source": "`controller`: by its look; `direct`: by one of this command's own",
    "server": "`address` and `namespace` of the server that was asked",
    "unassigned_runs": "running workflows on the deployment's task queues that no version has "
    "taken yet; null: not known",
    "hosts": "the worker hosts with a `rollout host`: `name`, `hostname`, `silent`, `age_seconds` "
    "since it was last heard, and the state of each of its `builds`; null: not known",
    "warnings": "what stands in the way beside that, a sentence each",
    "versions": "a build each, the oldest first; below",
}
STATUS_VERSION = {
    "build_id": "the build",
    "status": "the server's word in lower case; `unregistered`: it does not know the build; "
    "`unknown`: it says nothing clear",
    "strategy": "`compatible` or `incompatible`, as its worker declared; null: it did not",
    "set": "the version set that it is in, or would join",
    "behavior": "`pinned` or `auto-upgrade`, as declared; null: it did not",
    "behavior_exceptions": "its workflows that say another behavior for themselves; null: none",
    "blocked": "why it gets no traffic: it was rolled back; null: it may",
    "verified": "for each build whose runs were replayed on it: `passed`, or what broke",
    "drained_since": "since when, in ISO 8601; null: it is not drained",
    "target_share": "its share of new runs by the routing, 0 to 1",
    "real_share": "its share of the runs begun since the routing last changed, 0 to 1; null: not "
    "known",
    "real_samples": "how many those are; null: not known",
    "open_runs": "running workflows on it; null: not known",
    "open_runs_at": "when they were counted, or before, in RFC 3339",
    "open_pinned": "of those the ones that cannot go on elsewhere; null: not known",
    "open_auto_upgrade": "of those the ones that can; null: not known",
    "waiting_tasks": "tasks that wait in its queues, approximately; null: not known",
    "waiting_age_seconds": "for how long the oldest of them has waited, approximately; null: not "
    "known",
    "waiting_at": "when that was asked for, in RFC 3339",
    "workers": "its worker processes whose heartbeat goes on; null: not known",
    "hosts": "the state of its programs on each host that has some, by the host's name",
    "process": "its program's state in supervisord; null: it has none here",
    "safe_to_stop": "whether its workers may be stopped; anything unknown means no",
    "evidence": "the points of that verdict: `check`, `ok`, and `detail` in a sentence",
}


def status_json() -> str:
    """Two tables: the whole, and one of its versions."""
    return "\n\n".join(
        (
            _table(STATUS),
            "Each of `versions`:",
            _table(STATUS_VERSION),
        )
    )


def _table(fields: dict[str, str]) -> str:
    return table(("field", "meaning"), ((code(name), text) for name, text in fields.items()))
