"""What the exporter serves, computed from what was seen and what was told."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from rollout.core.observation import Observation, Ramp, Version
from rollout.exporter.deployment import STALE_AFTER, DeploymentMetrics
from rollout.exporter.folders import FolderMetrics
from rollout.exporter.listener import Event, listen, parse_tokens
from rollout.exporter.processes import ProcessMetrics
from rollout.exporter.targets import (
    alertmanagers,
    stack_targets,
    temporal_targets,
    worker_targets,
    write_if_changed,
)
from rollout.supervision.programs import Program
from rollout.supervision.rpc import Process
from tests.support.scrape import Labels, Series, labels, parse

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
LABELS = {"namespace": "default", "deployment_name": "greetings"}


def series(collector: Collector) -> Series:
    """Every series that a scrape of ``collector`` gets."""
    registry = CollectorRegistry()
    registry.register(collector)
    return parse(generate_latest(registry).decode())


def version_labels(build_id: str, **names: str) -> Labels:
    """The labels of one series of a version."""
    return labels(**LABELS, build_id=build_id, **names)


def observation(**fields: object) -> Observation:
    """A switchover at 10 %: v2 ramps, v1 is current and busy, v0 is done."""
    return Observation(
        **{  # type: ignore[arg-type]
            "deployment": "greetings",
            "namespace": "default",
            "at": NOW,
            "unassigned": 0,
            "stuck": 0,
            "current": "v1",
            "ramping": Ramp("v2", 10.0),
            "current_changed_at": NOW - timedelta(minutes=5),
            "ramping_changed_at": NOW - timedelta(seconds=30),
            "versions": (
                Version(
                    "v0",
                    "drained",
                    drained_since=NOW - timedelta(minutes=1),
                    open_runs=0,
                    zero_since=NOW - timedelta(seconds=30),
                    backlog=0,
                    workers=1,
                ),
                Version("v1", "current", open_runs=12, backlog=0, workers=2),
                Version("v2", "ramping", workers=1),
                Version("v3", "unregistered", process="STARTING"),
            ),
            **fields,
        }
    )


def process(name: str = "web", **fields: object) -> Process:
    """A process that runs since `NOW`."""
    return Process(
        **{  # type: ignore[arg-type]
            "name": name,
            "group": name,
            "state": "RUNNING",
            "pid": 7,
            "started_at": NOW,
            "exit_status": None,
            "spawn_error": "",
            **fields,
        }
    )


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        """The time now."""
        return self.seconds


class TestDeploymentMetrics:
    """The versions of a deployment."""

    def test_status_is_one_for_the_status_it_has_and_zero_for_all_others(self) -> None:
        """Every status of a version has a series, and exactly the one it has is 1."""
        metrics = DeploymentMetrics("greetings", now=lambda: NOW)
        metrics.saw(observation(), "v2")
        found = series(metrics)["temporal_worker_deployment_version_status"]
        assert len(found) == 4 * 8
        assert {key for key, value in found.items() if value == 1} == {
            version_labels("v0", status="drained"),
            version_labels("v1", status="current"),
            version_labels("v2", status="ramping"),
            version_labels("v3", status="unregistered"),
        }

    def test_target_ratios_are_the_shares_of_new_runs(self) -> None:
        """A ramp at 10 % gives the ramping version 0.1, the current one 0.9, any other 0."""
        metrics = DeploymentMetrics("greetings", now=lambda: NOW)
        metrics.saw(observation(), "v2")
        assert series(metrics)["temporal_worker_deployment_version_target_ratio"] == {
            version_labels("v0"): 0.0,
            version_labels("v1"): pytest.approx(0.9),
            version_labels("v2"): pytest.approx(0.1),
            version_labels("v3"): 0.0,
        }

    def test_only_the_drained_version_is_safe_to_stop(self) -> None:
        """Safe to stop is 1 for a drained version without open runs, and 0 for all others."""
        metrics = DeploymentMetrics("greetings", now=lambda: NOW)
        metrics.saw(observation(), "v2")
        found = series(metrics)["temporal_worker_deployment_version_safe_to_stop"]
        assert found == {
            version_labels("v0"): 1.0,
            version_labels("v1"): 0.0,
            version_labels("v2"): 0.0,
            version_labels("v3"): 0.0,
        }

    def test_nothing_is_safe_to_stop_by_an_old_observation(self) -> None:
        """Where the observation itself is old it proves nothing, however lately it came in."""
        metrics = DeploymentMetrics("greetings", now=lambda: NOW + timedelta(seconds=31))
        metrics.saw(observation(), "v2")
        found = series(metrics)["temporal_worker_deployment_version_safe_to_stop"]
        assert set(found.values()) == {0.0}

    def test_what_is_not_known_has_no_series(self) -> None:
        """Open runs, workers and the time of draining are absent, not zero, where unknown."""
        metrics = DeploymentMetrics("greetings", now=lambda: NOW)
        metrics.saw(observation(), "v2")
        found = series(metrics)
        prefix = "temporal_worker_deployment_version"
        assert found[f"{prefix}_open_workflows"] == {
            version_labels("v0"): 0.0,
            version_labels("v1"): 12.0,
        }
        assert set(found[f"{prefix}_workers"]) == {version_labels(v) for v in ("v0", "v1", "v2")}
        drained_since = (NOW - timedelta(minutes=1)).timestamp()
        assert found[f"{prefix}_drained_since_seconds"] == {version_labels("v0"): drained_since}

    def test_what_speaks_against_stopping_a_version(self) -> None:
        """Each version that is not safe to stop has its first point; one that is has none."""
        metrics = DeploymentMetrics("greetings", now=lambda: NOW)
        metrics.saw(observation(), "v2")
        assert series(metrics)["temporal_worker_deployment_version_stop_objection"] == {
            version_labels("v1", check="routing"): 1.0,
            version_labels("v2", check="routing"): 1.0,
            version_labels("v3", check="server_status"): 1.0,
        }

    def test_what_is_not_of_one_version(self) -> None:
        """Runs that wait or are stranded, versions, skewed clocks; unknown ones have no series."""
        metrics = DeploymentMetrics("greetings", now=lambda: NOW)
        metrics.saw(
            observation(
                stuck=None, elsewhere={"v9": 3, "v8": 1}, skewed=("w",), routing_settled=False
            ),
            "v2",
        )
        found, of = series(metrics), labels(**LABELS)
        prefix = "temporal_worker_deployment"
        assert found[f"{prefix}_unassigned_runs"] == {of: 0.0}
        assert f"{prefix}_stuck_runs" not in found
        assert found[f"{prefix}_stranded_runs"] == {of: 4.0}
        assert found[f"{prefix}_versions"] == {of: 3.0}
        assert found[f"{prefix}_routing_settled"] == {of: 0.0}
        assert found[f"{prefix}_skewed_clocks"] == {of: 1.0}

    def test_a_version_that_gets_far_less_than_meant(self) -> None:
        """Those that new runs are meant for say whether they fall short, beyond chance."""
        metrics = DeploymentMetrics("greetings", now=lambda: NOW)
        short = (
            Version("v1", "current", started=500, backlog=0),
            Version("v2", "ramping", started=0, backlog=40, open_runs=7, open_pinned=5),
        )
        metrics.saw(observation(ramping=Ramp("v2", 50.0), versions=short), "v2")
        found = series(metrics)
        assert found["temporal_worker_deployment_version_falls_short"] == {
            version_labels("v1"): 0.0,
            version_labels("v2"): 1.0,
        }
        assert found["temporal_worker_deployment_version_open_pinned_workflows"] == {
            version_labels("v2"): 5.0
        }

    def test_routing_changes_carry_the_time_and_the_version_that_took_the_place(self) -> None:
        """A routing change is a time per kind; one that left the place empty has no build id."""
        metrics = DeploymentMetrics("greetings", now=lambda: NOW)
        name = "temporal_worker_deployment_routing_change_time_seconds"
        current = (NOW - timedelta(minutes=5)).timestamp()
        ramping = (NOW - timedelta(seconds=30)).timestamp()
        metrics.saw(observation(), "v2")
        assert series(metrics)[name] == {
            version_labels("v1", kind="current", percentage="100"): current,
            version_labels("v2", kind="ramping", percentage="10"): ramping,
        }
        metrics.saw(observation(ramping=None), "v2")
        assert version_labels("", kind="ramping", percentage="0") in series(metrics)[name]

    def test_one_failed_read_leaves_no_gap_but_says_so(self) -> None:
        """After a read that failed `up` is 0 at once, and the versions stay for a while."""
        metrics = DeploymentMetrics("greetings", clock := Clock(), now=lambda: NOW)
        metrics.saw(observation(), "v2")
        assert series(metrics)["temporal_worker_deployment_up"] == {
            labels(deployment_name="greetings"): 1.0
        }
        metrics.missed()
        clock.seconds += STALE_AFTER - 1
        found = series(metrics)
        assert found["temporal_worker_deployment_up"] == {labels(deployment_name="greetings"): 0.0}
        assert "temporal_worker_deployment_version_status" in found

    def test_stale_versions_disappear(self) -> None:
        """Without a fresh observation only `up` 0, the last one's time and its age are left."""
        metrics = DeploymentMetrics("greetings", clock := Clock(), now=lambda: NOW)
        metrics.saw(observation(), "v2")
        clock.seconds += STALE_AFTER
        assert series(metrics) == {
            "temporal_worker_deployment_up": {labels(deployment_name="greetings"): 0.0},
            "temporal_worker_deployment_last_observation_time_seconds": {
                labels(deployment_name="greetings"): NOW.timestamp()
            },
            "rollout_observation_age_seconds": {labels(deployment_name="greetings"): 0.0},
        }

    def test_before_the_first_observation_it_is_down(self) -> None:
        """An exporter that never reached Temporal serves `up` 0 and nothing else."""
        assert series(DeploymentMetrics("greetings", now=lambda: NOW)) == {
            "temporal_worker_deployment_up": {labels(deployment_name="greetings"): 0.0}
        }


class TestProcessMetrics:
    """The processes of supervisord."""

    def test_a_process_has_every_series_from_the_beginning(self) -> None:
        """A process nothing was told of has counters at 0, so that the first event is a rise."""
        metrics = ProcessMetrics()
        metrics.saw([process()])
        found = series(metrics)
        web = {"name": "web", "group": "web"}
        assert found["supervisord_up"] == {labels(): 1.0}
        assert found["supervisord_process_starts_total"] == {labels(**web): 0.0}
        assert found["supervisord_process_exits_total"] == {
            labels(**web, expected="true"): 0.0,
            labels(**web, expected="false"): 0.0,
        }
        states = found["supervisord_process_state"]
        assert len(states) == 8
        assert {key for key, value in states.items() if value} == {labels(**web, state="running")}
        assert found["supervisord_process_start_time_seconds"] == {labels(**web): NOW.timestamp()}
        assert "supervisord_process_exit_status" not in found

    @pytest.mark.parametrize(
        ("name", "payload", "expected"),
        [
            ("PROCESS_STATE_EXITED", "from_state:RUNNING expected:1", "true"),
            ("PROCESS_STATE_EXITED", "from_state:RUNNING expected:0", "false"),
            ("PROCESS_STATE_STOPPED", "from_state:STOPPING", "true"),
            ("PROCESS_STATE_STOPPED", "from_state:BACKOFF", None),
            ("PROCESS_STATE_BACKOFF", "from_state:STARTING tries:1", "false"),
            ("PROCESS_STATE_FATAL", "from_state:BACKOFF", None),
            ("PROCESS_STATE_RUNNING", "from_state:STARTING", None),
        ],
    )
    def test_an_end_is_counted_once(self, name: str, payload: str, expected: str | None) -> None:
        """Each transition in which a process ends counts as one exit, and no other does."""
        metrics = ProcessMetrics()
        metrics.saw([process()])
        metrics.count(Event(name, parse_tokens(f"processname:web groupname:web {payload}")))
        found = series(metrics)["supervisord_process_exits_total"]
        assert {dict(key)["expected"] for key, value in found.items() if value} == (
            {expected} if expected else set()
        )

    def test_memory_and_time_are_of_what_runs(self) -> None:
        """The memory and processor time of a process that runs; one that is gone has neither."""
        metrics = ProcessMetrics()
        gone = process("gone", pid=None, stopped_at=NOW)
        metrics.saw([process(pid=os.getpid()), gone, process("b", pid=2**22)])
        found, of = series(metrics), labels(name="web", group="web")
        assert found["supervisord_process_stop_time_seconds"] == {
            labels(name="gone", group="gone"): NOW.timestamp()
        }
        assert list(found["supervisord_process_resident_memory_bytes"]) == [of]
        assert found["supervisord_process_resident_memory_bytes"][of] > 1e6
        assert found["supervisord_process_cpu_seconds_total"][of] > 0

    def test_without_supervisord_there_is_only_up_zero(self) -> None:
        """Nothing is claimed of processes while supervisord does not answer."""
        metrics = ProcessMetrics()
        metrics.saw([process()])
        metrics.saw(None)
        assert series(metrics) == {"supervisord_up": {labels(): 0.0}}

    def test_a_removed_process_has_no_series_though_it_was_counted(self) -> None:
        """Counters of a process that is no longer loaded disappear with it."""
        metrics = ProcessMetrics()
        metrics.count(Event("PROCESS_STATE_STARTING", {"processname": "a", "groupname": "a"}))
        metrics.saw([process("b")])
        found = series(metrics)["supervisord_process_starts_total"]
        assert found == {labels(name="b", group="b"): 0.0}


class TestFolderMetrics:
    """The disk that the stack's data is on."""

    def test_each_folder_has_its_room(self, tmp_path: Path) -> None:
        """Free and whole size of the file system behind each folder; none where there is none."""
        (tmp_path / "log").mkdir()
        (tmp_path / "file").touch()
        found, of = series(FolderMetrics(tmp_path)), labels(folder="log")
        assert list(found["rollout_folder_free_bytes"]) == [of]
        assert 0 <= found["rollout_folder_free_bytes"][of] < found["rollout_folder_size_bytes"][of]
        assert series(FolderMetrics(tmp_path / "none")) == {}


class TestListener:
    """supervisord's event listener protocol."""

    @given(
        names=st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters=": \n\r"), min_size=1)
        ),
        cut=st.integers(1, 7),
    )
    def test_every_event_is_read_and_acknowledged(self, names: list[str], cut: int) -> None:
        """Events with names of any characters arrive whole, however the bytes are cut up."""
        stream = b""
        for name in names:
            payload = f"processname:{name} groupname:g from_state:STOPPED tries:0"
            header = f"ver:3.0 eventname:PROCESS_STATE_STARTING len:{len(payload)}\n"
            stream += (header + payload).encode()
        told: list[Event] = []
        said: list[bytes] = []

        async def play() -> None:
            reader = asyncio.StreamReader()
            for start in range(0, len(stream), cut):
                reader.feed_data(stream[start : start + cut])
            reader.feed_eof()
            await listen(reader, said.append, told.append)

        asyncio.run(play())
        assert [event.payload["processname"] for event in told] == names
        assert b"".join(said) == b"READY\n" + b"RESULT 2\nOKREADY\n" * len(names)


class TestTargets:
    """The files that Prometheus discovers its targets in."""

    PROGRAMS = (
        ("worker-v1", "python -m workers --build-id v1 --metrics-port ${V1_PORT:-9101}", True),
        (
            "worker-v2",
            "python -m workers --build-id=v2 --deployment=mine --metrics-port 9102",
            True,
        ),
        ("worker-v3", "python -m workers --build-id v3 --metrics-port 9103", False),
        ("mute", "python -m workers --build-id v4", True),
        (
            "exporter",
            "python -m rollout launch --port 1 python -m metrics --port 9192",
            True,
        ),
        ("rollout", "python -m rollout run\n --metrics-port 9193", True),
        ("load", "python -m client load --rate 5 --metrics-port 9191", True),
        ("prometheus", "prometheus --web.listen-address=127.0.0.1:9090", True),
        ("broken", "python -m workers --build-id 'v5", True),
        ("unset", "python -m workers --build-id ${NOBODY_SETS_THIS} --metrics-port 1", True),
        ("other", "sleep 1", True),
    )

    def programs(self) -> list[Program]:
        """What supervisord would say it is configured with."""
        return [
            Program(name, name, command, loaded, autostart=True, log_file=None)
            for name, command, loaded in self.PROGRAMS
        ]

    def test_each_loaded_worker_with_a_port_is_a_target(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Workers are found by their command, with its defaults and the environment applied."""
        monkeypatch.setenv("V1_PORT", "29101")
        assert worker_targets(self.programs()) == [
            {
                "targets": ["127.0.0.1:29101"],
                "labels": {
                    "job": "worker",
                    "build_id": "v1",
                    "deployment_name": "greetings",
                    "program": "worker-v1",
                },
            },
            {
                "targets": ["127.0.0.1:9102"],
                "labels": {
                    "job": "worker",
                    "build_id": "v2",
                    "deployment_name": "mine",
                    "program": "worker-v2",
                },
            },
        ]

    def test_the_rest_of_the_stack_is_found_by_what_it_runs(self) -> None:
        """Exporter, load, Prometheus and rollout are targets, each under its job's name."""
        assert stack_targets(self.programs()) == [
            {"targets": [address], "labels": {"job": job, "program": job}}
            for address, job in (
                ("127.0.0.1:9192", "exporter"),
                ("127.0.0.1:9191", "load"),
                ("127.0.0.1:9090", "prometheus"),
                ("127.0.0.1:9193", "rollout"),
            )
        ]

    def test_temporal_is_a_target_of_its_own(self) -> None:
        """In a file of its own, for it is scraped less often; not where it serves no metrics."""
        words = "temporal server start-dev --port 7233 --metrics-port 9190"
        program, mute = Program("t", "t", words), Program("m", "m", "temporal server start-dev")

        assert temporal_targets([program, mute]) == [
            {"targets": ["127.0.0.1:9190"], "labels": {"job": "temporal", "program": "t"}}
        ]
        assert stack_targets([program]) == []

    def test_alerts_go_to_each_alertmanager(self) -> None:
        """One that supervisord runs is where Prometheus sends alerts, and scraped as well."""
        words = "alertmanager --web.listen-address=127.0.0.1:9093"
        programs = [*self.programs(), Program("alerts", "alerts", words)]

        assert alertmanagers(self.programs()) == []
        assert alertmanagers(programs) == [{"targets": ["127.0.0.1:9093"], "labels": {}}]
        assert {
            "targets": ["127.0.0.1:9093"],
            "labels": {"job": "alertmanager", "program": "alerts"},
        } in stack_targets(programs)

    def test_a_file_is_written_only_when_it_changes(self, tmp_path: Path) -> None:
        """The same targets again leave the file alone, and no temporary file stays behind."""
        path = tmp_path / "targets" / "workers.json"
        groups = worker_targets(self.programs())
        assert write_if_changed(path, groups)
        first = path.stat()
        assert not write_if_changed(path, groups)
        assert path.stat().st_ino == first.st_ino
        assert write_if_changed(path, [])
        assert [child.name for child in path.parent.iterdir()] == ["workers.json"]
