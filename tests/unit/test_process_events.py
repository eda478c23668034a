"""What supervisord's own log tells of its processes."""

from __future__ import annotations

from rollout.supervision.process_events import process_events, restarts
from rollout.supervision.process_log import ProcessLog

LOG = """\
2026-11-22 11:59:58,001 INFO supervisord started with pid 10
2026-11-22 12:00:00,001 INFO spawned: 'worker-v1' with pid 11
2026-11-22 12:00:01,002 INFO success: worker-v1 entered RUNNING state, process has stayed up for > than 1 seconds (startsecs)
2026-11-22 12:00:05,003 WARN exited: worker-v1 (terminated by SIGKILL; not expected)
2026-11-22 12:00:06,004 INFO spawned: 'worker-v1' with pid 12
2026-11-22 12:00:07,005 INFO waiting for worker-v1 to stop
2026-11-22 12:00:09,006 WARN killing 'worker-v1' (12) with SIGKILL
2026-11-22 12:00:09,007 WARN stopped: worker-v1 (terminated by SIGKILL)
2026-11-22 12:00:10,008 INFO gave up: worker-v2 entered FATAL state, too many start retries too quickly
2026-11-22 12:00:11,009 INFO exited: once (exit status 0; expected)
something else
"""  # noqa: E501


def test_each_sentence_of_supervisord_is_an_event() -> None:
    """What happened to which process, and whether somebody meant it to."""
    found = [(event.kind, event.text, event.is_bad) for event in process_events(LOG)]

    assert found == [
        ("started", "worker-v1 was started (pid 11)", False),
        ("ready", "worker-v1 runs", False),
        (
            "exited",
            "worker-v1 has ended by itself (terminated by SIGKILL; not expected)",
            True,
        ),
        ("started", "worker-v1 was started (pid 12)", False),
        ("killed", "worker-v1 did not stop in time, and is killed", True),
        ("stopped", "worker-v1 was stopped (terminated by SIGKILL)", False),
        (
            "gave-up",
            "worker-v2 is FATAL: supervisord has given it up (too many start retries too quickly)",
            True,
        ),
        ("exited", "once has ended by itself (exit status 0; expected)", False),
    ]


def test_a_restart_is_a_start_after_an_end_that_nobody_asked_for() -> None:
    """A stop on purpose begins the count anew."""
    events = list(process_events(LOG))

    assert restarts(events[:3]) == {"worker-v1": 0}
    assert restarts(events[:4]) == {"worker-v1": 1}
    assert restarts(events) == {"worker-v1": 0, "worker-v2": 0, "once": 0}


def test_the_restarts_of_a_build_are_those_of_its_processes() -> None:
    """Others' processes count nowhere."""
    events = tuple(process_events(LOG))[:4]

    assert ProcessLog(events, {"worker-v1": "v1"}, frozenset()).restarts() == {"v1": 1}
    assert ProcessLog(events, {}, frozenset()).restarts() == {}
