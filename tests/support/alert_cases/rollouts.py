"""The alerts of alerts_rollout.yml: when they fire, and when not."""

from __future__ import annotations

from tests.support.alerts import Case

__all__ = ["CASES"]

_OF = {"namespace": "default", "deployment_name": "greetings"}
_V2 = {**_OF, "build_id": "v2"}


def _series(name: str, job: str = "rollout", **labels: str) -> str:
    told = {"job": job, "instance": "127.0.0.1:9193", **_OF, **labels}
    labelled = ", ".join(f'{key}="{value}"' for key, value in told.items())
    return f"{name}{{{labelled}}}"


def _seen(name: str, **labels: str) -> str:
    return _series(f"temporal_worker_deployment_{name}", "exporter", **labels)


def _judged(what: str, side: str, build: str, work: str = "activities") -> str:
    return _series(f"rollout_analysis_{what}", build_id=build, side=side, work=work)


_TARGET = _series("rollout_target_info", build_id="v2")
_LIMITS = {
    _series("rollout_analysis_failure_limit_ratio"): "0.05x80",
    _series("rollout_analysis_samples_limit"): "10x80",
}


def _waiting(kind: str, phase: str = "waiting") -> str:
    return _series("rollout_reason_since_seconds", phase=phase, kind=kind)


_STATE = (
    Case(
        "RolledBack",
        "until the block is lifted",
        {_TARGET: "1x80", _series("rollout_blocked", kind="rolled_back"): "0x6 1x24 0x20"},
        quiet=("20s", "3m"),
        fires="1m",
        labels=_V2,
        summary="Build v2 of greetings was rolled back, and gets no new runs.",
    ),
    Case(
        "RolledBack",
        "still an hour later, although the controller was started again meanwhile",
        {
            _TARGET: "1x30 stale 1x60",
            _series("rollout_blocked", kind="rolled_back"): "1x30 stale 1x60",
        },
        interval="1m",
        fires="1h",
        labels=_V2,
        summary="Build v2 of greetings was rolled back, and gets no new runs.",
    ),
    Case(
        "RolledBack",
        "the target was changed by hand at that moment",
        {
            _TARGET: "1x6 stale",
            _series("rollout_target_info", build_id="v1"): "_x6 1x20",
            _series("rollout_blocked", kind="rolled_back"): "0x30",
        },
        quiet=("30s", "1m"),
    ),
    Case(
        "RolloutBlocked",
        "its gate has failed, until it is tried again",
        {
            _TARGET: "1x80",
            _series("rollout_blocked", kind="gate"): "0x6 1x24 0x20",
            _series("rollout_blocked", kind="replay"): "0x80",
            _series("rollout_blocked", kind="rolled_back"): "0x80",
        },
        quiet=("30s", "3m"),
        fires="1m",
        labels={**_V2, "kind": "gate"},
        summary="The rollout of build v2 of greetings waits for a person (gate).",
    ),
    Case(
        "RolloutBlocked",
        "one that was rolled back has an alert of its own",
        {_TARGET: "1x80", _series("rollout_blocked", kind="rolled_back"): "1x80"},
        quiet=("1m",),
    ),
    Case(
        "RolloutHeld",
        "longer than max_hold, until it is promoted",
        {
            _series("rollout_held_seconds"): "0 0+60x13 0x5",
            _series("rollout_held_limit_seconds"): "600x20",
        },
        interval="1m",
        quiet=("10m", "16m"),
        fires="13m",
        labels=_OF,
        summary=("Analysis has held the step of greetings for 12m 0s, longer than max_hold."),
    ),
    Case(
        "TargetWithoutWorker",
        "until its first worker polls",
        {_waiting("no_worker"): "0x40 stale", _waiting("routing", "progressing"): "_x41 205x20"},
        quiet=("1m50s", "4m"),
        fires="3m",
        labels={**_OF, "kind": "no_worker"},
        summary=(
            "The build that greetings should move to has had no worker where it needs one for "
            "3m 0s (no_worker)."
        ),
    ),
    Case(
        "RolloutWaits",
        "for something else, and for longer",
        {_waiting("unreadable"): "0x12 stale"},
        interval="1m",
        quiet=("9m", "14m"),
        fires="12m",
        labels={**_OF, "kind": "unreadable"},
        summary="The rollout of greetings has waited for 12m 0s (unreadable).",
    ),
    Case(
        "RolloutWaits",
        "one that progresses or is complete waits for nothing",
        {_waiting("complete", "complete"): "0x20"},
        interval="1m",
        quiet=("15m",),
    ),
)

_TRAFFIC = (
    Case(
        "NewRunsWait",
        "until they have begun",
        {_seen("stuck_runs"): "0x6 7x12 0x20"},
        quiet=("50s", "1m50s"),
        fires="1m20s",
        labels=_OF,
        summary="7 new runs of greetings have waited for more than 10 s for their first task.",
    ),
    Case(
        "RunsStranded",
        "until they are moved",
        {_seen("stranded_runs"): "0x6 3x12 0x20"},
        quiet=("50s", "1m50s"),
        fires="1m20s",
        labels=_OF,
        summary=("3 open runs of greetings are pinned to versions that the server has forgotten."),
    ),
    Case(
        "ShareFarFromMeant",
        "its workers do not keep up, for a while",
        {
            _seen("version_real_ratio", build_id="v2"): "0.1x40",
            _seen("version_falls_short", build_id="v2"): "0x6 1x12 0x20",
            _seen("version_real_ratio", build_id="v1"): "0.9x40",
            _seen("version_falls_short", build_id="v1"): "0x40",
        },
        quiet=("50s", "1m50s"),
        fires="1m20s",
        labels=_V2,
        summary=(
            "Build v2 of greetings really gets 10% of new runs, less than half of what is meant "
            "for it."
        ),
    ),
)

_ANALYSIS = (
    Case(
        "TargetFailsMore",
        "40 % of its activities fail, none of the current one's; then it is rolled back",
        {
            **_LIMITS,
            _judged("executions", "target", "v2"): "0+5x24 stale",
            _judged("failures", "target", "v2"): "0+2x24 stale",
            _judged("executions", "current", "v1"): "0+50x24 stale",
            _judged("failures", "current", "v1"): "0x24 stale",
            _judged("executions", "target", "v2", "workflows"): "0+5x24 stale",
            _judged("failures", "target", "v2", "workflows"): "0x24 stale",
        },
        quiet=("5s", "2m30s"),
        fires="1m",
        labels={**_V2, "work": "activities"},
        summary=(
            "40% more of the activities fail on build v2 of greetings than on the current one."
        ),
    ),
    Case(
        "TargetFailsMore",
        "the current build has done nothing",
        {
            **_LIMITS,
            _judged("executions", "target", "v2"): "20x24",
            _judged("failures", "target", "v2"): "5x24",
            _judged("executions", "current", "v1"): "0x24",
            _judged("failures", "current", "v1"): "0x24",
        },
        fires="1m",
        labels={**_V2, "work": "activities"},
        summary=(
            "25% more of the activities fail on build v2 of greetings than on the current one."
        ),
    ),
    Case(
        "TargetFailsMore",
        "both builds fail alike, and few executions prove nothing",
        {
            **_LIMITS,
            _judged("executions", "target", "v2"): "40x24",
            _judged("failures", "target", "v2"): "8x24",
            _judged("executions", "current", "v1"): "400x24",
            _judged("failures", "current", "v1"): "80x24",
            _judged("executions", "target", "v2", "workflows"): "5x24",
            _judged("failures", "target", "v2", "workflows"): "2x24",
        },
        quiet=("1m",),
    ),
    Case(
        "TargetSlower",
        "its latency is beyond what the current one's allows, for a while",
        {
            _series(
                "rollout_analysis_latency_seconds",
                build_id="v2",
                side="target",
                latency="end_to_end",
            ): "1x6 5x12 1x20",
            _series(
                "rollout_analysis_latency_seconds",
                build_id="v1",
                side="current",
                latency="end_to_end",
            ): "1x40",
            _series("rollout_analysis_latency_limit_seconds", latency="end_to_end"): "2x40",
        },
        quiet=("50s", "1m50s"),
        fires="1m20s",
        labels={**_V2, "latency": "end_to_end"},
        summary=(
            "The end_to_end latency of build v2 of greetings is 5s at the 95th percentile, more "
            "than the current one's allows."
        ),
    ),
)

_NOT_RECONCILING = (
    "The rollout controller gets nothing done for greetings, so traffic stays where it is."
)

_CONTROLLER = (
    Case(
        "ControllerNotReconciling",
        "every round fails",
        {
            _series("rollout_reconciles_total", result="ok"): "0x60",
            _series("rollout_reconciles_total", result="error"): "0+2x60",
        },
        quiet=("10s",),
        fires="1m",
        labels=_OF,
        summary=_NOT_RECONCILING,
    ),
    Case(
        "ControllerNotReconciling",
        "it answers, and hangs for some minutes",
        {_series("rollout_reconciles_total", result="ok"): "0+2x12 24x40 25+2x20"},
        quiet=("1m", "5m"),
        fires="3m",
        labels=_OF,
        summary=_NOT_RECONCILING,
    ),
    Case(
        "ObservationStale",
        "the server answers too slowly, for a while",
        {_series("rollout_observation_age_seconds"): "2x6 5+5x24 2x20"},
        quiet=("1m20s", "3m"),
        fires="2m20s",
        labels=_OF,
        summary="What is known of greetings is 1m 50s old; nothing counts as safe to stop.",
    ),
    Case(
        "ConfigBroken",
        "until it is mended",
        {_series("rollout_config_ok"): "1x6 0x12 1x20"},
        quiet=("50s", "1m50s"),
        fires="1m20s",
        labels=_OF,
        summary=("The rollout.toml of greetings cannot be used; the last good one stays in force."),
    ),
    Case(
        "VersionLimitNear",
        "until some are deleted",
        {
            _seen("versions"): "80x6 95x24 60x20",
            _series("rollout_version_limit"): "100x60",
        },
        quiet=("1m", "3m"),
        fires="2m",
        labels=_OF,
        summary=(
            "greetings has 95% of the versions that the server allows it; a new build's workers "
            "cannot register beyond that."
        ),
    ),
    Case(
        "HostSilent",
        "until it is heard again",
        {
            _seen("host_silent", host="web-1"): "0x6 1x12 0x20",
            _seen("host_silent", host="web-2"): "0x40",
        },
        quiet=("50s", "1m50s"),
        fires="1m20s",
        labels={**_OF, "host": "web-1"},
        summary=(
            "Worker host web-1 of greetings has not been heard for a minute; what runs there is "
            "unknown."
        ),
    ),
    Case(
        "ClockSkew",
        "until its clock is set",
        {_seen("skewed_clocks"): "0x6 1x18 0x20"},
        quiet=("1m20s", "2m20s"),
        fires="1m50s",
        labels=_OF,
        summary=("1 worker hosts of greetings have a clock that is far from the controller's."),
    ),
)

CASES = (*_STATE, *_TRAFFIC, *_ANALYSIS, *_CONTROLLER)
